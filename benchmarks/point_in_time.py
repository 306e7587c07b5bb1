"""Point-in-time joins: five feature tables for one table of labels, beside other systems.

`python benchmarks/point_in_time.py [--size S|L] [--only NAME ...] [--rounds N]`. S: 1,000,000
labels, 5 tables of 5,000,000 rows with 6 features each; L: 10,000,000 labels, 5 x 20,000,000 rows,
by default without the contestants that need many GB. 100,000 keys, one year, seeded. Each
contestant is a process of its own: it starts, reads the labels and tables, joins, and writes
Parquet. All but one read the same files. The answers are compared first; then seconds on the clock
(medians), of CPU, microseconds of both for each row of input, and the highest memory (PSS) are
printed, and how much longer than ours each takes. Memory is that of a round before the others.

- `ours`: `create_training_set(...).save(...)`: labels from a table, which are sorted, tables as
  `FeatureEngineeringClient.create_table` writes them, and a commit with its content manifest.
  `ours, any order`: the same feature rows as they were drawn. `ours, 500 MB`: with that limit.
- `polars`: `join_asof` of whole frames. `duckdb`: ASOF joins. `pandas`: `merge_asof`.
- `feast` and `spark`: in environments of their own; `make bench` sets them up.
- `scan and write`: reads the same columns and writes as many values, without a join: the limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from measuring import MEGABYTE, measured

ROOT = Path(__file__).parent.parent
KEYS = 100_000
TABLES = 5
FEATURES = 6
YEAR = 31_536_000_000_000
BEGIN = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
NAMES = [f"features.t{index}" for index in range(TABLES)]
SHUFFLED = [f"features.shuffled{index}" for index in range(TABLES)]
SIZES = {"S": (1_000_000, 5_000_000), "L": (10_000_000, 20_000_000)}
LABELS = "gold.labels"
TRAINING_SET = "training.found"


def moments(draw: np.random.Generator, rows: int) -> pl.Series:
    return pl.Series(BEGIN + draw.integers(0, YEAR, rows)).cast(pl.Datetime("us", "UTC"))


def make(folder: Path, labels: int, rows: int) -> None:
    """Write a project with the feature tables in both orders, and the labels as a Parquet file."""
    from sololakehouse.feature_engineering import FeatureEngineeringClient
    from sololakehouse.lake import Lakehouse, LakeWriter
    from sololakehouse.provenance import Change, Run

    (folder / "lakehouse.yml").write_text("name: bench\n")
    draw = np.random.default_rng(7)
    frame = pl.DataFrame(
        {
            "id": np.arange(labels),
            "key": draw.integers(0, KEYS, labels),
            "at": moments(draw, labels),
            "label": draw.integers(0, 2, labels),
        }
    )
    frame.write_parquet(folder / "labels.parquet")
    lake = Lakehouse.open(folder)
    client, writer = FeatureEngineeringClient(lake), LakeWriter(lake, Run.start(folder, "embedded"))
    writer.write_frame(LABELS, frame, Change("BENCH", "0"))
    for name, shuffled in zip(NAMES, SHUFFLED, strict=True):
        values = {f"{name[-2:]}_f{index}": draw.normal(size=rows) for index in range(FEATURES)}
        table = pl.DataFrame(
            {"key": draw.integers(0, KEYS, rows), "feature_ts": moments(draw, rows), **values}
        ).unique(["key", "feature_ts"], keep="first", maintain_order=True)
        made = client.create_table(
            name=name, primary_keys="key", timeseries_columns="feature_ts", df=table
        )
        properties = made.contract.properties
        writer.write_frame(shuffled, table, Change("BENCH", "0"), properties=properties)


def parquet_files(folder: Path) -> list[Path]:
    from sololakehouse.lake import Lakehouse

    return [Lakehouse.open(folder).read(name).data_files[0] for name in NAMES]


def ours(folder: Path, out: Path, names: list[str] = NAMES, limit: int | None = None) -> None:
    from sololakehouse.config import Project
    from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup
    from sololakehouse.lake import Lakehouse

    project = Project.find(folder)
    if limit:
        settings = project.settings.model_copy(update={"memory_limit": limit})
        project = project.model_copy(update={"settings": settings})
    lookups = [
        FeatureLookup(table_name=name, lookup_key="key", timestamp_lookup_key="at")
        for name in names
    ]
    saved = (
        FeatureEngineeringClient(Lakehouse(project))
        .create_training_set(df=LABELS, feature_lookups=lookups, label="label", timestamp="at")
        .save(f"{TRAINING_SET}_{out.stem}")
    )
    os.link(saved.data_files[0], out)


def ours_any_order(folder: Path, out: Path) -> None:
    ours(folder, out, SHUFFLED)


def ours_500_mb(folder: Path, out: Path) -> None:
    ours(folder, out, limit=500_000_000)


def bare_polars(folder: Path, out: Path) -> None:
    found = pl.read_parquet(folder / "labels.parquet").sort("at")
    for file in parquet_files(folder):
        rows = pl.read_parquet(file).sort("feature_ts")
        found = found.join_asof(
            rows, left_on="at", right_on="feature_ts", by="key", check_sortedness=False
        ).drop("feature_ts")
    found.sort("id").write_parquet(out)


def bare_duckdb(folder: Path, out: Path) -> None:
    import duckdb

    columns = ", ".join(f"t{i}.* EXCLUDE (key, feature_ts)" for i in range(TABLES))
    joins = "\n".join(
        f"ASOF LEFT JOIN '{file}' t{i} ON l.key = t{i}.key AND l.at >= t{i}.feature_ts"
        for i, file in enumerate(parquet_files(folder))
    )
    query = f"SELECT l.*, {columns} FROM '{folder}/labels.parquet' l {joins} ORDER BY l.id"
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    session.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet)")


def bare_pandas(folder: Path, out: Path) -> None:
    import pandas as pd

    found = pd.read_parquet(folder / "labels.parquet").sort_values("at")
    for file in parquet_files(folder):
        rows = pd.read_parquet(file).sort_values("feature_ts")
        found = pd.merge_asof(found, rows, left_on="at", right_on="feature_ts", by="key")
        found = found.drop(columns="feature_ts")
    found.sort_values("id").to_parquet(out)


def scan_and_write(folder: Path, out: Path) -> None:
    labels = pl.read_parquet(folder / "labels.parquet")
    for file in parquet_files(folder):
        rows = pl.read_parquet(file).drop("key", "feature_ts")
        head = rows.head(labels.height)
        missing = pl.DataFrame({name: pl.Series([None], dtype=pl.Float64) for name in head.columns})
        padded = head if head.height == labels.height else pl.concat([head, missing])
        labels = labels.hstack(padded.head(labels.height))
        del rows
    labels.write_parquet(out)


def elsewhere(environment: str, script: str) -> Callable[[Path, Path], None]:
    """Return a contestant that is a script in an environment of its own."""

    def contestant(folder: Path, out: Path) -> None:
        python = str(ROOT / environment / "bin" / "python")
        files = [str(file) for file in parquet_files(folder)]
        arguments = [str(folder / "labels.parquet"), str(out), *files]
        os.execv(python, [python, str(ROOT / "benchmarks" / script), *arguments])

    return contestant


CONTESTANTS: dict[str, Callable[[Path, Path], None]] = {
    "ours": ours,
    "ours, any order": ours_any_order,
    "ours, 500 MB": ours_500_mb,
    "polars": bare_polars,
    "duckdb": bare_duckdb,
    "pandas": bare_pandas,
    "feast": elsewhere(".venv-feast", "feast_point_in_time.py"),
    "spark": elsewhere(".venv-spark", "spark_point_in_time.py"),
    "scan and write": scan_and_write,
}
IN_LITTLE_MEMORY = ["ours", "ours, any order", "ours, 500 MB", "scan and write"]


def digest(out: Path) -> str:
    """Return what says which rows there are, whatever their order, of one file or a folder."""
    from sololakehouse.provenance import content_manifest

    rows = pl.scan_parquet(out / "*.parquet" if out.is_dir() else out)
    features = [f"{name[-2:]}_f{index}" for name in NAMES for index in range(FEATURES)]
    return content_manifest(rows.select("id", "key", "label", *features)).digest


def compare(folder: Path, names: list[str], rounds: int, rows: int) -> None:
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    peaks: dict[str, float] = {}
    answers: dict[str, str] = {}
    for number in range(rounds + 1):
        for name in names:
            out = folder / f"{name.replace(' ', '_').replace(',', '')}_{number}.parquet"
            os.sync()  # what others wrote is not on this one's time
            command = [sys.executable, __file__, "--one", name, str(folder), str(out)]
            one = measured(command, folder, memory=number == 0)
            if number == 0:
                peaks[name] = one.peak
            else:
                figures[name].append((one.seconds, one.cpu_seconds))
            if name != "scan and write":
                answers[name] = digest(out)
                if answers[name] != answers[names[0]]:
                    sys.exit(f"{name} gives other rows than {names[0]}.")
            forget(folder, out)
    medians = {
        name: [statistics.median(one[place] for one in found) for place in range(2)]
        for name, found in figures.items()
    }
    micro = 1_000_000 / rows
    print(f"{'':18}{'s':>8}{'s CPU':>8}{'us/row':>8}{'us CPU':>8}{'MB':>8}{'of ours':>9}")
    for name, (seconds, processor) in medians.items():
        ratio = seconds / medians[names[0]][0]
        costs = f"{seconds * micro:8.3f}{processor * micro:8.3f}"
        print(f"{name:18}{seconds:8.1f}{processor:8.1f}{costs}{peaks[name]:8,.0f}{ratio:8.1f}x")


def forget(folder: Path, out: Path) -> None:
    """Remove an answer, which may be large, and the training set that it is the file of."""
    shutil.rmtree(folder / "warehouse" / "training", ignore_errors=True)
    shutil.rmtree(out) if out.is_dir() else out.unlink()


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        name, folder, out = sys.argv[2:5]
        CONTESTANTS[name](Path(folder), Path(out))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="S")
    parser.add_argument("--labels", type=int, help="in place of the size's")
    parser.add_argument("--features", type=int, help="rows of each table, in place of the size's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS))
    parser.add_argument("--folder", type=Path, help="where the data is made (default: temporary)")
    asked = parser.parse_args()
    labels, features = asked.labels or SIZES[asked.size][0], asked.features or SIZES[asked.size][1]
    names = asked.only or (list(CONTESTANTS) if asked.size == "S" else IN_LITTLE_MEMORY)
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        folder = Path(scratch)
        make(folder, labels, features)
        size = sum(file.stat().st_size for file in parquet_files(folder)) / MEGABYTE
        print(f"{labels:,} labels, {TABLES} x {features:,} rows, {size:,.0f} MB", flush=True)
        compare(folder, names, asked.rounds, labels + TABLES * features)


if __name__ == "__main__":
    main()
