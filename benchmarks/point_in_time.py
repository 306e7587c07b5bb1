"""Point-in-time joins: five feature tables for one table of labels, beside other libraries.

`python benchmarks/point_in_time.py [--labels N] [--features N] [--rounds N] [--only NAME ...]`. By
default that is S: 1,000,000 labels, 5 tables of 5,000,000 rows with 6 features each, 100,000 keys,
one year, seeded. Each contestant is a process of its own: it starts, reads the labels and tables,
joins, and writes one Parquet file in the order of the labels. All but one read the same files. The
answers are compared first, row by row; then seconds on the clock (medians), of CPU, and the highest
memory (PSS) are printed, and how much longer than ours each takes.

- `ours`: `create_training_set`, tables as `FeatureEngineeringClient.create_table` writes them, in
  the order of key and time. `ours, any order`: the same rows as they were drawn.
- `polars`: `join_asof` of whole frames. `duckdb`: ASOF joins. `pandas`: `merge_asof`.
- `scan and write`: reads the same columns and writes as many values, without a join: the limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from measuring import MEGABYTE, measured

KEYS = 100_000
TABLES = 5
FEATURES = 6
YEAR = 31_536_000_000_000
BEGIN = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
NAMES = [f"features.t{index}" for index in range(TABLES)]
SHUFFLED = [f"features.shuffled{index}" for index in range(TABLES)]


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


def ours(folder: Path, out: Path, names: list[str] = NAMES) -> None:
    from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup
    from sololakehouse.lake import Lakehouse

    lookups = [
        FeatureLookup(table_name=name, lookup_key="key", timestamp_lookup_key="at")
        for name in names
    ]
    made = FeatureEngineeringClient(Lakehouse.open(folder)).create_training_set(
        df=pl.read_parquet(folder / "labels.parquet"), feature_lookups=lookups, label="label"
    )
    made.to_polars().write_parquet(out)


def ours_any_order(folder: Path, out: Path) -> None:
    ours(folder, out, SHUFFLED)


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


CONTESTANTS: dict[str, Callable[[Path, Path], None]] = {
    "ours": ours,
    "ours, any order": ours_any_order,
    "polars": bare_polars,
    "duckdb": bare_duckdb,
    "pandas": bare_pandas,
    "scan and write": scan_and_write,
}


def refuse_other_answers(answers: dict[str, Path]) -> None:
    """End the benchmark if two contestants differ in a row."""
    expected: pl.DataFrame | None = None
    for name, file in answers.items():
        found = pl.read_parquet(file).with_columns(pl.col("id", "key", "label").cast(pl.Int64))
        found = found.drop("at", "label")
        if expected is None:
            expected = found
        elif not found.select(expected.columns).equals(expected):
            sys.exit(f"{name} gives other rows than {next(iter(answers))}.")


def compare(folder: Path, names: list[str], rounds: int) -> None:
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    answers: dict[str, Path] = {}
    for number in range(rounds):
        for name in names:
            out = folder / f"{name.replace(' ', '_').replace(',', '')}.parquet"
            one = measured([sys.executable, __file__, "--one", name, str(folder), str(out)], folder)
            figures[name].append((one.seconds, one.cpu_seconds, one.peak))
            if name != "scan and write":
                answers[name] = out
        if number == 0:
            refuse_other_answers(answers)
    medians = {
        name: [statistics.median(one[place] for one in found) for place in range(3)]
        for name, found in figures.items()
    }
    print(f"{'':18}{'s':>8}{'s CPU':>8}{'MB':>8}{'of ours':>9}")
    for name, (seconds, processor, peak) in medians.items():
        ratio = seconds / medians[names[0]][0]
        print(f"{name:18}{seconds:8.1f}{processor:8.1f}{peak:8,.0f}{ratio:8.1f}x")


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        name, folder, out = sys.argv[2:5]
        CONTESTANTS[name](Path(folder), Path(out))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--folder", type=Path, help="where the data is made (default: temporary)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        folder = Path(scratch)
        make(folder, asked.labels, asked.features)
        size = sum(file.stat().st_size for file in parquet_files(folder)) / MEGABYTE
        print(f"{asked.labels:,} labels, {TABLES} x {asked.features:,} rows, {size:,.0f} MB")
        compare(folder, asked.only, asked.rounds)


if __name__ == "__main__":
    main()
