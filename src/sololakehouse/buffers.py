"""The values of a column as they lie in memory, and which of them are NULL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Buffers:
    """The buffers of a column of numbers, without a copy.

    Attributes
    ----------
    values
        Of shape (n,), read-only; what stands where the column is NULL is of no meaning.
    known
        A bit per value, from bit `first` on, which is 0 where it is NULL; None: none is.
    """

    values: Array
    known: Array | None
    first: int

    @classmethod
    def of(cls, column: pl.Series) -> Buffers:
        """Return the buffers of a column of integers or floats, of at least one row."""
        import numpy as np

        arrow: Any = column.to_arrow()
        validity, data = arrow.buffers()
        kind = np.dtype(str(arrow.type))
        values = np.frombuffer(data, kind, len(arrow), arrow.offset * kind.itemsize)
        known = np.frombuffer(validity, np.uint8) if arrow.null_count else None
        return cls(values, known, arrow.offset)

    def nulls(self, start: int, stop: int) -> Array | None:
        """Return which values from `start` until before `stop` are NULL; None: the column has none.

        The bits become bytes for these values only, so that for a block they stay in the
        processor's cache.
        """
        import numpy as np

        if self.known is None:
            return None
        begin, end = self.first + start, self.first + stop
        skipped = begin % 8
        bits = np.unpackbits(self.known[begin // 8 : (end + 7) // 8], bitorder="little")
        return np.equal(bits[skipped : skipped + stop - start], 0)
