"""The rows that are named as the cause of a leak: exactly those through which it was planted."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sololakehouse.replay.verdicts import Cause, ReplayReport, as_json
from tests.replay.taxi import CLEAN, Taxi, make_taxi, rides

ALL_RIDES = rides(120)
ARRIVED = ALL_RIDES["arrived_at"].fill_null(ALL_RIDES["asked_at"] + timedelta(days=1))
# One ride is on its way then.
CUTOFF = ALL_RIDES["asked_at"][70] + timedelta(minutes=1)
NOT_ASKED = ALL_RIDES.filter(pl.col("asked_at") > CUTOFF)["ride"].to_list()
ON_THE_WAY = ALL_RIDES.filter((pl.col("asked_at") <= CUTOFF) & (ARRIVED > CUTOFF))["ride"].to_list()


def with_column(text: str) -> str:
    return CLEAN.replace("FROM hourly\n", f", {text} AS leaky\nFROM hourly\n")


def sum_of(column: str, *numbers: int) -> str:
    """A column that is there once all of some rides have a value: a leak through them alone."""
    some = ", ".join(map(str, numbers))
    return (
        f"(SELECT CASE WHEN count({column}) = {len(numbers)} THEN sum({column}) END "
        f"FROM bronze.rides WHERE ride IN ({some}))"
    )


def causes_of(report: ReplayReport, name: str = "features.place") -> list[Cause | None]:
    table = report.table(name)
    assert table is not None
    leaking = next(one for one in table.leaking if one.column == "leaky")
    return list(next(leak for leak in leaking.leaks if leak.causes).causes)


def named(cause: Cause | None) -> list[tuple[int, tuple[str, ...]]]:
    assert cause is not None
    return [(row.values["ride"], row.columns) for row in cause.rows]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Taxi:
    return make_taxi(tmp_path_factory.mktemp("planted") / "taxi", frame=ALL_RIDES)


def replayed(planted: Taxi, column: str, **asked: object) -> ReplayReport:
    planted.run(place=with_column(column))
    return planted.replay(at=(CUTOFF,), select=("features.place",), **asked)


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(numbers=st.lists(st.sampled_from(NOT_ASKED), min_size=1, max_size=2, unique=True))
def test_a_leak_names_the_rows_that_it_goes_through_and_no_others(
    planted: Taxi, numbers: list[int]
) -> None:
    report = replayed(planted, sum_of("minutes + 0 * tip", *numbers), cause_runs=60)
    lost = ALL_RIDES.filter(pl.col("ride").is_in(numbers))["minutes"].null_count()
    if lost:
        assert not report.leaking
        return
    for cause in causes_of(report):
        assert cause is not None
        assert cause.is_smallest
        assert sorted(named(cause)) == [(one, ("minutes", "tip")) for one in sorted(numbers)]
        assert cause.count == len(numbers)


def test_a_row_that_was_there_is_named_with_the_value_that_came_later(planted: Taxi) -> None:
    ride = ON_THE_WAY[0]
    report = replayed(planted, sum_of("tip", ride))
    found = causes_of(report)
    assert [named(cause) for cause in found] == [[(ride, ("tip",))]] * 3
    assert found[0] is not None
    assert found[0].rows[0].known_at == ARRIVED[ride]
    assert found[0].value == ALL_RIDES["tip"][ride]


def test_that_a_row_is_there_is_a_cause_without_its_later_values(planted: Taxi) -> None:
    ride = NOT_ASKED[5]
    report = replayed(planted, sum_of("ride", ride))
    cause = causes_of(report)[0]
    assert named(cause) == [(ride, ())]
    assert cause is not None
    assert cause.rows[0].known_at == ALL_RIDES["asked_at"][ride]


def test_each_example_gets_the_next_arrival_of_its_own_place(planted: Taxi) -> None:
    leaking = "lead(arrivals) OVER (PARTITION BY place ORDER BY feature_ts)"
    report = replayed(planted, leaking)
    table = report.table("features.place")
    assert table is not None
    leak = next(leak for leak in table.leaking[0].leaks if leak.causes)
    assert len({example.key["place"] for example in leak.difference.examples}) == 3
    for example, cause in zip(leak.difference.examples, leak.causes, strict=True):
        of_place = ALL_RIDES.filter(pl.col("place") == example.key["place"])
        later = of_place.filter(pl.col("arrived_at") > CUTOFF)
        assert named(cause) == [(later.sort("arrived_at")["ride"][0], ("arrived_at",))]


def test_a_key_may_be_of_another_type_than_the_sources_column_of_its_name(planted: Taxi) -> None:
    planted.run(
        parity="CREATE MATERIALIZED VIEW features.parity TBLPROPERTIES "
        "('feature.keys' = 'ride', 'feature.timestamp' = 'feature_ts') AS "
        "SELECT DISTINCT CAST(ride % 2 AS STRING) AS ride, asked_at AS feature_ts, "
        "lead(minutes) OVER (PARTITION BY ride % 2 ORDER BY asked_at) AS leaky FROM bronze.rides"
    )
    report = planted.replay(at=(CUTOFF,), select=("features.parity",))
    for cause in causes_of(report, "features.parity"):
        assert cause is not None
        assert cause.is_smallest
        assert cause.count == 1


def test_a_bound_that_is_hit_is_said_and_nothing_is_counted_without_a_leak(planted: Taxi) -> None:
    report = replayed(planted, sum_of("minutes", NOT_ASKED[20], NOT_ASKED[30]), cause_runs=4)
    assert report.cause_runs == 4
    cause = causes_of(report)[0]
    assert cause is not None
    assert not cause.is_smallest
    assert cause.count > len(cause.rows)
    assert "may be innocent: the recomputations were used up" in cause.said_of_rows
    none = replayed(planted, sum_of("minutes", NOT_ASKED[20]), cause_runs=0)
    assert none.cause_runs == 0
    assert not any("changed_by" in str(one) for one in as_json(none)["tables"])
    planted.run(place=CLEAN)
    clean = planted.replay(at=(CUTOFF,), select=("features.place",))
    assert (clean.cause_runs, clean.runs) == (0, 1)
