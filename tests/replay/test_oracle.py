"""The verdicts of random small histories, against features computed in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sololakehouse.provenance import Change
from tests.replay.taxi import BEGIN, KEYS, Taxi, make_taxi

Ride = tuple[str, int, int]
Rows = dict[tuple[str, datetime], int]
SOURCE = f"""\
CREATE MATERIALIZED VIEW features.place {KEYS} AS
WITH landed AS (
  SELECT place, arrived_at AS feature_ts, count(*) AS n FROM bronze.rides
  WHERE arrived_at IS NOT NULL GROUP BY place, arrived_at
)
SELECT place, feature_ts, n,
  sum(n) OVER (PARTITION BY place ORDER BY feature_ts) AS so_far,
  lead(n) OVER (PARTITION BY place ORDER BY feature_ts) AS next,
  sum(n) OVER () AS whole,
  max(n) OVER (PARTITION BY place) AS greatest
FROM landed
"""


def landed(rides: list[Ride]) -> Rows:
    found: Rows = {}
    for place, asked, minutes in rides:
        key = place, BEGIN + timedelta(minutes=asked + minutes)
        found[key] = found.get(key, 0) + 1
    return found


def of_place(rows: Rows, key: tuple[str, datetime]) -> dict[datetime, int]:
    return {moment: n for (place, moment), n in rows.items() if place == key[0]}


def following(rows: Rows, key: tuple[str, datetime]) -> int | None:
    later = sorted(moment for moment in of_place(rows, key) if moment > key[1])
    return rows[key[0], later[0]] if later else None


COLUMNS: dict[str, Callable[[Rows, tuple[str, datetime]], int | None]] = {
    "n": lambda rows, key: rows[key],
    "so_far": lambda rows, key: sum(n for t, n in of_place(rows, key).items() if t <= key[1]),
    "next": following,
    "whole": lambda rows, _: sum(rows.values()),
    "greatest": lambda rows, key: max(of_place(rows, key).values()),
}


def leaking(rides: list[Ride], cutoff: datetime) -> set[str]:
    """Return the columns that differ before the cutoff once later arrivals are not known."""
    full = landed(rides)
    known = {key: n for key, n in full.items() if key[1] <= cutoff}
    return {
        name
        for name, value in COLUMNS.items()
        if any(value(full, key) != value(known, key) for key in known)
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Taxi:
    project = make_taxi(tmp_path_factory.mktemp("oracle") / "taxi")
    project.write({"transformations/place.sql": SOURCE})
    return project


def frame_of(rides: list[Ride]) -> pl.DataFrame:
    asked = [BEGIN + timedelta(minutes=one) for _, one, _ in rides]
    arrived = [BEGIN + timedelta(minutes=one + more) for _, one, more in rides]
    columns = {
        "ride": range(len(rides)),
        "place": [place for place, _, _ in rides],
        "asked_at": asked,
        "arrived_at": arrived,
        "minutes": [minutes for _, _, minutes in rides],
        "tip": [0.5] * len(rides),
    }
    return pl.DataFrame(columns).with_columns(pl.selectors.datetime().dt.cast_time_unit("us"))


RIDES = st.lists(
    st.tuples(st.sampled_from(["hill", "shore"]), st.integers(0, 300), st.integers(1, 120)),
    min_size=2,
    max_size=14,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rides=RIDES, share=st.floats(0.05, 0.95), perturb=st.booleans())
def test_exactly_the_columns_leak_that_differ_in_plain_python(
    small: Taxi, rides: list[Ride], share: float, perturb: bool
) -> None:
    frame = frame_of(rides)
    small.writer().write_frame("bronze.rides", frame, Change("TEST", str(rides)))
    small.run()
    first, last = frame["asked_at"].min(), frame["arrived_at"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    cutoff = first + (last - first) * share
    report = small.replay(at=(cutoff,), modes=("truncate",), select=("features.place",))
    table = report.table("features.place")
    assert table is not None
    assert {column.column for column in table.leaking} == leaking(rides, cutoff)
    if perturb:
        other = small.replay(at=(cutoff,), modes=("perturb",), select=("features.place",))
        spoiled = other.table("features.place")
        assert spoiled is not None
        assert {column.column for column in spoiled.leaking} <= {"next", "whole", "greatest"}
