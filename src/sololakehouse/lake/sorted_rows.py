"""Rows of any number, sorted: cut into ranges of their first column, each of which is sorted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.lake.memory import Memory
from sololakehouse.lake.ranges import in_ranges
from sololakehouse.lake.spill import Spill

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

    count = int(rows.select(pl.len()).collect().item())
    most = memory.rows_of(len(rows.collect_schema()))
    files: list[Path] = []
    for some in in_ranges(rows, columns[0], count, most, Spill(folder, memory.found)):
        files.append(folder / f"sorted-{len(files):06}.arrow")
        some.sort(columns).write_ipc(files[-1])
    return pl.scan_ipc(files)
