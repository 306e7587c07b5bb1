"""Rows of columns of any type, as frames, which a file keeps as Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

_PLACE = "__slh_place"


class ArrowFrames:
    """What `Records` does, for columns that have no fixed width."""

    def pack(
        self, rows: pl.DataFrame, at: Array | None, places: Array | None, order: Array | None
    ) -> pl.DataFrame:
        """Return rows with their places, as `Records.pack`."""
        import polars as pl

        packed = rows if at is None else rows[at]
        if places is not None:
            packed = packed.with_columns(pl.Series(_PLACE, places))
        return packed if order is None else packed[order]

    def size(self, rows: pl.DataFrame) -> int:
        """Return the bytes of some rows, about."""
        return int(rows.estimated_size())

    def data(self, parts: Sequence[pl.DataFrame]) -> memoryview:
        """Return what a file keeps of rows."""
        import polars as pl

        # Of text Polars would also write what other rows have.
        whole = pl.concat(parts, rechunk=True)
        file = BytesIO()
        whole.write_ipc_stream(file, compat_level=pl.CompatLevel.oldest())
        return file.getbuffer()

    def read(self, data: Array) -> pl.DataFrame:
        """Return the rows of `data`."""
        import polars as pl

        return pl.read_ipc_stream(BytesIO(data.data))

    def together(self, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Return the rows of all parts."""
        import polars as pl

        return pl.concat(parts)

    def in_place(self, parts: Sequence[pl.DataFrame], count: int) -> pl.DataFrame:
        """Return `count` rows: each at its place, and NULL where there is none."""
        import numpy as np
        import polars as pl

        # Of many chunks, or by positions with NULL, Polars gathers five times as slowly.
        found = pl.concat([*parts, parts[0].clear(1)], rechunk=True)
        at = np.full(count, found.height - 1, np.uint32)
        at[found[_PLACE].head(-1).to_numpy()] = np.arange(found.height - 1, dtype=np.uint32)
        return found.drop(_PLACE).select(pl.all().gather(pl.Series(at)))
