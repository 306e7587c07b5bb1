"""A table that is larger than memory, through a step that maps and filters it.

`python benchmarks/large.py [--gigabytes 10]`. The table is made of random numbers, which do not
compress, file by file. Memory is the highest sum, over all processes, of the proportional set size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from measuring import measured
from pipeline import SLH

ROWS = 4_000_000
COLUMNS = 15
SPEC = (
    "name: large\nstorage: .storage\ndatabase: silver\nlibraries:\n  - glob: {include: step.sql}\n"
)
STEP = """\
CREATE MATERIALIZED VIEW silver.mapped AS
SELECT id, c0 + c1 AS total, c2 * 2 AS twice, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13
FROM bronze.numbers WHERE c14 < 0.9
"""


def make(folder: Path, gigabytes: float) -> tuple[float, int]:
    """Fill `bronze.numbers`; return its size in GB and its rows."""
    from sololakehouse.lake import Lakehouse, LakeWriter
    from sololakehouse.provenance import Change, Run

    (folder / "lakehouse.yml").write_text("name: large\n")
    (folder / "spark-pipeline.yml").write_text(SPEC)
    (folder / "step.sql").write_text(STEP)
    lake = Lakehouse.open(folder)
    writer = LakeWriter(lake, Run.start(folder, "benchmark"))
    files = round(gigabytes * 1e9 / (ROWS * 8 * (COLUMNS + 1))) or 1
    for number in range(files):
        drawn = np.random.default_rng(number).random((COLUMNS, ROWS))
        columns = {f"c{index}": values for index, values in enumerate(drawn)}
        ids = pl.int_range(number * ROWS, (number + 1) * ROWS, eager=True)
        frame = pl.DataFrame({"id": ids, **columns})
        change = Change("MADE", f"part {number}")
        writer.write_frame("bronze.numbers", frame, change, mode="append")
    table = lake.read("bronze.numbers")
    return sum(file.stat().st_size for file in table.data_files) / 1e9, table.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--folder", type=Path, help="where the table is made (default: temporary)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        size, rows = make(Path(scratch), asked.gigabytes)
        print(f"{size:.1f} GB, {rows:,} rows", flush=True)
        one = measured([SLH, "run", "--json"], Path(scratch))
        print(f"slh run {one.seconds:,.0f} s, {one.cpu_seconds:,.0f} s CPU, {one.peak:,.0f} MB")
        if one.peak > 4000:
            sys.exit("more than 4 GB")


if __name__ == "__main__":
    main()
