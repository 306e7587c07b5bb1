"""Hashes of rows and their sums: the arithmetic of the content manifest.

A value is a word of 64 bits, combined with a seed of its column and mixed by the finaliser of
SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). A row's
hash is the mixed sum of the hashes of its values. All sums are modulo 2**64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

MODULUS = 2**64
ROWS = "rows of the frame"
ROW_SUM = "sum of the rows"
_GOLDEN_RATIO = 0x9E3779B97F4A7C15
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
_BLOCK = 32_768
_LONGEST_TABLE = 16_384


class RowHasher:
    """Sums the hashes of rows whose columns have these seeds.

    Integers that are close together are looked up in a table of hashes, in half the time that it
    takes to mix them.
    """

    def __init__(self, seeds: Mapping[str, int]) -> None:
        self._columns = {name: _Column(seed) for name, seed in seeds.items()}

    def sums(self, words: pl.DataFrame) -> pl.DataFrame:
        """Return one row: the number of rows, the sum of their hashes, and that of each column.

        The rows are taken block by block: a block of all columns stays in the processor's cache.

        Parameters
        ----------
        words
            The columns, of signed integers of at most 64 bits, of doubles, or of unsigned 64 bits.
        """
        import numpy as np
        import polars as pl

        totals = np.zeros((1, words.width + 2), np.uint64)
        totals[0, 0] = words.height
        parts = [self._columns[values.name].part(values) for values in words if words.height]
        buffers = np.empty((3, _BLOCK), np.uint64)
        for start in range(0, words.height, _BLOCK):
            block = slice(start, min(start + _BLOCK, words.height))
            hashes, scratch, rows = buffers[:, : block.stop - start]
            rows.fill(0)
            for index, part in enumerate(parts):
                part.hash(block, hashes, scratch)
                np.add(rows, hashes, out=rows)
                totals[:, index + 2] += hashes.sum()
            _mix(rows, scratch)
            totals[:, 1] += rows.sum()
        return pl.from_numpy(totals, schema=[ROWS, ROW_SUM, *words.columns])


class _Part(Protocol):
    """Some values of a column."""

    def hash(self, block: slice, hashes: Array, scratch: Array) -> None:
        """Hash the values of a block into `hashes`."""
        ...


class _Column:
    """What is the same for all values of a column: the seed, and the hashes of close integers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._table: _Table | None = None

    def part(self, column: pl.Series) -> _Part:
        values, nulls = _buffers(column)
        table = self._table_for(column) if values.dtype.kind == "i" else None
        if table is not None:
            return _Close(values, nulls, table)
        return _Words(values, nulls, self._seed)

    def _table_for(self, column: pl.Series) -> _Table | None:
        low: Any = column.min()
        high: Any = column.max()
        if low is None or high - low >= min(_LONGEST_TABLE, len(column)):
            return None
        table = self._table
        if table is None or low < table.low or high > table.high:
            table = self._table = _Table.of(self._seed, low, high)
        return table


@dataclass(frozen=True)
class _Table:
    """The hashes of the integers from `low` to `high`, and the one of NULL."""

    low: int
    hashes: Array
    null: np.uint64

    @property
    def high(self) -> int:
        return self.low + len(self.hashes) - 1

    @classmethod
    def of(cls, seed: int, low: int, high: int) -> _Table:
        import numpy as np

        integers = np.arange(low, high + 1, dtype=np.int64)
        nulls = np.zeros(len(integers), bool)
        nulls[0] = True
        hashes = [np.empty(len(integers), np.uint64) for _ in range(2)]
        for words, mask in zip(hashes, (None, nulls), strict=True):
            part = _Words(integers, mask, seed)
            part.hash(slice(None), words, np.empty_like(words))
        return cls(low, hashes[0], hashes[1][0])


@dataclass(frozen=True)
class _Close:
    """Integers that a table has; those that `nulls` marks are NULL, whatever stands there."""

    values: Array
    nulls: Array | None
    table: _Table

    def hash(self, block: slice, hashes: Array, scratch: Array) -> None:
        import numpy as np

        places = scratch.view(np.int64)
        np.subtract(self.values[block], self.table.low, out=places, dtype=np.int64)
        np.take(self.table.hashes, places, out=hashes, mode="clip")
        if self.nulls is not None:
            np.copyto(hashes, self.table.null, where=self.nulls[block])


@dataclass(frozen=True)
class _Words:
    """Any values; those that `nulls` marks are NULL, whatever stands there."""

    values: Array
    nulls: Array | None
    seed: int

    def hash(self, block: slice, hashes: Array, scratch: Array) -> None:
        import numpy as np

        seed = np.uint64(self.seed)
        if self.values.dtype == np.float64:
            np.bitwise_xor(_doubles(self.values[block], hashes), seed, out=hashes)
        elif self.values.itemsize == hashes.itemsize:
            np.bitwise_xor(self.values[block].view(np.uint64), seed, out=hashes)
        else:
            np.copyto(hashes, self.values[block], casting="unsafe")
            np.bitwise_xor(hashes, seed, out=hashes)
        if self.nulls is not None:
            null = np.uint64((self.seed + _GOLDEN_RATIO) % MODULUS)
            np.copyto(hashes, null, where=self.nulls[block])
        _mix(hashes, scratch)


def _doubles(values: Array, words: Array) -> Array:
    import numpy as np

    with np.errstate(invalid="ignore"):
        numbers = np.add(values, 0.0, out=words.view(np.float64))
    unknown = np.isnan(numbers)
    if unknown.any():
        np.copyto(numbers, np.nan, where=unknown)
    return words


def _mix(words: Array, scratch: Array) -> None:
    import numpy as np

    for shift, factor in _MIXING:
        np.right_shift(words, np.uint64(shift), out=scratch)
        np.bitwise_xor(words, scratch, out=words)
        np.multiply(words, np.uint64(factor), out=words)
    np.right_shift(words, np.uint64(_LAST_SHIFT), out=scratch)
    np.bitwise_xor(words, scratch, out=words)


def _buffers(column: pl.Series) -> tuple[Array, Array | None]:
    """Return the values without a copy, and which are NULL (None: none is)."""
    import numpy as np

    arrow: Any = column.to_arrow()
    validity, data = arrow.buffers()
    kind = np.dtype(arrow.type.to_pandas_dtype())
    values = np.frombuffer(data, kind, len(arrow), arrow.offset * kind.itemsize)
    if not arrow.null_count:
        return values, None
    first, last = arrow.offset // 8, (arrow.offset + len(arrow) + 7) // 8
    bits = np.unpackbits(np.frombuffer(validity, np.uint8)[first:last], bitorder="little")
    begin = arrow.offset - 8 * first
    return values, np.equal(bits[begin : begin + len(arrow)], 0)
