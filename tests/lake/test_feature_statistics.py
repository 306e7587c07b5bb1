from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.features.tables import FeatureTable
from sololakehouse.lake import feature_statistics
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.feature_statistics import QUANTILES, TableStatistics, table_statistics
from sololakehouse.lake.optimize import optimize
from sololakehouse.lake.restore import restore
from sololakehouse.provenance import Change

CONTRACT = FeatureContract(("k",), "ts")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FLOATS = st.floats(width=64) | st.none()
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.none()
PROPERTIES = {"feature.keys": "k", "feature.timestamp": "ts"}


def table(**features: object) -> pl.DataFrame:
    count = len(next(iter(features.values())))
    times = [NOON.replace(microsecond=number) for number in range(count)]
    return pl.DataFrame({"k": range(count), "ts": times} | features)


def expected(values: list) -> dict[str, object]:
    """Say in plain Python what the statistics of numbers are."""
    known = [value for value in values if value is not None]
    finite = sorted(value for value in known if math.isfinite(value))
    kinds = {"NaN" if math.isnan(value) else value for value in known}
    return {
        "nulls": len(values) - len(known),
        "not_finite": len(known) - len(finite),
        "distinct": len(kinds),
        "minimum": finite[0] if finite else None,
        "maximum": finite[-1] if finite else None,
        "quantiles": {
            name: finite[math.ceil(share * len(finite)) - 1]
            for name, share in QUANTILES.items()
            if finite
        },
    }


@settings(deadline=None, max_examples=60)
@given(st.lists(FLOATS, min_size=1, max_size=40), st.lists(INTEGERS, min_size=1, max_size=40))
def test_numbers_are_described_as_plain_python_does(floats, integers):
    for values, kind in ((floats, pl.Float64), (integers, pl.Int64)):
        rows = table(v=pl.Series(values, dtype=kind))
        found = table_statistics(rows, CONTRACT).columns["v"]
        assert found.model_dump(exclude={"mean", "distinct_is_exact"}) == expected(values)


def test_the_mean_is_exact_where_a_sum_of_floats_is_not():
    values = [1e16, 1.0, -1e16, 1.0]
    assert table_statistics(table(v=values), CONTRACT).columns["v"].mean == 0.5
    assert table_statistics(table(v=[1.5e308, 1.5e308]), CONTRACT).columns["v"].mean == 1.5e308
    assert table_statistics(table(v=[None, None]), CONTRACT).columns["v"].mean is None


def test_each_type_has_the_statistics_that_mean_something():
    rows = table(
        text=["b", None, "x" * 99],
        flag=[True, None, False],
        price=pl.Series([Decimal("1.10"), None, Decimal("-0.10")], dtype=pl.Decimal(10, 2)),
        day=[date(2026, 1, 1), None, date(2025, 1, 1)],
        at=[NOON, None, NOON],
        raw=[b"x", None, b"y"],
        many=[[1], None, []],
    )
    found = table_statistics(rows, CONTRACT).columns
    assert {name: column.nulls for name, column in found.items()} == dict.fromkeys(found, 1)
    text = found["text"]
    assert (text.minimum, text.maximum, text.quantiles) == ("b", "x" * 57 + "...", {})
    assert (found["flag"].minimum, found["flag"].mean, found["flag"].quantiles) == (False, 0.5, {})
    assert (found["price"].minimum, found["price"].mean) == (-0.1, 0.5)
    assert (found["day"].minimum, found["day"].quantiles["95%"]) == ("2025-01-01", "2026-01-01")
    assert (found["at"].maximum, found["at"].distinct) == ("2026-01-01T12:00:00Z", 1)
    assert (found["raw"].minimum, found["raw"].distinct) == (None, 2)
    assert (found["many"].minimum, found["many"].distinct) == (None, None)


def test_a_table_is_described_by_entities_and_times():
    rows = table(v=[1, 2, 3]).with_columns(k=pl.Series(["a", "b", "a"]))
    found = table_statistics(rows, CONTRACT)
    assert (found.rows, found.keys, found.sampled) == (3, 2, 3)
    assert (found.first, found.last) == ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000002Z")
    timeless = table_statistics(rows.drop("ts").head(2), FeatureContract(("k", "v")))
    assert (timeless.keys, timeless.first, dict(timeless.columns)) == (2, None, {})


def test_a_table_without_rows_has_statistics():
    found = table_statistics(table(v=[1.5]).clear(), CONTRACT)
    assert (found.rows, found.keys, found.first) == (0, 0, None)
    assert (found.columns["v"].nulls, found.columns["v"].minimum) == (0, None)


@pytest.fixture
def small_limits(monkeypatch):
    """Sample above 200 rows, and estimate above 100 values."""
    monkeypatch.setattr(feature_statistics, "SAMPLE", 200)
    monkeypatch.setattr(feature_statistics, "DISTINCT", 100)


