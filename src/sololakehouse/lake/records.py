"""Rows as records: the values of a row side by side, as NumPy holds them and a file keeps them.

Columns are as good to compute with, but to put rows into another order each of them is gone through
at random, where a record is moved once.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import local
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

_PLACE = "place"
_NULLS = "nulls"
_BLOCK_BYTES = 262_144
_STORED = {
    **{f"Int{bits}": f"i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"Float{bits}": f"f{bits // 8}" for bits in (32, 64)},
    **{"Boolean": "u1", "Date": "i4", "Datetime": "i8", "Duration": "i8", "Time": "i8"},
}
_ROOMS = local()


class Records:
    """Rows of columns that have a fixed width: numbers, booleans, dates, moments and durations.

    A record has the values, the place of the row if places are asked for, and a bit for each column
    that says whether it is NULL.
    """

    def __init__(self, schema: pl.Schema, *, with_places: bool) -> None:
        import numpy as np

        self._schema = schema
        columns = [(_field(n), _stored(kind)) for n, kind in enumerate(schema.values())]
        place = [(_PLACE, "u4")] if with_places else []
        bits = (_NULLS, np.uint8, ((len(schema) + 7) // 8,))
        self._kind = np.dtype([*columns, *place, bits], align=True)
        # NumPy moves bytes that it knows nothing of ten times as fast as records.
        self._whole = np.dtype(f"V{self._kind.itemsize}")
        self._block = max(1, _BLOCK_BYTES // self._kind.itemsize)

    @staticmethod
    def can_hold(schema: pl.Schema) -> bool:
        """Whether all columns have a fixed width."""
        return all(map(_stored, schema.values()))

    def pack(
        self, rows: pl.DataFrame, at: Array | None, places: Array | None, order: Array | None
    ) -> Array:
        """Return records of rows.

        Parameters
        ----------
        at
            Positions of the rows, which are gone through in their order; None: all.
        places
            The place of each of these.
        order
            Which of these is first, which is next, and so on; None: they stay as they are.
        """
        import numpy as np

        chosen = np.arange(rows.height) if at is None else at.astype(np.intp)
        count = len(chosen)
        records = np.empty(count, self._kind) if order is None else self._scratch(count)
        columns = [(_values(column), _nulls(column)) for column in rows]
        for first in range(0, count, self._block):
            some = slice(first, first + self._block)
            block, positions = records[some], chosen[some]
            block[_NULLS] = 0
            for number, (values, nulls) in enumerate(columns):
                block[_field(number)] = values.take(positions)
                if nulls is not None:
                    block[_NULLS][:, number // 8] |= nulls.take(positions) << number % 8
        if places is not None:
            records[_PLACE] = places
        if order is None:
            return records
        return np.take(records.view(self._whole), order, mode="clip").view(self._kind)

    def _scratch(self, count: int) -> Array:
        """Return room for records that this thread uses again."""
        import numpy as np

        size = count * self._kind.itemsize
        if len(getattr(_ROOMS, "room", ())) < size:
            _ROOMS.room = np.empty(size, np.uint8)
        records: Array = _ROOMS.room[:size].view(self._kind)
        return records

    def size(self, records: Array) -> int:
        """Return the bytes of some records."""
        return records.nbytes

    def data(self, parts: Sequence[Array]) -> bytes:
        """Return what a file keeps of records."""
        import numpy as np

        return b"".join(part.view(np.uint8).data for part in parts)

    def read(self, data: Array) -> Array:
        """Return the records of `data`."""
        return data.view(self._kind)

    def together(self, parts: Sequence[Array]) -> pl.DataFrame:
        """Return the rows of all parts."""
        return self._frame(parts)

    def in_place(self, parts: Sequence[Array], count: int) -> pl.DataFrame:
        """Return `count` rows: each at its place, and NULL where there is none."""
        import numpy as np

        records = np.zeros(count, self._kind)
        records[_NULLS] = 255
        for part in parts:
            records.view(self._whole)[part[_PLACE]] = part.view(self._whole)
        return self._frame([records])

    def _frame(self, parts: Sequence[Array]) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        nulls = np.concatenate([part[_NULLS] for part in parts])
        columns = []
        for number, (name, kind) in enumerate(self._schema.items()):
            unknown = (nulls[:, number // 8] >> number % 8) & 1
            values = np.concatenate([part[_field(number)] for part in parts])
            columns.append(pl.Series(name, _arrow(values, unknown, kind), dtype=kind))
        return pl.DataFrame(columns)


def _field(number: int) -> str:
    return f"column {number}"


def _stored(kind: pl.DataType) -> str | None:
    """Return NumPy's type for the values of a type as they are stored; None: it has none."""
    return _STORED.get(kind.base_type().__name__)


def _values(column: pl.Series) -> Array:
    """Return the values as they are stored; of NULL, anything."""
    import polars as pl

    if not column.dtype.is_numeric():
        narrow = {pl.Boolean: pl.UInt8, pl.Date: pl.Int32}
        column = column.cast(narrow.get(column.dtype.base_type(), pl.Int64))
    return (column.fill_null(strategy="zero") if column.null_count() else column).to_numpy()


def _nulls(column: pl.Series) -> Array | None:
    """Return 1 where a value is NULL and else 0; None if none is."""
    import polars as pl

    return column.is_null().cast(pl.UInt8).to_numpy() if column.null_count() else None


def _arrow(values: Array, unknown: Array, kind: pl.DataType) -> pa.Array:
    """Return values as Arrow, without a copy."""
    import polars as pl
    import pyarrow as pa

    valid = _bits(1 - unknown) if unknown.any() else None
    data = _bits(values) if kind == pl.Boolean else pa.py_buffer(values)
    as_arrow = pl.Series(dtype=kind).to_arrow().type
    return pa.Array.from_buffers(as_arrow, len(values), [valid, data])


def _bits(flags: Array) -> pa.Buffer:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))
