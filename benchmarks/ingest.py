"""`slh ingest` against the bare read-and-write of the library that it is built on.

Bare is `pyarrow.csv.open_csv`, `pyarrow.json.open_json` or `ParquetFile.iter_batches` with the
types declared (dates and instants in JSON are cast), each batch written by `ParquetWriter` with
zstd: no line numbers, no checks, no hashes, no Delta commit. Both use all cores and blocks of the
same size, and each contestant is a process of its own. Memory is the highest sum, over the process
and its children, of the proportional set size (PSS). Run, for about 500 MB three times, for other
formats, and for one large file:

    python benchmarks/ingest.py --megabytes 500 --rounds 3
    python benchmarks/ingest.py --megabytes 300 --rounds 3 --format json
    python benchmarks/ingest.py --megabytes 200 --rounds 3 --format parquet
    python benchmarks/ingest.py --megabytes 5000 --rounds 1
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import MEGABYTE, measured

from sololakehouse.pipelines.columns import arrow_type

ROWS = 500_000
BLOCK = 16 << 20
TYPES = {
    "id": "bigint",
    "sold_at": "timestamp",
    "shop": "string",
    "amount": "double",
    "quantity": "int",
    "code": "bigint",
    "note": "string",
    "paid": "boolean",
    "day": "date",
}
READERS = {
    "csv": """
options = csv.ConvertOptions(column_types=types, timestamp_parsers=[csv.ISO8601])
parse = csv.ParseOptions(newlines_in_values={quoted!r})
rows = csv.open_csv(sys.argv[1], csv.ReadOptions(block_size={block}), parse, options)
""",
    "json": """
plain = pa.schema([f.with_type(pa.string()) if pa.types.is_temporal(f.type) else f for f in types])
parse = json.ParseOptions(explicit_schema=plain, unexpected_field_behavior="error")
rows = json.open_json(sys.argv[1], json.ReadOptions(block_size={block}), parse)
""",
    "parquet": "rows = pq.ParquetFile(sys.argv[1]).iter_batches(1 << 17)\n",
}
BARE = """
import sys
import pyarrow as pa, pyarrow.parquet as pq
from pyarrow import csv, json
from sololakehouse.pipelines.columns import arrow_type
types = pa.schema([(n, arrow_type(t)) for n, t in {types!r}.items()])
{reader}
with pq.ParquetWriter(sys.argv[2], types, compression="zstd") as out:
    for batch in rows:
        out.write_batch(batch.cast(types))
"""
STAGES = """
import sys, time
from pathlib import Path
import polars as pl
from sololakehouse.pipelines import ingest, landing
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake import commit
from sololakehouse.provenance import Run
spent = {{}}
def timed(owner, name):
    inner = getattr(owner, name)
    def call(*a, **k):
        began = time.perf_counter()
        try:
            return inner(*a, **k)
        finally:
            spent[name] = spent.get(name, 0) + time.perf_counter() - began
    setattr(owner, name, call)
timed(ingest, "identify")
timed(ingest._Ingestion, "_stage")
timed(commit, "content_manifest")
timed(LakeWriter, "commit")
lake = Lakehouse.open()
ingest.ingest(lake, LakeWriter(lake, Run.start(Path("."), "embedded")), "sales")
names = {{"identify": "SHA-256", "_stage": "read, check and write", "commit": "commit, of which"}}
for name, seconds in spent.items():
    print(f"  {{names.get(name, name):<24}}{{seconds:>8.1f}} s", file=sys.stderr)
