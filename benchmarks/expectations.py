"""What expectations cost: a table with three of them, against the same table without.

Each contestant is a process of its own that runs a pipeline of one table: start-up and planning are
left out, computing, checking, hashing and committing are in. One query is cheap (a projection),
one is not (a window and an aggregate over it). Every expectation finds violations, but for those
that would fail the run. The quarantine is switched on in a contestant of its own. Run:

    python benchmarks/expectations.py --rows 4000000 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import psutil
from measuring import measured

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run

QUERIES = {
    "projection": """
    return spark.table("bronze.sales").selectExpr(
        "id", "sold_at", "upper(shop) AS shop", "amount * 1.19 AS amount", "quantity", "code"
    )
""",
    "window": """
    window = Window.partitionBy("code").orderBy("sold_at").rowsBetween(-50, 0)
    frame = spark.table("bronze.sales").withColumn("recent", F.avg("amount").over(window))
    return frame.groupBy("code", "shop", F.to_date("sold_at").alias("day")).agg(
        F.sum("amount").alias("amount"), F.max("recent").alias("recent"),
        F.max("quantity").alias("quantity"), F.count("*").alias("sales"),
    )
""",
}
CONDITIONS = ["amount > 90", "quantity < 960", "shop <> 'NOWHERE' AND shop <> 'nowhere'"]
HARMLESS = ["amount > -100000", "quantity >= 0", "length(shop) < 30"]
DECORATORS = {
    "none": [],
    "3 warn": [f'@expect("e{i}", "{one}")' for i, one in enumerate(CONDITIONS)],
    "3 drop": [f'@expect_or_drop("e{i}", "{one}")' for i, one in enumerate(CONDITIONS)],
    "3 drop, kept": [f'@expect_or_drop("e{i}", "{one}")' for i, one in enumerate(CONDITIONS)],
    "3 fail": [f'@expect_or_fail("e{i}", "{one}")' for i, one in enumerate(HARMLESS)],
    "unique": {
        "projection": ['@expect_unique("u", "id")'],
        "window": ['@expect_unique("u", "code, shop, day")'],
    },
}
SOURCE = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession, Window, functions as F
from sololakehouse.quality import *
spark = SparkSession.active()

@dp.materialized_view(name="silver.sales"{properties})
{decorators}
def sales():
{query}
"""
STEP = """
import json, sys, time
from pathlib import Path
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.provenance import Run
lake = Lakehouse.open()
with prepare(lake) as pipeline:
    cpu = time.process_time()
    (done,) = execute(pipeline, LakeWriter(lake, Run.start(Path("."), "embedded")))
    cpu = time.process_time() - cpu
assert done.step.state == "run"
Path(sys.argv[1]).write_text(json.dumps([done.seconds, cpu, done.snapshot.rows]))
"""


def make_project(folder: Path, rows: int) -> None:
    """Write a project whose bronze table holds so many sales."""
    folder.mkdir()
    (folder / "lakehouse.yml").write_text("name: bench\n")
    (folder / "spark-pipeline.yml").write_text(
        "name: bench\nstorage: .storage\nlibraries:\n  - glob: {include: transformations/**}\n"
    )
    (folder / "step.py").write_text(STEP)
    (folder / "transformations").mkdir()
    draw = np.random.default_rng(7)
    at = 1_767_000_000 + draw.integers(0, 10**7, rows)
    shops = np.array(["north", "south", "east", "old harbour", "nowhere"])
    frame = pl.DataFrame(
        {
            "id": np.arange(rows),
            "sold_at": pl.from_epoch(pl.Series(at)).cast(pl.Datetime("us", "UTC")),
            "shop": draw.choice(shops, rows, p=[0.3, 0.3, 0.3, 0.05, 0.05]),
            "amount": draw.normal(130, 20, rows).round(2),
            "quantity": draw.integers(0, 1000, rows),
            "code": draw.integers(0, 20_000, rows),
        }
    )
    writer = LakeWriter(Lakehouse.open(folder), Run.start(folder, "embedded"))
    writer.write_frame("bronze.sales", frame, Change("BENCHMARK", "bench"))


def write_source(folder: Path, query: str, contestant: str) -> None:
    kept = ', table_properties={"pipelines.quarantine": "true"}' if "kept" in contestant else ""
    found = DECORATORS[contestant]
    decorators = found[query] if isinstance(found, dict) else found
    text = SOURCE.format(
        properties=kept, decorators="\n".join(decorators), query=QUERIES[query].strip("\n")
    )
    (folder / "transformations" / "sales.py").write_text(text)


def once(folder: Path, query: str, contestant: str) -> tuple[float, float, int, float]:
    """Run one contestant: seconds, seconds of CPU, rows that stay, peak MB of the process."""
    for name in ("sales", "sales_quarantine"):
        shutil.rmtree(folder / "warehouse" / "silver" / name, ignore_errors=True)
    write_source(folder, query, contestant)
    told = folder / "told.json"
    peak = measured([sys.executable, "step.py", str(told)], folder).peak
    seconds, cpu, rows = json.loads(told.read_text())
    return seconds, cpu, rows, peak


def compare(folder: Path, query: str, rounds: int) -> None:
    print(f"\n{query:<14}{'rows':>12}{'s':>8}{'s CPU':>8}{'MB':>8}{'time':>8}{'CPU time':>10}")
    found: dict[str, list[tuple[float, float, int, float]]] = {name: [] for name in DECORATORS}
    for _ in range(rounds):
        for contestant in DECORATORS:
            found[contestant].append(once(folder, query, contestant))
    base = [statistics.median(column) for column in zip(*found["none"], strict=True)]
    for contestant, runs in found.items():
        seconds, cpu, rows, peak = (statistics.median(c) for c in zip(*runs, strict=True))
        print(
            f"{contestant:<14}{rows:>12,.0f}{seconds:>8.2f}{cpu:>8.2f}{peak:>8,.0f}"
            f"{seconds / base[0]:>8.0%}{cpu / base[1]:>10.0%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--query", choices=QUERIES, help="one of the two (default: both)")
    parser.add_argument("--folder", type=Path, help="where tables are made (default: temporary)")
    asked = parser.parse_args()
    print(f"{asked.rows:,} rows, {psutil.cpu_count()} cores, medians of {asked.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        folder = Path(scratch) / "project"
        make_project(folder, asked.rows)
        for query in [asked.query] if asked.query else QUERIES:
            compare(folder, query, asked.rounds)


if __name__ == "__main__":
    main()
