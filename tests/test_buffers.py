from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.buffers import Buffers

KINDS = st.sampled_from([pl.Int8, pl.Int32, pl.Int64, pl.UInt64, pl.Float64])


@settings(max_examples=100, deadline=None)
@given(KINDS, st.lists(st.none() | st.integers(0, 100), min_size=1, max_size=60), st.data())
def test_any_part_of_a_slice_has_its_values_and_nulls(kind, values, data):
    left = data.draw(st.integers(0, len(values) - 1))
    start = data.draw(st.integers(0, len(values) - left))
    stop = data.draw(st.integers(start, len(values) - left))
    buffers = Buffers.of(pl.Series(values, dtype=kind)[left:])
    part = values[left:][start:stop]
    nulls = buffers.nulls(start, stop)
    assert (nulls is None) == (None not in values[left:])
    told = [False] * len(part) if nulls is None else nulls.tolist()
    assert told == [value is None for value in part]
    known = zip(buffers.values[start:stop].tolist(), part, strict=True)
    assert all(value is None or found == value for found, value in known)


def test_values_in_several_chunks_and_without_a_copy():
    whole = pl.Series([1.0, 2.0, 3.0])
    assert Buffers.of(whole).values.ctypes.data == whole.to_numpy().ctypes.data
    chunks = whole.clone().append(pl.Series([None, 4.0]))
    assert chunks.n_chunks() == 2
    buffers = Buffers.of(chunks)
    assert buffers.values[[0, 1, 2, 4]].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert buffers.nulls(0, 5).tolist() == [False, False, False, True, False]


def test_they_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        Buffers.of(pl.Series([1.0])).values[0] = 2.0
