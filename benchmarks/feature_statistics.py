"""What the statistics of a feature table cost, beside writing it.

`python benchmarks/feature_statistics.py [ROWS] [REPEATS] [PROJECT]`. A table of six features (three
doubles, of which one has NULLs, two integers, a short text) is made by a fixed seed and written as
`FeatureEngineeringClient.write_table` does: contract, order, Parquet, manifest, statistics, commit.
Then the same with statistics that are known already. Each measurement is a process of its own, in
turns; seconds of the clock and of the processor are medians, memory is the greatest resident set.

PROJECT is a folder in which `slh demo` has run: its whole pipeline is computed anew with and
without statistics, and `slh features` is timed. It is changed: take a copy.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from measuring import Measured, measured

ROWS = 5_000_000
REPEATS = 3
SEED = 7
BEGIN = np.datetime64("2025-01-01", "us")
MICROSECONDS_OF_A_YEAR = 31_536_000_000_000
WORDS = np.array(["red", "green", "blue", "none"])
KNOWN = """
import sys
from pathlib import Path
import sololakehouse.lake.feature_rows as feature_rows
from sololakehouse.lake.feature_statistics import TableStatistics
if "without" in sys.argv:
    known = TableStatistics(rows=0, keys=0, sampled=0, columns={})
    feature_rows.table_statistics = lambda *_: known
"""
WRITE = f"""{KNOWN}
import polars as pl
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.lake import Lakehouse
client = FeatureEngineeringClient(Lakehouse.open(sys.argv[2]))
client.create_table(
    name="features.t",
    primary_keys="entity",
    timeseries_columns="feature_ts",
    df=pl.read_parquet(sys.argv[1]),
)
"""
READ = """
import sys
import polars as pl
pl.read_parquet(sys.argv[1])
"""
RUN = f"""{KNOWN}
from sololakehouse.cli import main
sys.argv = ["slh", "run", "--full-refresh-all", "--parallel", "1"]
main()
"""
COMMANDS = (
    ("features", "list"),
    ("features", "show", "features.route_delay"),
    ("features", "show", "features.aircraft_last_leg"),
    ("features", "diff", "features.route_delay", "1"),
    ("tables",),
)


def rows_of(count: int) -> pl.DataFrame:
    rng = np.random.default_rng(SEED)
    moments = BEGIN + rng.integers(0, MICROSECONDS_OF_A_YEAR, count).astype("timedelta64[us]")
    made = pl.DataFrame(
        {
            "entity": rng.integers(0, max(count // 25, 1), count),
            "feature_ts": moments,
            "a": rng.normal(size=count),
            "b": rng.exponential(size=count),
            "c": rng.normal(size=count) * 1e6,
            "i": rng.integers(0, 1000, count),
            "j": rng.integers(0, 10**12, count),
            "s": WORDS[rng.integers(0, len(WORDS), count)],
        }
    )
    unknown = pl.col("i") < 50
    return made.with_columns(
        pl.col("feature_ts").dt.replace_time_zone("UTC"),
        a=pl.when(unknown).then(None).otherwise(pl.col("a")),
    )


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def in_turns(**attempts: Callable[[], Measured]) -> dict[str, Measured]:
    found: dict[str, list[Measured]] = {name: [] for name in attempts}
    for _ in range(REPEATS):
        for name, attempt in attempts.items():
            found[name].append(attempt())
    return {name: medians(measures) for name, measures in found.items()}


def medians(measures: list[Measured]) -> Measured:
    columns = ("seconds", "cpu_seconds", "peak")
    return Measured(*(statistics.median(getattr(m, c) for m in measures) for c in columns))


def write(file: Path, folder: Path, *without: str) -> Measured:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "lakehouse.yml").write_text("name: statistics\n")
    return measured(python(WRITE, str(file), str(folder), *without), folder)


def printed(found: dict[str, Measured], beside: float = 0.0) -> None:
    for name, one in found.items():
        print(f"  {name:<20} {one.seconds:6.2f} s {one.cpu_seconds:6.2f} s CPU {one.peak:6.0f} MB")
    cost = found["with"].cpu_seconds - found["without"].cpu_seconds
    print(f"  share of the processor's seconds: {cost / (found['with'].cpu_seconds - beside):.1%}")


def table(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        file, folder = Path(name) / "rows.parquet", Path(name) / "project"
        rows_of(rows).write_parquet(file)
        found = in_turns(
            **{
                "read the frame": lambda: measured(python(READ, str(file)), Path(name)),
                "with": lambda: write(file, folder),
                "without": lambda: write(file, folder, "without"),
            }
        )
        print(f"A table of {rows:,} rows and 6 features, written by the client")
        printed(found, found["read the frame"].cpu_seconds)
        log = folder / "warehouse/features/t/_delta_log/00000000000000000001.json"
        write(file, folder)
        print(f"  the commit's log entry: {log.stat().st_size:,} bytes")


def project(folder: Path) -> None:
    slh = str(Path(sys.executable).parent / "slh")
    found = in_turns(
        **{
            "with": lambda: measured(python(RUN), folder),
            "without": lambda: measured(python(RUN, "without"), folder),
        }
    )
    print("The pipeline of the reference project, all tables anew")
    printed(found)
    measured(python(RUN), folder)
    for command in COMMANDS:
        one = medians([measured([slh, *command], folder) for _ in range(REPEATS + 2)])
        print(f"  slh {' '.join(command):<45} {one.seconds:.2f} s, {one.cpu_seconds:.2f} s CPU")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    global REPEATS
    REPEATS = int(sys.argv[2]) if len(sys.argv) > 2 else REPEATS
    print(json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), "repeats": REPEATS}))
    table(rows)
    if len(sys.argv) > 3:
        project(Path(sys.argv[3]).resolve())


if __name__ == "__main__":
    main()
