"""Labels of a table, of any number, in order: cut into ranges, each of which is sorted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.features.batches import each_batch
from sololakehouse.features.memory import Memory
from sololakehouse.features.spill import Spill, by_range

if TYPE_CHECKING:
    import polars as pl

_ROW = "row number"


def sorted_in_files(
    labels: pl.LazyFrame, columns: Sequence[str], folder: Path, memory: Memory
) -> pl.LazyFrame:
    """Sort labels by the columns, NULL first, with files in place of memory.

    Parameters
    ----------
    folder
        For files, which the result is read from.
    memory
        How many labels to sort at once. Those with the same value in the first column are sorted
        together, however many they are.
    """
    import polars as pl

    at_once = memory.rows_of(len(labels.collect_schema()))
    rank = pl.col(columns[0]).rank("min").fill_null(0)
    ranges = labels.select((rank // at_once).cast(pl.UInt32)).collect().to_series().to_numpy()
    spill = Spill(folder, memory.found)

    def cut(batch: pl.DataFrame) -> None:
        first = batch[_ROW][0]
        order, places = by_range(ranges[first : first + batch.height])
        rows = batch.drop(_ROW).select(pl.all().gather(order))
        spill.add((f"labels-{number}", rows[place]) for number, place in places)

    each_batch(labels.with_row_index(_ROW), cut)
    files = []
    for number in range(int(ranges.max(initial=0)) + 1):
        some = spill.take(f"labels-{number}")
        if some is not None:
            files.append(folder / f"ordered-{number:06}.arrow")
            some.sort(columns).write_ipc(files[-1])
    return pl.scan_ipc(files)
