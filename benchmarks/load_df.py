"""`TrainingSet.load_df()`: looked up here and handed over, or looked up by the engine.

`python benchmarks/load_df.py [--labels N] [--features N] [--tables N] [--rounds N]`. The labels are
a table, the engine writes the DataFrame as Parquet files. `embedded` is in this process; Apache
Spark is a local server with two cores that has answered before. Seconds on the clock (medians), and
of CPU in this process and its server. The answers are compared first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from point_in_time import FEATURES, KEYS, moments

sys.path.append(str(Path(__file__).parent.parent))


def make(folder: Path, labels: int, rows: int, tables: int) -> None:
    """Write a project whose feature tables are known later, every other one."""
    from sololakehouse.feature_engineering import FeatureEngineeringClient
    from sololakehouse.lake import Lakehouse, LakeWriter
    from sololakehouse.provenance import Change, Run

    (folder / "lakehouse.yml").write_text("name: bench\n")
    draw = np.random.default_rng(7)
    lake = Lakehouse.open(folder)
    asked = {
        "id": np.arange(labels),
        "key": draw.integers(0, KEYS, labels),
        "at": moments(draw, labels),
    }
    frame = pl.DataFrame(asked | {"label": draw.integers(0, 2, labels)})
    LakeWriter(lake, Run.start(folder, "benchmark")).write_frame(
        "gold.labels", frame, Change("B", "0")
    )
    client = FeatureEngineeringClient(lake)
    for table in range(tables):
        values = {f"t{table}_f{index}": draw.normal(size=rows) for index in range(FEATURES)}
        times = {"key": draw.integers(0, KEYS, rows), "feature_ts": moments(draw, rows)}
        late = pl.Series(draw.integers(0, 86_400_000_000, rows)).cast(pl.Duration("us"))
        drawn = pl.DataFrame(times | values).with_columns(known_at=pl.col("feature_ts") + late)
        known_at = "known_at" if table % 2 else None
        client.create_table(
            name=f"features.t{table}",
            primary_keys="key",
            timeseries_columns="feature_ts",
            known_at=known_at,
            df=drawn.unique(["key", "feature_ts"], keep="first", maintain_order=True).drop(
                [] if known_at else ["known_at"]
            ),
        )


def training_set(folder: Path, tables: int) -> Any:
    from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup
    from sololakehouse.lake import Lakehouse

    lookups = [
        FeatureLookup(table_name=f"features.t{table}", lookup_key="key", timestamp_lookup_key="at")
        for table in range(tables)
    ]
    return FeatureEngineeringClient(Lakehouse.open(folder)).create_training_set(
        df="gold.labels", feature_lookups=lookups, label="label", timestamp="at"
    )


def looked_up_here(made: Any, engine: Any) -> Any:
    from sololakehouse.features.spark_lookup import handed_over

    return handed_over(engine, made.to_polars())


def looked_up_there(made: Any, engine: Any) -> Any:
    return made._on_server(engine)


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "here": looked_up_here,
    "by the engine": looked_up_there,
}


def busy(server: psutil.Process | None) -> float:
    processes = [psutil.Process(), *([server] if server else [])]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def apache_spark() -> Iterator[tuple[str, psutil.Process]]:
    from tests.spark import server

    with tempfile.TemporaryDirectory() as folder, server.started(Path(folder)) as running:
        yield running.address, psutil.Process().children()[0]


def compare(
    folder: Path, address: str, server: psutil.Process | None, tables: int, rounds: int
) -> None:
    from sololakehouse.lake import Lakehouse

    answers: list[pl.DataFrame] = []
    with Lakehouse.open(folder, engine=address).engine() as engine:
        for name, way in WAYS.items():
            seconds, processor = [], []
            for number in range(rounds + 1):
                out = engine.scratch / f"{name} {number}"
                began, before = time.perf_counter(), busy(server)
                way(training_set(folder, tables), engine).write.parquet(str(out))
                seconds.append(time.perf_counter() - began)
                processor.append(busy(server) - before)
            answers.append(pl.read_parquet(out / "*.parquet").sort("id"))
            wall, cpu = (statistics.median(found[1:]) for found in (seconds, processor))
            print(f"{engine.name:28}{name:16}{wall:8.1f} s{cpu:8.1f} s CPU")
        if not answers[0].equals(answers[1]):
            sys.exit("The answers differ.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--tables", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder, asked.labels, asked.features, asked.tables)
        print(f"{asked.labels:,} labels, {asked.tables} x {asked.features:,} rows")
        compare(folder, "embedded", None, asked.tables, asked.rounds)
        with apache_spark() as (address, server):
            compare(folder, address, server, asked.tables, asked.rounds)


if __name__ == "__main__":
    main()
