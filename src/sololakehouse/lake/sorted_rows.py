"""Rows of any number, sorted: cut into ranges of their first column, each of which is sorted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.lake.batches import each_batch
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.spill import Spill, by_range

if TYPE_CHECKING:
    import polars as pl

_ROW = "row number"


def sorted_scan(
    rows: pl.LazyFrame, columns: Sequence[str], folder: Path, memory: Memory
) -> pl.LazyFrame:
    """Sort rows by the columns, NULL first, with files in place of memory.

    Parameters
    ----------
    folder
        For files, which the result is read from.
    memory
        How many rows to sort at once. Those with the same value in the first column are sorted
        together, however many they are.
    """
    import polars as pl

    at_once = memory.rows_of(len(rows.collect_schema()))
    rank = pl.col(columns[0]).rank("min").fill_null(0)
    ranges = rows.select((rank // at_once).cast(pl.UInt32)).collect().to_series().to_numpy()
    waiting = Spill(folder, memory.found)

    def cut(batch: pl.DataFrame) -> None:
        first = batch[_ROW][0]
        order, parts = by_range(ranges[first : first + batch.height])
        some = batch.drop(_ROW).select(pl.all().gather(order))
        waiting.add((f"range-{number}", some[part]) for number, part in parts)

    each_batch(rows.with_row_index(_ROW), cut)
    files = []
    for number in range(int(ranges.max(initial=0)) + 1):
        some = waiting.take(f"range-{number}")
        if some is not None:
            files.append(folder / f"sorted-{number:06}.arrow")
            some.sort(columns).write_ipc(files[-1])
    return pl.scan_ipc(files)
