"""Rows of any number, sorted: cut into ranges of their first column, each of which is sorted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.lake.batches import each_batch
from sololakehouse.lake.cuts import cuts_of
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.spill import Spill, by_range

if TYPE_CHECKING:
    import polars as pl


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

    first = columns[0]
    count = int(rows.select(pl.len()).collect().item())
    cuts = cuts_of(rows, first, count, memory.rows_of(len(rows.collect_schema())))
    waiting = Spill(folder, memory.found)

    def cut(batch: pl.DataFrame) -> None:
        order, parts = by_range(cuts.search_sorted(batch[first], side="right").to_numpy())
        some = batch.select(pl.all().gather(order))
        waiting.add((f"range-{number}", some[part]) for number, part in parts)

    each_batch(rows, cut)
    files = []
    for number in range(len(cuts) + 1):
        some = waiting.take(f"range-{number}")
        if some is not None:
            files.append(folder / f"sorted-{number:06}.arrow")
            some.sort(columns).write_ipc(files[-1])
    return pl.scan_ipc(files)
