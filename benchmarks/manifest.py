"""What the content manifest costs, beside writing the same table.

`python benchmarks/manifest.py [ROWS] [REPEATS] [PROJECT]`. Two tables are made by a fixed seed:
flights (19 columns as in the reference project: integers with NULLs, short text, one instant) and
features (30 doubles, a key and an instant). They are written by `LakeWriter.write_frame`, which
computes the manifest of the frame beside the Parquet file and commits; and again with a manifest
that is known already: writing alone. The cost is the difference. The manifest of the file is
that of a commit of files that an engine made. Each measurement is a process of its own with the
libraries imported, in turns: wall-clock and processor seconds are medians after one warm-up, memory
is the greatest resident set.

PROJECT is a folder in which `slh demo` has run, such as a copy of examples/nyc_flights. Its
silver.flights and features.route_delay are then measured as a pipeline writes them: the embedded
engine writes four times the table's rows as Parquet files, which are committed, against the
manifest of those files. All are in one process, in turns, with the same medians.

It ends with 1 if the manifest of a frame, or of the engine's files, costs more than a quarter of
the time of writing.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction

from sololakehouse.engine import Engine
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake.statistics import file_statistics
from sololakehouse.provenance import Change, Run, content_manifest

ROWS = 2_000_000
REPEATS = 5
SEED = 7
BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
SECONDS_OF_A_YEAR = 31_536_000
SHARE = 0.25
COPIES = 4
ENGINE_TABLES = ("silver.flights", "features.route_delay")
KINDS = ("write", "with manifest", "of the file")


def instants(rng: np.random.Generator, rows: int) -> pl.Series:
    seconds = np.sort(rng.integers(0, SECONDS_OF_A_YEAR, rows)) + int(BEGIN.timestamp())
    return pl.Series(seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))


def codes(rng: np.random.Generator, rows: int, count: int, prefix: str) -> pl.Series:
    names = pl.Series([f"{prefix}{number:04}" for number in range(count)])
    return names.gather(rng.integers(0, count, rows))


def flights(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(SEED)
    numbers = {
        name: pl.Series(rng.integers(low, high, rows), dtype=pl.Int32)
        for name, (low, high) in {
            "year": (2013, 2014),
            "month": (1, 13),
            "day": (1, 32),
            "dep_time": (0, 2400),
            "sched_dep_time": (500, 2400),
            "dep_delay": (-40, 400),
            "arr_time": (0, 2400),
            "sched_arr_time": (0, 2400),
            "arr_delay": (-80, 400),
            "flight": (1, 8500),
            "air_time": (20, 700),
            "distance": (80, 5000),
            "hour": (5, 24),
            "minute": (0, 60),
        }.items()
    }
    texts = {
        "carrier": codes(rng, rows, 16, "C"),
        "tailnum": codes(rng, rows, 4043, "N"),
        "origin": codes(rng, rows, 3, "O"),
        "dest": codes(rng, rows, 105, "D"),
    }
    frame = pl.DataFrame({**numbers, **texts, "time_hour": instants(rng, rows)})
    unknown = pl.Series(rng.random(rows) < 0.025)
    late = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
    return frame.with_columns(pl.when(~unknown).then(pl.col(name)).alias(name) for name in late)


def features(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(SEED)
    values = {f"f{index:02}": rng.normal(size=rows) for index in range(30)}
    return pl.DataFrame(
        {"key": rng.integers(0, 100_000, rows), "feature_ts": instants(rng, rows), **values}
    )


TABLES: dict[str, Callable[[int], pl.DataFrame]] = {"flights": flights, "features": features}


def measured(kind: str, source: Path) -> tuple[float, float, float]:
    """Return wall-clock and processor seconds of one kind of work, and peak MB."""
    frame = pl.DataFrame() if kind == "of the file" else pl.read_parquet(source)
    content_manifest(pl.LazyFrame({"warm": ["up"]}))
    writer = new_writer()
    write(writer, pl.DataFrame({"warm": ["up"]}), with_manifest=True)
    before, began = time.process_time(), time.perf_counter()
    if kind == "of the file":
        content_manifest(pl.scan_parquet(source))
    else:
        write(writer, frame, with_manifest=kind == "with manifest")
    seconds, processor = time.perf_counter() - began, time.process_time() - before
    return seconds, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def new_writer() -> LakeWriter:
    folder = Path(tempfile.mkdtemp(dir=Path.cwd()))
    (folder / "lakehouse.yml").write_text("name: bench\n")
    return LakeWriter(Lakehouse.open(folder), Run.start(folder, "embedded"))


def write(writer: LakeWriter, frame: pl.DataFrame, *, with_manifest: bool) -> None:
    change = Change("BENCH", "fingerprint")
    if with_manifest:
        writer.write_frame("bronze.bench", frame, change)
        return
    with writer.staging() as folder:
        frame.write_parquet(folder / "part-0.parquet", compression="zstd")
        known = content_manifest(frame.head(1).lazy())
        writer.commit("bronze.bench", folder, change, manifest=known)


def commit(files: list[Path]) -> None:
    schema = Schema.from_arrow(pq.read_schema(files[0]))
    delta = DeltaTable.create(files[0].parent, schema)
    added = [
        AddAction(file.name, file.stat().st_size, {}, 0, True, json.dumps(file_statistics(file)))
        for file in files
    ]
    delta.create_write_transaction(added, mode="overwrite", schema=schema)


def in_a_process(kind: str, source: Path) -> tuple[float, float, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", kind, str(source)],
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, processor, peak = map(float, done.stdout.split())
    return seconds, processor, peak


def compare(name: str, rows: int, repeats: int, folder: Path) -> float:
    source = folder / f"{name}.parquet"
    TABLES[name](rows).write_parquet(source, compression="zstd")
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(repeats + 1):
        for kind, figures in found.items():
            figures.append(in_a_process(kind, source))
    print(f"{name}: {rows:,} rows, {source.stat().st_size / 1e6:,.0f} MB")
    seconds = {
        kind: statistics.median(f[0] for f in figures[1:]) for kind, figures in found.items()
    }
    processor = {
        kind: statistics.median(f[1] for f in figures[1:]) for kind, figures in found.items()
    }
    for kind, figures in found.items():
        peak = max(f[2] for f in figures)
        beside = "write" if kind == "with manifest" else None
        extra = seconds[kind] - seconds.get(beside, 0), processor[kind] - processor.get(beside, 0)
        share, of_cpu = extra[0] / seconds["write"], extra[1] / processor["write"]
        print(
            f"  {kind:<14}{seconds[kind]:6.2f} s{processor[kind]:6.2f} s cpu{peak:6,.0f} MB"
            f"{share:8.1%}{of_cpu:8.1%} of cpu{' more' if beside else ''}"
        )
    return seconds["with manifest"] / seconds["write"] - 1


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and processor seconds."""
    before, began = time.process_time(), time.perf_counter()
    work()
    return time.perf_counter() - began, time.process_time() - before


