"""Trailing aggregates on the embedded engine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from sololakehouse.engine import Engine
from sololakehouse.features.asof import AsOf, join_as_of
from sololakehouse.pipelines.refused_actions import refused_actions
from sololakehouse.windows import Aggregate, TrailingAggregates
from sololakehouse.windows.length import MICROSECOND, length_of

from .cases import STRATEGIES, Asked, Case, answered, check, framed
from .oracle import Event, windows

WINDOW = timedelta(microseconds=10)


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    with Engine.start() as engine:
        yield engine.session


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_windows_equal_the_oracle(session, strategy):
    check(session, strategy, number=40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.one_of(*STRATEGIES.values()), st.integers(0, 39))
def test_rows_from_the_first_new_event_on_depend_on_the_lookback_before_it(case, number):
    known = [event for event in case.events if event.key is not None and event.at is not None]
    assume(known)
    first = known[number % len(known)].at
    old = [event for n, event in enumerate(known) if event.at < first or n % 2]
    lookback = length_of(case.asked.declared().lookback) // MICROSECOND
    seen = [event for event in known if event.at >= first - lookback]
    kept = {at: rows for at, rows in of(case, old).items() if at[1] < first}
    computed = {at: rows for at, rows in of(case, seen).items() if at[1] >= first}
    assert of(case, known) == kept | computed


def of(case: Case, events: list[Event]) -> dict[tuple[str, int], list[Any]]:
    lengths, closed, emit, step, _ = case.asked
    grid = step is not None
    return windows(events, case.points, lengths, closed=closed, emit=emit, grid=grid)


def test_a_lookup_sees_the_window_that_ends_at_its_own_moment(session):
    events = [Event("a", at, 1.0, 0) for at in (3, 3, 5, 9, 30)]
    asked = Asked((4,), "right", "changes")
    found = answered(asked.declared(), framed(session, events))
    counts = {at: n for (_, at, name), n in found.items() if name.startswith("rows")}
    features = pl.DataFrame({"k": "a", "ts": list(counts), "n": list(counts.values())})
    labels = pl.DataFrame({"k": "a", "at": range(2, 45)})
    rule = AsOf(keys=["k"], timestamp="at", feature_timestamp="ts")
    moments = {"at": pl.Datetime("us", "UTC")}, {"ts": pl.Datetime("us", "UTC")}
    seen = join_as_of(labels.cast(moments[0]), features.cast(moments[1]), ["n"], rule)["n"]
    expected = [sum(at - 4 < event.at <= at for event in events) for at in range(2, 45)]
    assert seen.fill_null(0).to_list() == expected


def of_values(session: Any, kind: str, values: list[Any], *aggregates: Aggregate) -> list[Any]:
    """Return what the last of some values, each a microsecond after the other, sees of all."""
    frame = session.createDataFrame(list(enumerate(values)), f"at bigint, value {kind}")
    events = frame.selectExpr("'a' AS key", "timestamp_micros(at) AS at", "value")
    declared = TrailingAggregates(keys="key", timestamp="at", aggregates=aggregates, emit="events")
    return list(declared.of(events).orderBy(F.desc("feature_ts")).toArrow().to_pylist()[0].values())


@pytest.mark.parametrize(
    ("kind", "values", "summed"),
    [
        ("int", [1, 2, None], [3.0, 1.5, 1, 2, 2]),
        ("boolean", [False, True, True, False], [2.0, 0.5, False, True, False]),
        ("float", [0.5, 0.25], [0.75, 0.375, 0.25, 0.5, 0.25]),
        (
            "decimal(9,2)",
            [Decimal("0.10"), Decimal("0.20")],
            [0.3, 0.15, Decimal("0.10"), Decimal("0.20"), Decimal("0.20")],
        ),
    ],
)
def test_numbers_of_every_type_are_added_up_and_keep_it_elsewhere(session, kind, values, summed):
    functions: Any = ("sum", "mean", "min", "max", "last")
    asked = [Aggregate(name, "value", windows=WINDOW) for name in functions]
    assert of_values(session, kind, values, *asked)[2:] == summed


def test_texts_have_a_least_a_greatest_and_a_last(session):
    functions: Any = ("min", "max", "last", "count")
    asked = [Aggregate(name, "value", windows=WINDOW) for name in functions]
    assert of_values(session, "string", ["b", "c", "a", None], *asked)[2:] == ["a", "c", "a", 3]


def test_a_field_of_a_column_can_be_aggregated(session):
    values = [{"n": 1, "m": 5}, {"n": 2, "m": 7}]
    kind = "struct<n: int, m: int>"
    asked = [Aggregate("sum", name, windows=WINDOW) for name in ("value.n", "`value`.`m`")]
    assert of_values(session, kind, values, *asked)[2:] == [3.0, 12.0]


def test_sums_of_whole_numbers_go_beyond_64_bits(session):
    asked = Aggregate("sum", "value", windows=WINDOW, decimals=0)
    assert of_values(session, "bigint", [2**62] * 5, asked)[2:] == [5.0 * 2**62]


def test_as_many_decimals_count_as_are_asked_for(session):
    fine, coarse, usual = (
        Aggregate("sum", "value", windows=WINDOW, decimals=n, name=f"sum{n}") for n in (9, 1, None)
    )
    values = of_values(session, "double", [0.05, 1e-7], fine, coarse, usual)[2:]
    assert values == [0.0500001, 0.1, 0.05]


def test_a_deviation_is_not_lost_beside_a_large_mean(session):
    asked = Aggregate("stddev", "value", windows=WINDOW)
    assert of_values(session, "double", [9e8, 9e8 + 1e-6, 9e8 + 2e-6], asked)[2:] == [1e-6]


@pytest.mark.parametrize(
    ("function", "value"),
    [("sum", 1e13), ("mean", float("nan")), ("sum", float("-inf")), ("stddev", 1e10)],
)
def test_what_cannot_be_added_up_is_refused(session, function, value):
    asked = Aggregate(function, "value", windows=WINDOW)
    said = "The column 'value' holds .*, which cannot be added up to 6 decimals"
    with pytest.raises(Exception, match=said):
        of_values(session, "double", [1.0, value], asked)


@pytest.mark.parametrize(
    ("emit", "expected"),
    [
        (
            "changes",
            [("08:00", 2, 30.0), ("09:00", 0, None), ("09:30", 1, 5.0), ("10:30", 0, None)],
        ),
        ("events", [("08:00", 2, 30.0), ("09:30", 1, 5.0)]),
    ],
)
def test_the_example_of_the_documentation(session, emit, expected):
    sales = session.sql(
        "SELECT 'a' AS shop, CAST('2026-01-01 ' || at || ':00Z' AS TIMESTAMP) AS at, amount "
        "FROM VALUES ('08:00', 10), ('08:00', 20), ('09:30', 5) AS t (at, amount)"
    )
    asked = [Aggregate("count", windows="1h"), Aggregate("sum", "amount", windows="1h")]
    table = TrailingAggregates(keys="shop", timestamp="at", aggregates=asked, emit=emit).of(sales)
    assert table.columns[2:] == ["count_1h", "amount_sum_1h"]
    time = "date_format(feature_ts, 'HH:mm')"
    shown = table.orderBy("feature_ts").selectExpr(time, *table.columns[2:])
    assert [tuple(row.values()) for row in shown.toArrow().to_pylist()] == expected


def test_neither_order_nor_partitions_of_rows_show(session):
    draw = random.Random(5)
    rows = [
        Event(draw.choice("abc"), draw.randrange(40), draw.gauss(0, 1e5), draw.choice([None, 1]))
        for _ in range(500)
    ]
    declared = Asked((3, 7), "left", "changes").declared()
    first = answered(declared, framed(session, rows))
    draw.shuffle(rows)
    assert answered(declared, framed(session, rows).repartition(5)) == first


def test_no_events_give_no_rows_and_all_columns(session):
    declared = Asked((1,), "right", "changes").declared()
    nothing = framed(session, [])
    assert answered(declared, nothing) == {}
    assert tuple(declared.of(nothing).columns) == declared.columns


def test_a_declaration_neither_computes_nor_asks_for_a_schema(session):
    with refused_actions():
        Asked((1,), "right", "changes").declared().of(session.table("not_there"))