"""


def generated(seed: int, quoted: bool) -> pl.DataFrame:
    """Return rows like those of a shop: numbers, instants, dates, short and longer text."""
    draw = np.random.default_rng(seed)
    at = 1_767_000_000 + draw.integers(0, 10**7, ROWS)
    words = np.array(["fast", "paid in cash", "gift", "second visit", "returned and exchanged"])
    separator = ", " if quoted else " - "
    return pl.DataFrame(
        {
            "id": np.arange(ROWS) + seed * ROWS,
            "sold_at": pl.from_epoch(pl.Series(at)).dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "shop": draw.choice(np.array(["north", "south", "east", "old harbour"]), ROWS),
            "amount": draw.normal(100, 20, ROWS).round(2),
            "quantity": draw.integers(0, 1000, ROWS),
            "code": draw.integers(0, 10**9, ROWS),
            "note": pl.Series(draw.choice(words, ROWS))
            + separator
            + pl.Series(draw.integers(0, 10**6, ROWS)).cast(pl.String),
            "paid": draw.integers(0, 2, ROWS) == 1,
            "day": pl.from_epoch(pl.Series(at)).dt.date(),
        }
    )


def write_file(path: Path, megabytes: float, form: str, quoted: bool) -> tuple[float, int]:
    """Write a file of about that size; return its size in MB and its rows."""
    seed = 0
    with path.open("wb") as file:
        if form == "parquet":
            seed = write_parquet(file, megabytes, quoted)
        while form != "parquet" and file.tell() < megabytes * MEGABYTE:
            rows = generated(seed, quoted)
            if form == "json":
                rows.write_ndjson(file)
            else:
                rows.write_csv(file, include_header=seed == 0)
            seed += 1
    return path.stat().st_size / MEGABYTE, seed * ROWS


def write_parquet(file: BinaryIO, megabytes: float, quoted: bool) -> int:
    """Write row groups of half a million rows, typed as declared; return how many."""
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in TYPES.items()])
    seed = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as out:
        while file.tell() < megabytes * MEGABYTE:
            rows = generated(seed, quoted).with_columns(
                pl.col("sold_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
            )
            out.write_table(rows.to_arrow().cast(schema))
            seed += 1
    return seed


def projects(scratch: Path, file: Path) -> Iterator[Path]:
    """Give one new project after another, whose landing file is the generated one."""
    number = 0
    form = file.suffix.removeprefix(".")
    while True:
        folder = scratch / f"project{number}"
        (folder / "landing").mkdir(parents=True)
        (folder / "landing" / file.name).hardlink_to(file)
        columns = ", ".join(f"{name}: {kind}" for name, kind in TYPES.items())
        (folder / "lakehouse.yml").write_text(
            f"name: bench\nsources:\n  sales:\n    path: landing/{file.name}\n"
            f"    format: {form}\n    table: bronze.sales\n    schema: {{{columns}}}\n"
        )
        yield folder
        number += 1


def remove(folder: Path) -> None:
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", choices=sorted(READERS), default="csv")
    parser.add_argument("--quoted", action="store_true", help="text with commas, so in quotes")
    parser.add_argument("--stages", action="store_true", help="say where the time goes")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: temporary)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        compare(Path(scratch), asked)


def compare(scratch: Path, asked: argparse.Namespace) -> None:
    file = scratch / f"sales.{asked.format}"
    size, rows = write_file(file, asked.megabytes, asked.format, asked.quoted)
    kind = f"{asked.format}, quoted: {asked.quoted}"
    print(f"{size:,.0f} MB, {rows:,} rows, {psutil.cpu_count()} cores, {kind}")
    new = projects(scratch, file)
    reader = READERS[asked.format].format(block=BLOCK, quoted=asked.quoted)
    bare = BARE.format(types=TYPES, reader=reader)
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "slh ingest": []}
    for _ in range(asked.rounds):
        out = scratch / "bare.parquet"
        folder = next(new)
        commands = {
            "bare": [sys.executable, "-c", bare, str(file), str(out)],
            "slh ingest": [sys.executable, "-m", "sololakehouse", "ingest", "--json"],
        }
        for name, command in commands.items():
            one = measured(command, folder)
            found[name].append((one.seconds, one.cpu_seconds))
            print(
                f"  {name:<12}{one.seconds:>8.1f} s{one.cpu_seconds:>8.1f} s CPU"
                f"{rows / one.seconds:>14,.0f} rows/s{one.peak:>8,.0f} MB"
            )
        out.unlink()
        remove(folder)
    for place, what in enumerate(("time", "CPU time")):
        pairs = zip(found["bare"], found["slh ingest"], strict=True)
        ratios = [one[place] / other[place] for one, other in pairs]
        print(
            f"speed of slh ingest, of bare, by {what}: {statistics.median(ratios):.0%} "
            f"({min(ratios):.0%} to {max(ratios):.0%})"
        )
    if asked.stages:
        subprocess.run([sys.executable, "-c", STAGES.format()], cwd=next(new), check=True)


if __name__ == "__main__":
    main()
