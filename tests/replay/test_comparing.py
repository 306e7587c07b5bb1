"""Comparing slices: what counts as equal, and what is told of what differs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sololakehouse.replay.comparing import ROWS, Compared, compare

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rows(*values: object, keys: str | None = None) -> pl.DataFrame:
    names = list(keys or "abcdefgh"[: len(values)])
    moments = [NOON + timedelta(hours=number) for number in range(len(values))]
    return pl.DataFrame({"key": names, "at": moments, "value": values}, strict=False)


def found(full: pl.DataFrame, replayed: pl.DataFrame) -> Compared:
    return compare(full, replayed, ["key", "at"], "at", ["value"])


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        (1.0, 1.0 + 1e-12, False),
        (1.0, 1.0 + 1e-6, True),
        (1e-14, -1e-14, False),
        (float("nan"), float("nan"), False),
        (float("nan"), 1.0, True),
        (float("inf"), float("inf"), False),
        (None, None, False),
        (None, 1.0, True),
    ],
)
def test_floats_are_equal_within_a_billionth(
    one: float | None, other: float | None, differs: bool
) -> None:
    assert bool(found(rows(5.0, one), rows(5.0, other)).differences) == differs


def test_rows_on_one_side_are_told_apart_from_values() -> None:
    compared = found(rows(1, 2, 3), rows(1, 5, keys="ab"))
    assert [(one.column, one.rows) for one in compared.differences] == [(ROWS, 1), ("value", 1)]
    missing, value = compared.differences
    assert (missing.examples[0].full, missing.examples[0].replayed) == ("there", "missing")
    assert (value.examples[0].full, value.examples[0].replayed) == (2, 5)
    assert value.earliest == NOON + timedelta(hours=1)
    assert value.examples[0].key == {"key": "b", "at": NOON + timedelta(hours=1)}


@pytest.mark.parametrize("swapped", [False, True])
def test_rows_with_one_key_are_counted(swapped: bool) -> None:
    twice = pl.concat([rows(1), rows(1)])
    sides = (rows(1), twice) if swapped else (twice, rows(1))
    differences = found(*sides).differences
    assert [(one.column, one.rows) for one in differences] == [(ROWS, 1)]
    assert found(twice, twice).differences == ()


def test_only_what_is_judged_counts() -> None:
    late = pl.col("at") > NOON
    compared = compare(
        rows(1, 2, 3), rows(7, 7, keys="ab"), ["key", "at"], "at", ["value"], {"value": late}
    )
    assert [(one.column, one.rows) for one in compared.differences] == [(ROWS, 1), ("value", 1)]
    for value, differences in ((9, 0), (2, 1)):
        other = rows(value, 9 if differences else 2)
        compared = compare(rows(1, 2), other, ["key", "at"], "at", ["value"], {"value": late})
        assert len(compared.differences) == differences
    rule = {ROWS: pl.col("at") < NOON}
    compared = compare(rows(1, 2), rows(1), ["key", "at"], "at", ["value"], rule)
    assert compared.differences == ()


def test_the_first_three_examples_are_shown() -> None:
    difference = found(rows(*range(8)), rows(*range(1, 9))).differences[0]
    assert difference.rows == 8
    assert [example.full for example in difference.examples] == [0, 1, 2]
