"""Rows of any number, a batch at a time, while the next ones are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def each_batch(rows: pl.LazyFrame, do: Callable[[pl.DataFrame], None]) -> None:
    """Call `do` with all rows, batch by batch, in any order and from several threads.

    Raises
    ------
    Exception
        What `do` raised.
    """
    # Not `collect_batches` or `sink_batches`: polars 2.1 ends them without an error when the
    # process is interrupted.
    import polars as pl

    def done(batch: pl.DataFrame) -> pl.DataFrame:
        if batch.height:
            do(batch)
        return pl.DataFrame({"rows": [batch.height]})

    counted = rows.map_batches(done, streamable=True, schema={"rows": pl.Int64()})
    counted.sum().collect(engine="streaming")
