"""Batch inference against its parts: the bare lookups, and the bare `predict` of the same rows.

    .venv/bin/python benchmarks/scoring.py [--rows 10000000] [--rounds 1]

Seeded data: rows with a key and a moment, three feature tables of five features with a fifth of as
many rows, 10,000 keys, and an XGBoost model of 100 trees on the fifteen features. Each contestant
is a process of its own that imports, opens and loads for itself; only the work between is timed,
memory is of the whole process. The parts look up by the same code in the same memory, and predict
range by range; they write nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.xgboost
import numpy as np
import polars as pl
from measuring import measured
from xgboost import XGBClassifier

from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run

TABLES, FEATURES, KEYS, ROWS_PER_FEATURE = 3, 5, 10_000, 5
BEGIN = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1e6)
YEAR = 365 * 86_400_000_000
TRAINED_ON = 50_000
PARTS = """\
import json, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import FeatureRequest
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.memory import Memory
from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import load_model, resolve
lake = Lakehouse.open(sys.argv[1])
version = resolve(lake, "wet@1")
spec = TrainingSetSpec.model_validate(version.recipe)
model = load_model(lake.project, version)
rows = lake.read("gold.asked").scan()
began = time.perf_counter()
request = FeatureRequest.plan(lake, rows.collect_schema(), spec)
memory = Memory.of(lake.project.settings.memory_limit)
predicting = 0.0
with TemporaryDirectory(dir=sys.argv[1]) as folder:
    for some in request.find(rows, memory, Path(folder)).ranges():
        before = time.perf_counter()
        model.predict_proba(model_input(some, version.feature_columns))
        predicting += time.perf_counter() - before
total = time.perf_counter() - began
Path(sys.argv[2]).write_text(json.dumps({"seconds": total, "predicting": predicting}))
"""
SCORE = """\
import json, sys, time
from pathlib import Path
from sololakehouse.config import ScoringJob
from sololakehouse.inference.batch import score
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.models.registry import load_model, resolve
from sololakehouse.provenance import Run
lake = Lakehouse.open(sys.argv[1])
load_model(lake.project, resolve(lake, "wet@1"))
writer = LakeWriter(lake, Run.start(lake.project.folder, "embedded"))
job = ScoringJob(model="wet@1", input="gold.asked", output=sys.argv[3], features=sys.argv[4] == "y")
began = time.perf_counter()
done = score(lake, writer, job)
Path(sys.argv[2]).write_text(json.dumps({"seconds": time.perf_counter() - began}))
"""


def keyed(rows: int, moment: str, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    columns = {
        "key": draw.integers(0, KEYS, rows),
        moment: draw.integers(BEGIN, BEGIN + YEAR, rows),
    }
    return pl.DataFrame(columns).with_columns(pl.col(moment).cast(pl.Datetime("us", "UTC")))


def write(folder: Path, rows: int) -> None:
    lake = Lakehouse.open(folder)
    writer = LakeWriter(lake, Run.start(folder, "embedded"))
    change = Change("BENCHMARK", "1")
    asked = keyed(rows, "at", 1).with_row_index("id").cast({"id": pl.Int64})
    writer.write_frame("gold.asked", asked, change)
    labels = asked.head(TRAINED_ON).with_columns(wet=(pl.col("key") % 2).cast(pl.Int32))
    writer.write_frame("gold.labels", labels, change)
    for table in range(TABLES):
        draw = np.random.default_rng(table)
        frame = keyed(rows // ROWS_PER_FEATURE, "ts", 2 + table).unique(["key", "ts"])
        values = {f"f{table}_{n}": draw.random(frame.height) for n in range(FEATURES)}
        frame = frame.hstack(pl.DataFrame(values)).sort("key", "ts")
        keys = {"feature.keys": "key", "feature.timestamp": "ts"}
        writer.write_frame(f"features.t{table}", frame, change, properties=keys)


def train(folder: Path) -> None:
    client = FeatureEngineeringClient(Lakehouse.open(folder))
    lookups = [
        FeatureLookup(table_name=f"features.t{n}", lookup_key="key", timestamp_lookup_key="at")
        for n in range(TABLES)
    ]
    training = client.create_training_set(
        df="gold.labels",
        feature_lookups=lookups,
        label="wet",
        timestamp="at",
        exclude_columns=["id", "key"],
    )
    frame = training.to_pandas()
    model = XGBClassifier(n_estimators=100, max_depth=6, n_jobs=2)
    model.fit(frame[list(training.feature_columns)], frame["wet"])
    client.log_model(
        model=model,
        flavor=mlflow.xgboost,
        training_set=training,
        name="model",
        registered_model_name="wet",
    )


def contestant(folder: Path, code: str, *arguments: str) -> tuple[dict[str, float], float]:
    told = folder / "told.json"
    command = [sys.executable, "-c", code, str(folder), str(told), *arguments]
    peak = measured(command, folder).peak
    frame = pl.read_json(told)
    return frame.row(0, named=True), peak


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--rounds", type=int, default=1)
    asked = arguments.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "lakehouse.yml").write_text("name: benchmark\n")
        # Making data and model takes memory that is not the contestants'.
        subprocess.run(
            [sys.executable, __file__, "--prepare", str(folder), str(asked.rows)], check=True
        )
        for turn in range(asked.rounds):
            told, peak = contestant(folder, PARTS)
            found.setdefault("lookups and predict", []).append((told["seconds"], peak))
            found.setdefault("  of which predict", []).append((told["predicting"], peak))
            for name, features in (("slh score", "y"), ("slh score, without features", "n")):
                told, peak = contestant(folder, SCORE, f"inference.s{turn}{features}", features)
                found.setdefault(name, []).append((told["seconds"], peak))
    bare = statistics.median(one[0] for one in found["lookups and predict"])
    for name, runs in found.items():
        seconds, peak = (statistics.median(run[index] for run in runs) for index in (0, 1))
        print(f"{name:30} {seconds:6.1f} s  {seconds / bare:5.2f}  {peak:7.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
        train(Path(sys.argv[2]))
    else:
        main()
