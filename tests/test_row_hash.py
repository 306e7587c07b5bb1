from __future__ import annotations

import math
import struct

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.row_hash import ROW_SUM, ROWS, RowHasher

WORD = 2**64
SEEDS = {"a": 0x0123_4567_89AB_CDEF, "b": 2**64 - 3}
CLOSE = st.none() | st.integers(-5, 120)
WIDE = st.none() | st.integers(-(2**63), 2**63 - 1)


def mixed(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)


def word(value: float | None) -> int:
    if isinstance(value, float):
        value = float("nan") if math.isnan(value) else value + 0.0
        return int.from_bytes(struct.pack("<d", value), "little")
    return int(value or 0) % WORD


def value_hash(value: float | None, seed: int) -> int:
    if value is None:
        return mixed((seed + 0x9E3779B97F4A7C15) % WORD)
    return mixed(word(value) ^ seed)


def oracle(rows: list[tuple], names: list[str]) -> tuple[int, ...]:
    hashes = [[value_hash(v, SEEDS[n]) for v, n in zip(row, names, strict=True)] for row in rows]
    columns = [sum(column) % WORD for column in zip(*hashes, strict=True)] or [0] * len(names)
    return (len(rows), sum(mixed(sum(row) % WORD) for row in hashes) % WORD, *columns)


def summed(frame: pl.DataFrame, hasher: RowHasher | None = None) -> tuple[int, ...]:
    return (hasher or RowHasher(SEEDS)).sums(frame).row(0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CLOSE, WIDE), max_size=300), st.integers(0, 20))
def test_sums_are_those_of_plain_python(rows, left):
    frame = pl.DataFrame(rows, {"a": pl.Int32, "b": pl.Int64}, orient="row")
    assert summed(frame) == oracle(rows, ["a", "b"])
    assert summed(frame[left:]) == oracle(rows[left:], ["a", "b"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.none() | st.floats()), max_size=50))
def test_doubles_are_those_of_plain_python(rows):
    assert summed(pl.DataFrame(rows, {"a": pl.Float64}, orient="row")) == oracle(rows, ["a"])


@pytest.mark.parametrize("kind", [pl.Int8, pl.Int16, pl.Int32, pl.Int64])
@pytest.mark.parametrize("unknown", [None, 0])
def test_every_width_with_and_without_null(kind, unknown):
    values = [-100, 100, 0, 7, 100, -100] * 100 + [unknown]
    frame = pl.DataFrame({"a": pl.Series(values, dtype=kind)})
    assert summed(frame) == oracle([(value,) for value in values], ["a"])


def test_a_hasher_takes_rows_of_another_range_afterwards():
    hasher = RowHasher(SEEDS)
    for values in (range(50), range(30, 200), [2**62, -(2**62)], [None] * 3, [], range(-9, 9)):
        frame = pl.DataFrame({"a": pl.Series(values, dtype=pl.Int64)})
        assert summed(frame, hasher) == oracle([(value,) for value in values], ["a"])


def test_what_stands_under_a_null_does_not_count():
    given_ = pl.DataFrame({"a": [1, 2, 10**12, 3] * 30})
    hidden = given_.select(pl.when(pl.col("a") < 10).then(pl.col("a")))
    rows = [(value if value < 10 else None,) for value in given_["a"]]
    assert summed(hidden) == oracle(rows, ["a"])


def test_a_signalling_nan_is_nan_and_warns_of_nothing():
    signalling = pl.Series([0x7FF0_0000_0000_0001], dtype=pl.UInt64).reinterpret(dtype=pl.Float64)
    assert summed(pl.DataFrame({"a": signalling})) == oracle([(float("nan"),)], ["a"])


def test_the_sums_have_names():
    assert RowHasher(SEEDS).sums(pl.DataFrame({"b": [1]})).columns == [ROWS, ROW_SUM, "b"]
