from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from sololakehouse.errors import FeatureLookupError
from sololakehouse.features.defaults import default_value
from sololakehouse.features.saved import open_training_set
from sololakehouse.lake import Lakehouse

from .flights import LABELS, airports

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = {
    "moment": pl.Datetime("us", "UTC"),
    "day": pl.Date,
    "price": pl.Decimal(10, 2),
    "small": pl.Int8,
    "real": pl.Float64,
    "flag": pl.Boolean,
    "bytes": pl.Binary,
    "many": pl.List(pl.Float64),
    "both": pl.Struct({"a": pl.Int64, "b": pl.Date}),
}
DEFAULTS = {
    "moment": NOON,
    "day": date(2026, 1, 1),
    "price": Decimal("9.99"),
    "small": 7,
    "real": math.inf,
    "flag": False,
    "bytes": b"none",
    "many": [math.nan, 0.5],
    "both": {"a": 1, "b": date(2026, 1, 1)},
}


@pytest.fixture(scope="module")
def known(unchanged):
    nothing = {name: pl.Series([None], dtype=kind) for name, kind in KINDS.items()}
    unchanged.client.create_table(
        name="features.known", primary_keys="faa", df=pl.DataFrame({"faa": ["JFK"], **nothing})
    )
    return unchanged


def filled(project, **fields):
    lookup = airports(table_name="features.known", **fields)
    return project.client.create_training_set(df=LABELS, feature_lookups=[lookup], label="is_late")


def test_a_saved_training_set_has_its_defaults_again_when_it_is_opened(known):
    made = filled(known, default_values=DEFAULTS)
    saved = made.save("filled")
    assert made.to_polars().select(list(KINDS)).schema == KINDS
    opened = open_training_set(Lakehouse.open(known.lake.project.folder), "filled")
    assert opened.to_polars().equals(made.to_polars())
    assert opened.to_polars().equals(saved.to_polars())
    assert opened.to_polars()["real"].to_list() == [math.inf] * 4


@pytest.mark.parametrize(("first", "second"), [(math.nan, math.inf), (math.inf, None)])
def test_defaults_that_json_has_no_word_for_are_another_recipe(known, first, second):
    fields = {"feature_names": "real"}
    before = filled(known, default_values={"real": first}, **fields).save("filled")
    after = filled(known, default_values={"real": second}, **fields).save("filled")
    assert after.version == before.version + 1


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("moment", datetime(2026, 1, 1), ": write a moment with a time zone"),
        ("moment", "2026-01-01", ": write a moment with a time zone"),
        ("day", NOON, ": write a day"),
        ("price", Decimal("1.239"), ": the value would be another one"),
        ("small", 300, ""),
        ("both", {"c": 1}, ": its fields are a, b"),
        ("many", 7, ""),
        ("bytes", b"\xff", ": 'utf-8' codec"),
        ("real", "much", ""),
    ],
)
def test_a_default_that_would_be_another_value_is_refused(known, name, value, reason):
    with pytest.raises(FeatureLookupError) as said:
        filled(known, default_values={name: value})
    told = str(said.value)
    assert told.startswith(f"Lookup in features.known: default_values: {value!r} does not fit")
    assert reason in told


def test_a_date_stays_a_date(known):
    found = filled(known, default_values={"day": "2026-02-28"}).to_polars()
    assert found["day"].to_list() == [date(2026, 2, 28)] * 4
    with pytest.raises(ValueError, match="write a day"):
        default_value(NOON, pl.Date())
