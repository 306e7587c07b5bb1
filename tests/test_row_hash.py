from __future__ import annotations

import math
import struct

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.row_hash import RowHasher

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


def folded(word: int) -> int:
    return word ^ (word >> 32)


def value_hash(value: float | None, seed: int) -> int:
    if value is None:
        return mixed((seed + 0x9E3779B97F4A7C15) % WORD)
    bits = folded(word(value)) if isinstance(value, float) else word(value)
    return folded((bits + seed) * (seed | 1) % WORD)


def oracle(rows: list[tuple], names: list[str]) -> tuple[int, ...]:
    hashes = [[value_hash(v, SEEDS[n]) for v, n in zip(row, names, strict=True)] for row in rows]
    columns = [sum(column) % WORD for column in zip(*hashes, strict=True)] or [0] * len(names)
    constant = sum(SEEDS[name] for name in names)
    return (len(rows), sum(mixed((constant + sum(row)) % WORD) for row in hashes) % WORD, *columns)


def summed(frame: pl.DataFrame) -> tuple[int, ...]:
    return tuple(RowHasher(SEEDS).sums(frame).tolist())


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


def test_blocks_add_up():
    values = list(range(-20_000, 30_000))
    assert summed(pl.DataFrame({"a": values})) == oracle([(value,) for value in values], ["a"])


def test_blocks_of_a_slice_with_nulls_add_up():
    values = [None if number % 11 in (0, 8) else number for number in range(40_000)]
    frame = pl.DataFrame({"a": values})[3:]
    assert summed(frame) == oracle([(value,) for value in values[3:]], ["a"])


def test_values_that_change_places_change_the_sum_of_the_rows():
    one = summed(pl.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}))
    other = summed(pl.DataFrame({"a": [2.0, 1.0], "b": [3, 4]}))
    assert one[2:] == other[2:]
    assert one[1] != other[1]


def test_whole_numbers_with_the_same_sum_have_other_hashes():
    for kind in (pl.Float64, pl.Int64):
        same_sum = ([2, 4], [3, 3]), ([0, 8], [4, 4]), ([16, 32], [24, 24])
        for left, right in same_sum:
            sums = [summed(pl.DataFrame({"a": pl.Series(v, dtype=kind)})) for v in (left, right)]
            assert sums[0][1] != sums[1][1]
            assert sums[0][2] != sums[1][2], (kind, left, right)


def test_what_stands_under_a_null_does_not_count():
    given_ = pl.DataFrame({"a": [1, 2, 10**12, 3] * 30})
    hidden = given_.select(pl.when(pl.col("a") < 10).then(pl.col("a")))
    rows = [(value if value < 10 else None,) for value in given_["a"]]
    assert summed(hidden) == oracle(rows, ["a"])


def test_a_signalling_nan_is_nan_and_warns_of_nothing():
    signalling = pl.Series([0x7FF0_0000_0000_0001], dtype=pl.UInt64).reinterpret(dtype=pl.Float64)
    assert summed(pl.DataFrame({"a": signalling})) == oracle([(float("nan"),)], ["a"])
