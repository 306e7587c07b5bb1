"""The rows that are named as the cause of a leak: exactly those through which it was planted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sololakehouse.replay.replay import Replay, ReplayRequest
from sololakehouse.replay.verdicts import Cause, ReplayReport, as_json
from tests.replay.taxi import BEGIN, CLEAN, LABELS, Taxi, make_taxi, rides

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


def replayed(planted: Taxi, column: str, cause_runs: int = 32) -> ReplayReport:
    planted.run(place=with_column(column))
    return planted.replay(at=(CUTOFF,), select=("features.place",), cause_runs=cause_runs)


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


def test_a_leak_through_rows_of_two_sources_names_one_of_each(planted: Taxi) -> None:
    hour = BEGIN + (CUTOFF - BEGIN) // timedelta(hours=1) * timedelta(hours=1) + timedelta(hours=9)
    light = (
        f"(SELECT max(light) FROM bronze.sky WHERE hour = TIMESTAMP '{hour:%Y-%m-%d %H}:00:00Z')"
    )
    report = replayed(planted, f"{light} + {sum_of('tip', ON_THE_WAY[0])}", cause_runs=60)
    cause = causes_of(report)[0]
    assert cause is not None
    assert cause.is_smallest
    ride, sky = sorted(cause.rows, key=lambda row: row.table)
    assert (ride.table, ride.values["ride"], ride.columns) == (
        "bronze.rides",
        ON_THE_WAY[0],
        ("tip",),
    )
    assert (sky.table, sky.values["hour"], sky.columns) == ("bronze.sky", hour, ())
    assert cause.count == 2


def test_who_arrives_first_is_named_and_not_who_asked_first(tmp_path: Path) -> None:
    minute = timedelta(minutes=1)
    asked = [BEGIN, BEGIN + 200 * minute, BEGIN + 210 * minute]
    arrived = [BEGIN + 90 * minute, BEGIN + 400 * minute, BEGIN + 230 * minute]
    frame = rides(3).with_columns(
        pl.Series("asked_at", asked, pl.Datetime("us", "UTC")),
        pl.Series("arrived_at", arrived, pl.Datetime("us", "UTC")),
        pl.lit("hill").alias("place"),
        pl.lit(20).alias("minutes"),
    )
    taxi = make_taxi(tmp_path / "taxi", frame=frame)
    taxi.run(place=with_column("lead(arrivals) OVER (PARTITION BY place ORDER BY feature_ts)"))
    report = taxi.replay(at=(BEGIN + 150 * minute,), select=("features.place",))
    (cause,) = causes_of(report)
    assert named(cause) == [(2, ("arrived_at",))]
    assert cause is not None
    assert cause.rows[0].known_at == arrived[2]


def test_a_leak_in_the_labels_names_the_value_that_came_later(tmp_path: Path) -> None:
    taxi = make_taxi(tmp_path / "taxi", frame=ALL_RIDES)
    taxi.run(labels=LABELS.replace("FROM bronze", ", tip AS paid\nFROM bronze"))
    report = taxi.replay(at=(CUTOFF,))
    table = report.table("training.taxi")
    assert table is not None
    assert [column.column for column in table.leaking] == ["paid"]
    (leak,) = table.leaking[0].leaks
    examples = [example.key["ride"] for example in leak.difference.examples]
    assert examples == ON_THE_WAY
    assert [named(cause) for cause in leak.causes] == [[(ride, ("tip",))] for ride in examples]


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


def test_a_bound_that_is_hit_is_said_in_the_report_and_counted_in_the_progress(
    planted: Taxi,
) -> None:
    planted.run(place=with_column(sum_of("minutes", NOT_ASKED[20], NOT_ASKED[30])))
    told: list[str] = []
    request = ReplayRequest(at=(CUTOFF,), select=("features.place",), cause_runs=4)
    report = Replay(planted.lake, request, lambda what, *_: told.append(what)).run()
    assert report.cause_runs == 4
    counted = [what for what in told if what.startswith("causes")]
    assert counted == [f"causes: recomputation {n} of at most 4" for n in (1, 2, 3, 4)]
    cause = causes_of(report)[0]
    assert cause is not None
    assert not cause.is_smallest
    assert cause.count > len(cause.rows)
    assert "may be innocent: the recomputations were used up" in cause.said_of_rows


def test_nothing_is_recomputed_where_it_is_not_allowed_or_nothing_leaks(planted: Taxi) -> None:
    none = replayed(planted, sum_of("minutes", NOT_ASKED[20]), cause_runs=0)
    assert none.leaking
    assert none.cause_runs == 0
    assert "changed_by" not in str(as_json(none)["tables"])
    planted.run(place=CLEAN)
    clean = planted.replay(at=(CUTOFF,), select=("features.place",))
    assert (clean.cause_runs, clean.runs) == (0, 1)
