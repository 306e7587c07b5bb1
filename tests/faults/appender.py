"""A process that appends: `python -m tests.faults.appender FOLDER NUMBER COUNT HOW`.

It appends to `silver.log`. HOW is `ours` (LakeWriter) or `foreign` (deltalake alone, which knows no
lock of ours). Each append is of ten rows with the process's number and the number of the append.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

ROWS = 10


def rows(number: int, index: int) -> pl.DataFrame:
    return pl.DataFrame({"process": [number] * ROWS, "append": index, "row": range(ROWS)})


def append_ours(folder: Path, number: int, count: int) -> None:
    from sololakehouse.lake import Lakehouse, LakeWriter
    from sololakehouse.provenance import Change, Run

    writer = LakeWriter(Lakehouse.open(folder), Run.start(folder, "embedded"))
    for index in range(count):
        change = Change("TEST", f"{number}-{index}")
        writer.write_frame("silver.log", rows(number, index), change, mode="append")


def append_foreign(folder: Path, number: int, count: int) -> None:
    from deltalake import write_deltalake
    from deltalake.exceptions import DeltaError

    path = folder / "warehouse" / "silver" / "log"
    path.mkdir(parents=True, exist_ok=True)
    index = 0
    while index < count:
        try:
            write_deltalake(path, rows(number, index), mode="append")
            index += 1
        except DeltaError as error:
            if "already exists" not in str(error):
                raise


if __name__ == "__main__":
    append = {"ours": append_ours, "foreign": append_foreign}[sys.argv[4]]
    append(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
