"""What change data costs: all events at first, then 10,000 new ones, three times.

`python benchmarks/change_data.py [EVENTS] [CHANGES]`. Events have six columns and are made by a
fixed seed; every key is in the first delivery, and 2 % of the events are deletes. Each SCD type is
a project of its own in a temporary folder. Every line is a `slh run` as a process of its own:
seconds, seconds of CPU, and the peak of its memory.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from measuring import measured

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run

EVENTS, CHANGES, RUNS, SEED = 1_000_000, 10_000, 3, 1
SPEC = "name: c\nstorage: s\ndatabase: silver\nlibraries: [{glob: {include: transformations/**}}]\n"
SOURCE = """\
from pyspark import pipelines as dp
from sololakehouse.pipelines import create_auto_cdc_flow

dp.create_streaming_table("silver.t")
create_auto_cdc_flow(
    target="silver.t", source="bronze.c", keys=["id"], sequence_by="seq",
    apply_as_deletes="op = 'D'", except_column_list=["op"], stored_as_scd_type={},
)
"""


def events(rng: np.random.Generator, ids: np.ndarray, first: int) -> pl.DataFrame:
    number = rng.integers(0, 1000, len(ids))
    return pl.DataFrame(
        {
            "id": ids,
            "seq": np.arange(first, first + len(ids)),
            "op": np.where(rng.random(len(ids)) < 0.02, "D", "U"),
            "v": rng.random(len(ids)),
            "name": pl.Series(number).cast(pl.String),
            "city": pl.Series(number % 77).cast(pl.String),
        }
    )


def main() -> None:
    count = int(float(sys.argv[1])) if len(sys.argv) > 1 else EVENTS
    changes = int(float(sys.argv[2])) if len(sys.argv) > 2 else CHANGES
    for scd_type in (1, 2):
        folder = Path(tempfile.mkdtemp())
        (folder / "transformations").mkdir()
        (folder / "lakehouse.yml").write_text("name: c\n")
        (folder / "spark-pipeline.yml").write_text(SPEC)
        (folder / "transformations" / "t.py").write_text(SOURCE.format(scd_type))
        rng = np.random.default_rng(SEED)
        for number in range(RUNS + 1):
            ids = rng.choice(count, changes, replace=False) if number else rng.permutation(count)
            rows = events(rng, ids, count * (number + 1))
            writer = LakeWriter(Lakehouse.open(folder), Run.start(folder, "embedded"))
            mode = "append" if number else "overwrite"
            writer.write_frame("bronze.c", rows, Change("E", str(number)), mode=mode)
            found = measured([sys.executable, "-m", "sololakehouse", "run"], folder)
            print(
                f"SCD type {scd_type}: {rows.height:>10,} events: {found.seconds:6.1f} s, "
                f"{found.cpu_seconds:6.1f} s of CPU, {found.peak:6,.0f} MB",
                flush=True,
            )
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
