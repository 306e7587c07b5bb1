"""How much is held at once of rows of any number, so that the whole process keeps to a limit."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_PROCESS = 275_000_000
_BYTES_OF_A_LABEL = 120
_BYTES_OF_A_VALUE = 12


@dataclass(frozen=True)
class Memory:
    """How much is held at once.

    Attributes
    ----------
    labels
        Labels for which feature tables are searched at once, two at a time.
    found
        Bytes of found values that stay in memory until the rows are put together.
    rows
        Bytes of rows that are put together at once.
    whole
        Bytes of a training set that may be held as a whole, beside a copy of it.
    """

    labels: int
    found: int
    rows: int
    whole: int

    @classmethod
    def of(cls, limit: int) -> Memory:
        """Share out a limit in bytes."""
        spare = limit - _PROCESS
        return cls(spare * 2 // 5 // _BYTES_OF_A_LABEL, spare // 12, spare // 18, spare // 3)

    def rows_of(self, columns: int) -> int:
        """Return how many rows with so many columns are put together at once."""
        return max(1, self.rows // (columns * _BYTES_OF_A_VALUE))

    def holds_labels(self, rows: int, columns: int) -> bool:
        """Whether so many labels with so many columns may be sorted and held beside the rest."""
        return rows * columns * _BYTES_OF_A_VALUE <= self.found

    def holds(self, rows: int, columns: int) -> bool:
        """Whether so many rows with so many columns may be held as a whole."""
        return rows * columns * _BYTES_OF_A_VALUE <= self.whole


DEFAULT = Memory.of(1_000_000_000)


def give_back() -> None:
    """Give memory that was freed back to the system, which glibc keeps unless it is told.

    Arrays of NumPy would else go on counting against the limit, of which Polars and Arrow, that do
    not ask glibc, can have nothing.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
