"""Drawn cases of trailing aggregates, and what an engine and the oracle say to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, get_args
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from sololakehouse.windows import Aggregate, TrailingAggregates
from sololakehouse.windows.aggregate import Function

from .oracle import Event, aggregated, windows

SCHEMA = "key string, at bigint, value double, tie int"
FUNCTIONS = ("rows", *get_args(Function))
VALUES = [0.0, 1.0, -1.0, 2.5, 0.1, 0.2, 0.3, 5e-7, -5e-7, 1e-7, 1e8 + 0.25, 123456.789012]
ORIGINS = [0, -3_000_000_000_000_000, 1_700_000_000_000_000]
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Answer = dict[tuple[str, int, str], Any]


class Asked(NamedTuple):
    """What is asked of events; `lengths` are numbers of steps between the points of time."""

    lengths: tuple[int, ...]
    closed: Any
    emit: Any
    step: timedelta | None = None
    timezone: str | None = None

    def declared(self) -> TrailingAggregates:
        step = self.step or MICROSECOND
        return TrailingAggregates(
            keys="key",
            timestamp="at",
            aggregates=[declared(name, [n * step for n in self.lengths]) for name in FUNCTIONS],
            every=self.step,
            timezone=self.timezone,
            closed=self.closed,
            emit=self.emit,
        )


class Case(NamedTuple):
    """Events, all points of time around them, and what is asked."""

    asked: Asked
    points: Sequence[int]
    events: Sequence[Event]

    def expected(self) -> Answer:
        asked = self.asked
        columns = iter(asked.declared().columns[2:])
        named = [(next(columns), name, i) for name in FUNCTIONS for i in range(len(asked.lengths))]
        options = {"closed": asked.closed, "emit": asked.emit, "grid": asked.step is not None}
        found = windows(self.events, self.points, asked.lengths, **options)
        return {
            (key, at, column): aggregated(name, rows[i])
            for (key, at), rows in found.items()
            for column, name, i in named
        }


def framed(session: Any, events: Iterable[Event]) -> Any:
    frame = session.createDataFrame([tuple(event) for event in events], SCHEMA)
    return frame.withColumn("at", F.timestamp_micros("at"))


def answered(declared: TrailingAggregates, events: Any) -> Answer:
    """Let an engine compute; keys and timestamp must be unique."""
    rows = declared.of(events)
    taken = rows.withColumn("feature_ts", F.unix_micros("feature_ts")).toArrow().to_pylist()
    columns = declared.columns[2:]
    found = {(row["key"], row["feature_ts"], name): row[name] for row in taken for name in columns}
    assert len(found) == len(taken) * len(columns)
    return found


def check(session: Any, strategy: st.SearchStrategy[Case], number: int) -> None:
    """Draw cases, and compare what an engine and the oracle say: one query for all that ask alike.

    The events of each case have keys of their own. Standard deviations are compared to twelve
    digits, everything else to the last one.
    """
    alike: dict[Asked, list[Case]] = {}
    for case in drawn(strategy, number):
        alike.setdefault(case.asked, []).append(case)
    for asked, cases in alike.items():
        apart = [
            case._replace(events=[e._replace(key=e.key and f"{n}{e.key}") for e in case.events])
            for n, case in enumerate(cases)
        ]
        events = [event for case in apart for event in case.events]
        expected = {at: value for case in apart for at, value in case.expected().items()}
        found = answered(asked.declared(), framed(session, events))
        wrong = {at for at in expected.keys() | found if not _same(at, expected, found)}
        assert not wrong, [(at, expected.get(at), found.get(at)) for at in sorted(wrong)[:3]]


def drawn(strategy: st.SearchStrategy[Case], number: int) -> list[Case]:
    cases: list[Case] = []

    @settings(max_examples=number, deadline=None, derandomize=True, database=None)
    @given(strategy)
    def draw(case: Case) -> None:
        cases.append(case)

    draw()
    return cases


def _same(at: tuple[str, int, str], expected: Answer, found: Answer) -> bool:
    if at not in expected or at not in found:
        return False
    one, other = expected[at], found[at]
    if at[2].startswith("stddev") and None not in (one, other):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)


def declared(name: str, lengths: list[timedelta]) -> Aggregate:
    if name == "rows":
        return Aggregate("count", windows=lengths, name="rows_{window}")
    tie_breaker = "tie" if name == "last" else None
    function: Any = name
    return Aggregate(
        function, "value", windows=lengths, name=f"{name}_{{window}}", tie_breaker=tie_breaker
    )


def _many(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Lists of every length alike: those of `st.lists` are mostly too short for ties."""
    return st.integers(0, 40).flatmap(lambda size: st.lists(of, min_size=size, max_size=size))


def _events(instants: Sequence[int]) -> st.SearchStrategy[list[Event]]:
    event = st.tuples(
        st.sampled_from(["a", "a", "b", "c", "d", None]),
        st.sampled_from([*instants, None]),
        st.sampled_from([*VALUES, None, None, None]),
        st.sampled_from([0, 1, 2, None]),
    )
    return _many(event.map(Event._make))


_EMIT = st.sampled_from(["changes", "events"])


@st.composite
def instants(draw: st.DrawFn) -> Case:
    """Windows of a few microseconds at each microsecond."""
    origin = draw(st.sampled_from(ORIGINS))
    closed = draw(st.sampled_from(["right", "left", "both", "neither"]))
    lengths = (2, 4) if closed == "neither" else (1, 3)
    slots = [origin + slot for slot in (0, 1, 2, 3, 4, 7, 11)]
    points = range(origin - 10, origin + 22)
    return Case(Asked(lengths, closed, draw(_EMIT)), points, draw(_events(slots)))


@st.composite
def grids(draw: st.DrawFn) -> Case:
    """Windows on a grid of ten microseconds, with events at its points and beside them."""
    origin = draw(st.sampled_from(ORIGINS))
    slots = [origin + slot for slot in (0, 1, 5, 9, 10, 11, 19, 20, 21, 49, 50)]
    closed = draw(st.sampled_from(["right", "left"]))
    asked = Asked((1, 4), closed, draw(_EMIT), timedelta(microseconds=10))
    return Case(asked, range(origin - 100, origin + 130, 10), draw(_events(slots)))


@st.composite
def days(draw: st.DrawFn, zone: str, night: date) -> Case:
    """Windows of days of a time zone, around a night in which clocks are changed."""
    midnights = [_start_of(night + n * DAY, zone) for n in range(-10, 14)]
    hour = 3_600_000_000
    near = [-hour, -hour // 2, -60_000_000, -1, 0, 1, 60_000_000, hour // 2, hour, 11 * hour]
    slots = [midnight + n for midnight in midnights[9:13] for n in near]
    closed = draw(st.sampled_from(["right", "left"]))
    asked = Asked((1, 3), closed, "changes", DAY, zone)
    return Case(asked, midnights, draw(_events(slots)))


def _start_of(day: date, zone: str) -> int:
    """Return the first moment of a day: of two midnights the first, of none what follows."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return (midnight - EPOCH) // MICROSECOND


STRATEGIES = {
    "instants": instants(),
    "grids": grids(),
    "clocks skip an hour": days("America/New_York", date(2013, 3, 10)),
    "clocks skip midnight": days("America/Sao_Paulo", date(2018, 11, 4)),
    "clocks show midnight twice": days("America/Havana", date(2013, 11, 3)),
    "clocks are put back over midnight": days("America/St_Johns", date(2006, 10, 29)),
}
