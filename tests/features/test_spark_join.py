"""The join in Spark's DataFrame API, on the embedded engine; `tests/conformance` has the rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import pytest

from sololakehouse.engine import Engine, embedded
from sololakehouse.features.asof import AsOf
from sololakehouse.features.spark_join import join_as_of
from sololakehouse.features.spark_lookup import handed_over, sent

from .flights import LABELS, WEATHER, airports, weather

FAR = 2**62


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.start() as opened:
        yield opened


def joined(
    engine: Engine, labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf
) -> pl.DataFrame:
    asked, rows = sent(engine.session, labels), sent(engine.session, features)
    return pl.DataFrame(join_as_of(asked, rows, {"v": "found"}, rule).toArrow())


def instants(*numbers: int | None) -> pl.Series:
    return pl.Series(numbers, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def test_feature_rows_without_a_key_or_a_time_are_nobodys(engine):
    labels = pl.DataFrame({"k": ["a", None], "at": instants(9, 9)})
    features = pl.DataFrame(
        {"k": ["a", None, "a", "a"], "ts": instants(1, 1, None, 2), "v": [1, 2, 3, 4]}
    ).with_columns(known=instants(1, 1, 1, None))
    rule = AsOf(["k"], timestamp="at", feature_timestamp="ts", known_at="known")
    assert sorted(joined(engine, labels, features, rule)["found"].to_list(), key=str) == [1, None]


def test_ages_greater_than_64_bits_are_ages(engine):
    labels = pl.DataFrame({"k": ["a"], "at": instants(FAR)})
    features = pl.DataFrame({"k": ["a"], "ts": instants(-FAR), "v": [1]})
    for oldest, found in ((2 * FAR, 1), (2 * FAR - 1, None)):
        lookback = timedelta(microseconds=oldest)
        rule = AsOf(["k"], timestamp="at", feature_timestamp="ts", lookback=lookback)
        assert joined(engine, labels, features, rule)["found"].to_list() == [found]


def test_columns_may_have_any_name(engine):
    times = {"moment": instants(9, 9), "side": [1, 2], "best": ["x", "y"], "a.b`c": ["a", "b"]}
    labels = pl.DataFrame(times | {"feature_ts": [1, 1], "known_at": [1, 1], "label_0": [0, 0]})
    features = pl.DataFrame({"k.1": ["a", "b"], "moment": instants(1, 1), "v": [1, 2]})
    rule = AsOf(["a.b`c"], ["k.1"], timestamp="moment", feature_timestamp="moment")
    found = joined(engine, labels, features, rule).sort("side")
    assert found.drop("found").equals(labels)
    assert found["found"].to_list() == [1, 2]


def test_a_frame_is_handed_over_in_its_order_with_all_integers(engine):
    kinds = {pl.UInt8: 8, pl.UInt16: 16, pl.UInt32: 32, pl.UInt64: 64}
    greatest = {f"u{bits}": pl.Series([2**bits - 1], dtype=kind) for kind, bits in kinds.items()}
    found = handed_over(engine, pl.DataFrame(greatest)).toArrow().to_pydict()
    assert found == {name: column.to_list() for name, column in greatest.items()}
    many = pl.DataFrame({"n": pl.int_range(300_000, eager=True).reverse()})
    assert pl.DataFrame(handed_over(engine, many).toArrow()).equals(many)


def test_load_df_looks_up_here_unless_a_server_does(project):
    made = project.client.create_training_set(
        df="gold.labels", feature_lookups=[weather(), airports()], label="is_late"
    )
    with project.lake.engine():
        assert pl.DataFrame(made.load_df().toArrow()).equals(made.to_polars())
    empty = project.client.create_training_set(
        df=LABELS.clear(), feature_lookups=[weather()], label="is_late"
    )
    with project.lake.engine():
        assert pl.DataFrame(empty.load_df().toArrow()).equals(empty.to_polars())


def test_load_df_works_in_a_session_that_a_person_opened(project):
    from pyspark.sql import SparkSession

    host, port = embedded._embedded_server().listening_address
    session = SparkSession.builder.remote(f"sc://{host}:{port}").create()
    try:
        unsigned = LABELS.with_columns(n=pl.lit(2**32 - 1, pl.UInt32))
        for df in ("gold.labels", LABELS.clear(), unsigned):
            made = project.client.create_training_set(
                df=df, feature_lookups=[weather()], label="is_late"
            )
            expected = made.to_polars().cast({pl.UInt32: pl.Int64})
            assert pl.DataFrame(made.load_df().toArrow()).equals(expected)
    finally:
        session.stop()


def test_a_version_is_read_without_a_name(project, engine):
    before = project.lake.read("features.weather")
    project.client.write_table(name="features.weather", df=WEATHER.head(1).with_columns(temp=0.0))
    newest = project.lake.read("features.weather")
    for snapshot in (before, newest):
        rows = pl.DataFrame(engine.read(snapshot).orderBy("origin", "feature_ts").toArrow())
        assert rows.equals(snapshot.to_polars())
    assert Engine.of(engine.session) is engine
