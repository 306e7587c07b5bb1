"""Saving a training set again: in full, and extended by new labels; and what a function costs.

    .venv/bin/python benchmarks/training_sets.py [--labels 1000000] [--rounds 3]

Seeded data: labels, three feature tables of five times as many rows and five features, 10,000 keys.
Then one per cent of later labels and later feature rows is appended. Both ways must give the same
manifest. A round saves in a process of its own; seconds of CPU and of the clock, medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from sololakehouse.features.udf import FOLDER
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run

TABLES, FEATURES, KEYS, ROWS_PER_LABEL = 3, 5, 10_000, 5
BEGIN = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1e6)
YEAR = 365 * 86_400_000_000
FUNCTION = "def total(a: float, b: float) -> float:\n    return None if None in (a, b) else a + b\n"
SAVE = f"""\
import sys, time
from sololakehouse.feature_engineering import *
from sololakehouse.lake import Lakehouse
client = FeatureEngineeringClient(Lakehouse.open(sys.argv[1]))
lookups = [
    FeatureLookup(table_name=f"features.t{{n}}", lookup_key="key", timestamp_lookup_key="at")
    for n in range({TABLES})
]
bound = {{"a": "f0_0", "b": "f1_0"}}
function = FeatureFunction(udf_name="sums.total", input_bindings=bound)
lookups += [function] * (sys.argv[3] == "function")
training = client.create_training_set(
    df="gold.labels", feature_lookups=lookups, label="wet", timestamp="at"
)
began, busy = time.perf_counter(), time.process_time()
saved = training.save(sys.argv[2])
print(time.perf_counter() - began, time.process_time() - busy, saved.record.manifest.digest,
      *saved.record.details["computed"])
"""


def labels(rows: int, first: int, last: int, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "key": draw.integers(0, KEYS, rows),
            "at": draw.integers(first, last, rows),
            "wet": draw.integers(0, 2, rows),
        }
    ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


def features(table: int, rows: int, first: int, last: int, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    columns = {f"f{table}_{n}": draw.random(rows) for n in range(FEATURES)}
    keys = {"key": draw.integers(0, KEYS, rows), "ts": draw.integers(first, last, rows)}
    frame = pl.DataFrame(keys | columns).unique(["key", "ts"]).sort("key", "ts")
    return frame.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def write(folder: Path, rows: int, first: int, last: int, seed: int) -> None:
    lake = Lakehouse.open(folder)
    writer = LakeWriter(lake, Run.start(folder, "embedded"))
    mode = "append" if lake.exists("gold.labels") else "overwrite"
    change = Change("BENCHMARK", str(seed))
    writer.write_frame("gold.labels", labels(rows, first, last, seed), change, mode=mode)
    keys = {"feature.keys": "key", "feature.timestamp": "ts"}
    for table in range(TABLES):
        frame = features(table, rows * ROWS_PER_LABEL, first, last, seed + table)
        name = f"features.t{table}"
        writer.write_frame(name, frame, change, mode=mode, properties=keys)


def save(folder: Path, name: str, how: str = "") -> tuple[float, float, str, str]:
    command = [sys.executable, "-c", SAVE, str(folder), name, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, busy, digest, computed = done.stdout.strip().split(maxsplit=3)
    return float(seconds), float(busy), digest, computed


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--labels", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    asked = arguments.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "lakehouse.yml").write_text("name: benchmark\n")
        (folder / FOLDER).mkdir()
        (folder / FOLDER / "sums.py").write_text(FUNCTION)
        write(folder, asked.labels, BEGIN, BEGIN + YEAR, seed=1)
        for turn in range(asked.rounds):
            save(folder, f"r{turn}")
        write(folder, asked.labels // 100, BEGIN + YEAR, BEGIN + YEAR + YEAR // 100, seed=2)
        found: dict[str, list[tuple[float, float, str, str]]] = {}
        for turn in range(asked.rounds):
            found.setdefault("in full", []).append(save(folder, f"full{turn}"))
            found.setdefault("extended", []).append(save(folder, f"r{turn}"))
            found.setdefault("with a function", []).append(save(folder, f"f{turn}", "function"))
        told = {digest for how in ("in full", "extended") for *_, digest, _ in found[how]}
        assert len(told) == 1, "the two ways differ"
        assert {one[3] for one in found["extended"]} == {"kept"}
    for how, runs in found.items():
        seconds, busy = (statistics.median(run[index] for run in runs) for index in (0, 1))
        print(f"{how:16} {seconds:6.1f} s  {busy:6.1f} s of CPU")


if __name__ == "__main__":
    main()