def engine_written(project: Path, repeats: int, folder: Path) -> list[float]:
    """Measure what the engine writes; return the manifest's share of the time for each table."""
    lake = Lakehouse.open(project)
    shares = []
    with Engine.start() as engine:
        for name in ENGINE_TABLES:
            table = lake.read(name)
            engine.pin(table)
            rows = " UNION ALL ".join([f"SELECT * FROM {name}"] * COPIES)
            found = [one_round(engine, rows, folder / f"{n}") for n in range(repeats + 1)][1:]
            print(f"{name}, written by the engine: {COPIES * table.rows:,} rows")
            seconds, processor = (
                [statistics.median(figures[kind][unit] for figures in found) for kind in (0, 1)]
                for unit in (0, 1)
            )
            for place, kind in enumerate(("write", "of the files")):
                share, of_cpu = seconds[place] / seconds[0], processor[place] / processor[0]
                print(
                    f"  {kind:<13}{seconds[place]:6.2f} s{processor[place]:6.2f} s cpu"
                    f"{share:8.1%}{of_cpu:8.1%} of cpu"
                )
            shares.append(seconds[1] / seconds[0])
    return shares


def one_round(engine: Engine, rows: str, folder: Path) -> list[tuple[float, float]]:
    folder.mkdir()
    frame = engine.session.sql(rows)

    def written() -> None:
        engine.write_parquet(frame, folder)
        commit(sorted(folder.glob("*.parquet")))

    write_time = timed(written)
    files = sorted(folder.glob("*.parquet"))
    manifest_time = timed(lambda: content_manifest(pl.scan_parquet(files)))
    shutil.rmtree(folder)
    return [write_time, manifest_time]


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(*measured(sys.argv[2], Path(sys.argv[3])))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else REPEATS
    with tempfile.TemporaryDirectory() as scratch:
        shares = [compare(name, rows, repeats, Path(scratch)) for name in TABLES]
        if len(sys.argv) > 3:
            shares += engine_written(Path(sys.argv[3]), repeats, Path(scratch))
    sys.exit(max(shares) > SHARE)


if __name__ == "__main__":
    main()
