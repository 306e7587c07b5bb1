"""The pipeline of the reference project: the embedded engine against Apache Spark.

`python benchmarks/pipeline.py [--scale 1 20] [--rounds 3]`. Both compute the same fourteen tables
from the same files of bronze tables, with two cores, each from a cold start: `slh run`, and a local
Apache Spark (a Spark Connect server, and its own `spark-pipelines run`). Spark's seconds are those
of its server's start and of the run; making its external tables in between is not counted. At
scale n, every carrier and every plane is there n times. Memory is the highest sum, over all
processes, of the proportional set size (PSS). `make test` installs Apache Spark.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
from measuring import Measured, measured

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "nyc_flights"
WRITTEN = ("landing", "warehouse", "mlflow.db", "mlartifacts", "__pycache__", ".pipeline-storage")
SLH = str(Path(sys.executable).parent / "slh")
SPARK = str(Path(__file__).parent / "spark_pipeline.py")
REPEATED = {"bronze.flights": ("carrier", "tailnum"), "bronze.planes": ("tailnum",)}


def ingested(folder: Path) -> Path:
    """Make a project whose landing files are in bronze, and nothing else is computed."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*WRITTEN))
    for command in ([sys.executable, "provider.py"], [SLH, "ingest", "--json"]):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def grow(folder: Path, scale: int) -> None:
    """Let every carrier and every plane be there `scale` times."""
    from sololakehouse.lake import Lakehouse, LakeWriter
    from sololakehouse.provenance import Change, Run

    lake = Lakehouse.open(folder)
    writer = LakeWriter(lake, Run.start(folder, "benchmark"))
    for table, columns in REPEATED.items():
        rows = lake.read(table).to_polars()
        copies = [
            rows.with_columns(pl.col(column) + f"-{copy}" for column in columns)
            for copy in range(scale)
        ]
        writer.write_frame(table, pl.concat(copies), Change("GROWN", table))


def embedded(folder: Path) -> Measured:
    shutil.rmtree(folder / "warehouse")
    shutil.copytree(folder / "bronze-only", folder / "warehouse", copy_function=os.link)
    return measured([SLH, "run", "--json"], folder)


def spark(folder: Path, memory: str) -> Measured:
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch) / "told.json"
        whole = measured([sys.executable, SPARK, str(folder), scratch, memory, str(told)], folder)
        return Measured(json.loads(told.read_text())["seconds"], whole.cpu_seconds, whole.peak)


def compare(scratch: Path, scale: int, rounds: int, memory: str) -> None:
    folder = ingested(scratch / f"scale{scale}")
    if scale > 1:
        grow(folder, scale)
    shutil.copytree(folder / "warehouse", folder / "bronze-only", copy_function=os.link)
    print(f"\n{scale} x flights: {336_776 * scale:,} rows, {rounds} rounds")
    found: dict[str, list[Measured]] = {"embedded": [], "Apache Spark": []}
    for _ in range(rounds):
        found["embedded"].append(embedded(folder))
        found["Apache Spark"].append(spark(folder, memory))
        for name, runs in found.items():
            one = runs[-1]
            said = f"{one.seconds:>8.1f} s{one.cpu_seconds:>8.1f} s CPU{one.peak:>8,.0f} MB"
            print(f"  {name:<14}{said}", flush=True)
    pairs = list(zip(found["embedded"], found["Apache Spark"], strict=True))
    faster = statistics.median(other.seconds / own.seconds for own, other in pairs)
    smaller = statistics.median(own.peak / other.peak for own, other in pairs)
    print(f"  embedded: {faster:.1f} times as fast, {smaller:.0%} of the memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spark-memory", default="8g", help="heap of Apache Spark's driver")
    parser.add_argument("--folder", type=Path, help="where projects are made (default: temporary)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        for scale in asked.scale:
            compare(Path(scratch), scale, asked.rounds, asked.spark_memory)


if __name__ == "__main__":
    main()
