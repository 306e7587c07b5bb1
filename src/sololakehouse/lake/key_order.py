"""The layout of feature tables: rows in the order of key and time, so that readers skip files."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

from sololakehouse.lake.memory import Memory
from sololakehouse.lake.row_groups import write_row_groups
from sololakehouse.lake.sorted_rows import sorted_scan
from sololakehouse.lake.statistics import row_group_bounds
from sololakehouse.lake.table import Snapshot


def key_order(table: Snapshot) -> tuple[str, ...]:
    """Return the columns to sort a table by; empty if it is no feature table, or lies so already.

    It lies so if no two row groups have a key between them in common; statistics that are missing
    mean no.
    """
    contract = table.contract
    if contract is None:
        return ()
    bounds = row_group_bounds(table.data_files, contract.keys[0])
    if bounds is not None and all(one[1] <= other[0] for one, other in pairwise(sorted(bounds))):
        return ()
    return contract.identity


def write_in_order(
    table: Snapshot, columns: tuple[str, ...], folder: Path, memory: Memory, file_bytes: int
) -> list[Path]:
    """Write the rows of a table, sorted, into new files of about so many bytes each."""
    beside = folder / "beside"
    beside.mkdir()
    rows = sorted_scan(table.scan(), columns, beside, memory)
    at_once = memory.rows_of(len(table.columns))
    in_file = max(1, table.rows * file_bytes // table.size_bytes)
    files: list[Path] = []
    for first in range(0, table.rows, in_file):
        some = rows.slice(first, in_file)
        begins = range(0, min(in_file, table.rows - first), at_once)
        files.append(folder / f"sorted-{len(files):05}.parquet")
        write_row_groups(files[-1], (some.slice(begin, at_once).collect() for begin in begins))
    shutil.rmtree(beside)
    return files
