"""Training sets on a server: what `load_df()` gives there is what `to_polars()` gives here."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from deltalake import write_deltalake
from polars.testing import assert_frame_equal

from sololakehouse.errors import FeatureTableError, TrainingError
from sololakehouse.features import training_set
from sololakehouse.lake import Lakehouse
from tests.features.conftest import project
from tests.features.flights import AIRPORTS, LABELS, WEATHER, airports, hours, weather

__all__ = ["project"]
KEYS = {"feature.keys": "id"}
MANY = 5_000


@pytest.fixture
def loaded(project, address):
    """Give the rows of a training set, all computed by the server."""
    with Lakehouse.open(project.lake.project.folder, engine=address).engine():

        def load(made):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(training_set, "look_up", None)
                return pl.DataFrame(made.load_df().toArrow())

        yield load


def made(project, *lookups, df="gold.labels", **options):
    options = {"label": "is_late", "timestamp": "predict_at"} | options
    return project.client.create_training_set(df=df, feature_lookups=lookups, **options)


def restated(project):
    rows = pl.concat([WEATHER, WEATHER.head(1).with_columns(temp=pl.lit(99.0))])
    project.client.create_table(
        name="features.restated",
        primary_keys="origin",
        timeseries_columns="feature_ts",
        known_at="known_at",
        df=rows.with_columns(pl.Series("known_at", hours(7, 9, 2, 9))),
    )
    names = {"temp": "restated temp", "wind": "gust.`s"}
    defaults = {"gust.`s": -1}
    return weather(table_name="features.restated", rename_outputs=names, default_values=defaults)


def test_a_server_looks_features_up_as_we_do(project, loaded):
    known = restated(project)
    lookups = weather(lookback_window="3h"), airports(), known
    again = pl.concat([LABELS, LABELS.head(2)]).reverse()
    replay = {"allow_exact_match": False, "known_as_of": hours(8)[0]}
    for training in (
        made(project, *lookups, exclude_columns=["predict_at", "wind"]),
        made(project, known, df=again, **replay),
        made(project, airports(), df=LABELS.clear()),
    ):
        assert_frame_equal(loaded(training), training.to_polars())


def test_values_of_every_type_come_as_they_are(project, loaded):
    values = {
        "small": pl.Series([1, None], dtype=pl.Int8),
        "price": pl.Series([Decimal("1.50"), None], dtype=pl.Decimal(10, 2)),
        "day": [date(2026, 1, 1), None],
        "moment": pl.Series([datetime(1900, 1, 1, 0, 0, 0, 7, tzinfo=UTC), None]),
        "float": pl.Series([float("nan"), None], dtype=pl.Float32),
        "blob": [b"\x00\xff", None],
        "flag": [True, None],
        "list": [["a", None], None],
        "struct": [{"a": 1}, None],
    }
    project.write("features.all", pl.DataFrame({"id": [1, 2], **values}), properties=KEYS)
    defaults = {
        "small": 3,
        "price": Decimal("2.25"),
        "day": date(2026, 2, 3),
        "moment": datetime(2026, 3, 8, 2, 30, tzinfo=UTC),
        "float": 0.25,
        "blob": b"\x01",
        "flag": False,
        "list": ["b"],
    }
    labels = pl.DataFrame(
        {"id": [2, 1, 3], "is_late": [0, 1, 0], "n": pl.Series([1, 2, 3], dtype=pl.UInt32)}
    )
    for filled in (defaults, {}):
        lookup = airports(table_name="features.all", lookup_key="id", default_values=filled)
        training = made(project, lookup, df=labels, timestamp=None)
        expected = training.to_polars().with_columns(pl.col("n").cast(pl.Int64))
        assert_frame_equal(loaded(training), expected)


def test_the_order_of_a_table_is_that_of_its_columns(project, loaded):
    numbers = pl.int_range(MANY, eager=True)
    labels = pl.DataFrame(
        {
            "text": (numbers % 7).replace_strict(
                {0: "a", 1: "A", 2: "ä", 3: "", 4: None, 5: "z", 6: "aa"}
            ),
            "float": (numbers % 5).replace_strict(
                {0: float("nan"), 1: None, 2: -1.5, 3: float("inf"), 4: 2.0}
            ),
            "faa": (numbers % 3).replace_strict({0: "JFK", 1: None, 2: "LGA"}),
            "is_late": numbers % 2 == 0,
            "id": numbers % 100,
        }
    )
    project.write("gold.many", labels.sample(fraction=1, shuffle=True, seed=1))
    training = made(project, airports(lookup_key="faa"), df="gold.many", timestamp=None)
    assert_frame_equal(loaded(training), training.to_polars())


def test_labels_with_nested_columns_keep_their_order(project, loaded):
    labels = LABELS.with_columns(tags=pl.Series([["b"], None, ["a", None], []]))
    project.write("gold.nested", labels)
    training = made(project, airports(), df="gold.nested")
    assert_frame_equal(loaded(training), training.to_polars())


def test_the_versions_of_the_training_set_are_read(project, loaded):
    training = made(project, airports())
    before = training.to_polars()
    project.client.write_table(
        name="features.airports", df=AIRPORTS.with_columns(altitude=pl.lit(99, pl.Int64))
    )
    project.write("gold.labels", LABELS.head(1))
    assert_frame_equal(loaded(training), before)


def test_partitions_of_other_writers_are_read(project, loaded):
    labels = LABELS.with_columns(code=pl.Series(["007", None, "a b", "007"]))
    write_deltalake(project.lake.path("gold.parts"), labels, partition_by=["code"])
    training = made(project, airports(), df="gold.parts")
    assert_frame_equal(loaded(training), training.to_polars())


def test_rows_that_another_writer_left_are_checked(project, loaded):
    path = project.lake.path("features.airports")
    write_deltalake(path, AIRPORTS.head(1).to_arrow(), mode="append")
    with pytest.raises(FeatureTableError, match="faa must be unique, but 2 rows have it in common"):
        loaded(made(project, airports()))


def test_labels_without_a_label_are_refused(project, loaded):
    labels = pl.concat([LABELS.with_columns(is_late=pl.lit(None, pl.Int64)), LABELS])
    project.write("gold.labels", labels)
    for df in ("gold.labels", labels):
        training = made(project, weather(), df=df)
        with pytest.raises(TrainingError) as raised:
            training.to_polars()
        with pytest.raises(TrainingError) as on_server:
            loaded(training)
        assert str(on_server.value) == str(raised.value)
