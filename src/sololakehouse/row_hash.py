"""Hashes of rows and their sums: the arithmetic of the content manifest.

A value is a word of 64 bits. The seed of its column is added, the sum multiplied by the seed made
odd, and folded: the upper half is added to the lower one by exclusive or. Doubles are also folded
at first, because those of whole numbers differ in their upper bits only. A row's hash is the sum of
the hashes of its values and of the seeds, mixed by the finaliser of SplitMix64 (Steele, Lea and
Flood, "Fast splittable pseudorandom number generators", 2014). All sums are modulo 2**64.

Each step can be undone, so that one changed value always changes the sum of its column. That of
the rows tells apart what sums of columns do not: values that changed places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sololakehouse.buffers import Buffers

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

MODULUS = 2**64
_GOLDEN_RATIO = 0x9E3779B97F4A7C15
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
_HALF = 32
_BLOCK = 32_768


class RowHasher:
    """Sums the hashes of rows whose columns have these seeds."""

    def __init__(self, seeds: Mapping[str, int]) -> None:
        self._columns = {name: _Column(seed) for name, seed in seeds.items()}

    def sums(self, words: pl.DataFrame) -> Array:
        """Return the number of rows, the sum of their hashes, and that of each column.

        The rows are taken block by block: a block of all columns stays in the processor's cache.

        Parameters
        ----------
        words
            The columns, of signed integers of at most 64 bits, of doubles, or of unsigned 64 bits.

        Returns
        -------
        Unsigned integers of shape (columns + 2,).
        """
        import numpy as np

        totals = np.zeros(words.width + 2, np.uint64)
        parts = [(self._columns[part.name], Buffers.of(part)) for part in words if words.height]
        constant = np.uint64(sum(column.seed for column, _ in parts) % MODULUS)
        buffers = np.empty((3, _BLOCK), np.uint64)
        of_block = np.zeros_like(totals)
        for start in range(0, words.height, _BLOCK):
            stop = min(start + _BLOCK, words.height)
            hashes, scratch, rows = buffers[:, : stop - start]
            rows.fill(constant)
            for index, (column, part) in enumerate(parts):
                column.hash(part.values[start:stop], part.nulls(start, stop), hashes, scratch)
                np.add(rows, hashes, out=rows)
                of_block[index + 2] = hashes.sum()
            _mix(rows, scratch)
            of_block[:2] = stop - start, rows.sum()
            totals += of_block
        return totals


@dataclass(frozen=True)
class _Column:
    seed: int

    @cached_property
    def null(self) -> np.uint64:
        """The hash of NULL."""
        import numpy as np

        word = np.array([(self.seed + _GOLDEN_RATIO) % MODULUS], np.uint64)
        _mix(word, np.empty_like(word))
        return np.uint64(word[0])

    def hash(self, values: Array, nulls: Array | None, hashes: Array, scratch: Array) -> None:
        """Hash values into `hashes`; those that `nulls` marks are NULL, whatever stands there."""
        import numpy as np

        seed = np.uint64(self.seed)
        if values.dtype == np.float64:
            _doubles(values, hashes)
            _fold(hashes, scratch)
            np.add(hashes, seed, out=hashes)
        elif values.itemsize == hashes.itemsize:
            np.add(values.view(np.uint64), seed, out=hashes)
        else:
            np.copyto(hashes, values, casting="unsafe")
            np.add(hashes, seed, out=hashes)
        np.multiply(hashes, np.uint64(self.seed | 1), out=hashes)
        _fold(hashes, scratch)
        if nulls is not None:
            np.copyto(hashes, self.null, where=nulls)


def _doubles(values: Array, words: Array) -> None:
    import numpy as np

    with np.errstate(invalid="ignore"):
        numbers = np.add(values, 0.0, out=words.view(np.float64))
        least = numbers.min()
    if np.isnan(least):
        np.copyto(numbers, np.nan, where=np.isnan(numbers))


def _fold(words: Array, scratch: Array) -> None:
    import numpy as np

    np.right_shift(words, np.uint64(_HALF), out=scratch)
    np.bitwise_xor(words, scratch, out=words)


def _mix(words: Array, scratch: Array) -> None:
    import numpy as np

    for shift, factor in _MIXING:
        np.right_shift(words, np.uint64(shift), out=scratch)
        np.bitwise_xor(words, scratch, out=words)
        np.multiply(words, np.uint64(factor), out=words)
    np.right_shift(words, np.uint64(_LAST_SHIFT), out=scratch)
    np.bitwise_xor(words, scratch, out=words)