@pytest.mark.usefixtures("small_limits")
def test_the_same_content_has_the_same_statistics_in_any_order_and_any_files(tmp_path):
    count = 3000
    rows = table(v=[number**1.5 for number in range(count)], w=[n % 7 for n in range(count)])
    first = table_statistics(rows, CONTRACT)
    assert 100 < first.sampled < 300
    for seed in range(3):
        mixed = rows.sample(fraction=1, shuffle=True, seed=seed)
        for number, part in enumerate(mixed.iter_slices(700)):
            part.write_parquet(tmp_path / f"{number}.parquet", row_group_size=100)
        assert table_statistics(pl.scan_parquet(tmp_path / "*.parquet"), CONTRACT) == first


@pytest.mark.usefixtures("small_limits")
def test_estimates_are_near_and_say_that_they_are_estimates():
    count = 20_000
    rows = table(v=range(count), w=[number % 99 for number in range(count)])
    found = table_statistics(rows, CONTRACT)
    v, w = found.columns["v"], found.columns["w"]
    assert (v.distinct_is_exact, w.distinct_is_exact, found.keys_are_exact) == (False, True, False)
    assert v.distinct == pytest.approx(count, rel=0.35)
    assert found.keys == pytest.approx(count, rel=0.35)
    assert (w.distinct, v.minimum, v.maximum) == (99, 0, count - 1)
    assert v.mean == pytest.approx(count / 2, rel=0.15)
    assert v.quantiles["50%"] == pytest.approx(count / 2, rel=0.2)


@pytest.mark.usefixtures("small_limits")
def test_two_versions_share_the_sampled_rows_that_both_have():
    rows = table(v=[float(number) for number in range(3000)])
    other = rows.with_columns(v=pl.when(pl.col("k") == 5).then(-1.0).otherwise("v"))
    old, new = table_statistics(rows, CONTRACT), table_statistics(other, CONTRACT)
    assert old.sampled == new.sampled
    assert old.columns["v"].mean == pytest.approx(new.columns["v"].mean, abs=0.5)


@pytest.fixture
def written(make_project):
    project = make_project()
    change = Change("TEST", "x")
    frame = table(v=[1, None, 3], s=["a", "b", "b"])
    project.writer().write_frame("features.t", frame, change, properties=PROPERTIES)
    return project


def kept(project, reference: str = "features.t") -> TableStatistics | None:
    return TableStatistics.kept(project.lake.read(reference).record)


def test_a_commit_of_all_rows_keeps_the_statistics(written):
    found = kept(written)
    assert (found.rows, found.columns["v"].nulls, found.columns["s"].distinct) == (3, 1, 2)
    assert FeatureTable.open(written.lake, "features.t").statistics == found


def test_a_table_that_is_no_feature_table_has_none(written):
    written.writer().write_frame("gold.t", table(v=[1]), Change("TEST", "x"))
    assert kept(written, "gold.t") is None


def test_rows_that_are_added_leave_no_statistics_and_then_they_are_computed(written):
    more = table(v=[5], s=["c"]).with_columns(k=pl.lit(99, pl.Int64))
    written.writer().write_frame("features.t", more, Change("TEST", "y"), mode="append")
    assert kept(written) is None
    found = FeatureTable.open(written.lake, "features.t").statistics
    assert (found.rows, found.columns["v"].maximum, found.columns["s"].distinct) == (4, 5, 3)
    before = FeatureTable.open(written.lake, "features.t", version=1).statistics
    assert (before.rows, before.columns["v"].maximum) == (3, 3)


def test_rows_added_to_a_table_without_any_are_all_of_it(written):
    none = table(v=[1], s=["a"]).clear()
    written.writer().write_frame("features.t", none, Change("TEST", "y"))
    written.writer().write_frame(
        "features.t", table(v=[7], s=["q"]), Change("TEST", "z"), mode="append"
    )
    assert kept(written).columns["v"].maximum == 7


def test_statistics_stay_with_the_rows_when_files_are_arranged_or_restored(written):
    first = kept(written)
    for number in (1, 2):
        rows = table(v=[number], s=["a"]).with_columns(k=pl.lit(100 + number, pl.Int64))
        written.writer().write_frame("features.t", rows, Change("TEST", "y"), mode="append")
    optimize(written.writer(), "features.t")
    assert kept(written) is None
    restore(written.writer(), "features.t", 1)
    assert kept(written) == first


def test_statistics_that_are_not_those_of_the_rows_are_not_believed(written):
    lie = kept(written).model_copy(update={"rows": 9})
    change = Change("TEST", "y", details=lie.details)
    more = table(v=[5], s=["c"]).with_columns(k=pl.lit(99, pl.Int64))
    written.writer().write_frame("features.t", more, change, mode="append")
    assert FeatureTable.open(written.lake, "features.t").statistics.rows == 4


def test_the_newest_timestamp_is_that_of_the_version(written):
    assert FeatureTable.open(written.lake, "features.t").newest_timestamp.microsecond == 2
    later = pl.DataFrame({"k": [9], "ts": [NOON.replace(hour=13)], "v": [1], "s": ["a"]})
    written.writer().write_frame("features.t", later, Change("TEST", "y"), mode="append")
    assert FeatureTable.open(written.lake, "features.t").newest_timestamp == NOON.replace(hour=13)
    assert FeatureTable.open(written.lake, "features.t", 1).newest_timestamp.hour == 12
