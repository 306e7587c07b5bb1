"""Training on more than memory may hold: peak memory and seconds, from batches and at once.

    .venv/bin/python benchmarks/training.py [--rows 5000000] [--columns 50] [--limit 500]
        [--kind xgboost] [--at-once]

Seeded data: numbers with missing values, two texts, a label that some of them decide. The training
set is written beforehand; a process of its own splits it, fits one model of the kind, and measures
it on all parts, as `slh train` does before it talks to MLflow. Memory is the process's own, without
pages of files, which the system can drop; `base` is what it takes before the data. `--at-once`
repeats it with all rows in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run

SLICE = 250_000
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
PERIODS = {"train": (0, 80), "validation": (80, 90), "test": (90, 100)}
PARAMS = {
    "xgboost": {"n_estimators": 20, "max_depth": 6, "learning_rate": 0.2},
    "torch": {"epochs": 2, "batch_size": 4096},
}
FIT = """\
import json, sys, threading, time
from pathlib import Path
import pandas, polars, psutil, scipy.stats, sklearn.ensemble, xgboost
from sololakehouse.lake import Lakehouse
from sololakehouse.models.batches import parts_of, rows_at_once
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.fitting import fit_and_measure
folder, limit, config = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
if config["model"]["kind"] == "torch":
    import torch
process, peak, done = psutil.Process(), {}, threading.Event()
phase = "split"
def used():
    found = process.memory_info()
    return found.rss - found.shared
def watch():
    while not done.wait(0.1):
        peak[phase] = max(peak.get(phase, 0), used())
base = used()
thread = threading.Thread(target=watch)
thread.start()
began = time.perf_counter()
experiment = Experiment.model_validate(config)
saved = Lakehouse.open(folder).read("gold.large")
columns = [name for name in saved.columns if name not in ("at", "wet")]
at_once = rows_at_once(saved, experiment, limit)
with parts_of(saved.scan(), experiment, columns, at_once, folder) as parts:
    split, phase = time.perf_counter() - began, "fit"
    trained = fit_and_measure("model", experiment.model, parts, experiment)
seconds = time.perf_counter() - began
done.set()
thread.join()
print(json.dumps({"seconds": seconds, "split": split, "base": base, "peak": peak,
    "rows_at_once": at_once, "auc": trained.metrics["test_roc_auc"]}))
"""


def some(begin: int, count: int, rows: int, columns: int) -> pl.DataFrame:
    draw = np.random.default_rng(begin)
    numbers = draw.normal(size=(columns - 2, count)).astype(np.float32)
    numbers[draw.random(numbers.shape, np.float32) < 0.02] = np.nan
    known = np.nan_to_num(numbers[:4])
    chance = 1 / (1 + np.exp(-(known[0] * known[1] + known[2] - known[3])))
    days = (begin + np.arange(count)) / rows * 100
    since = (days * 86_400e6).astype("timedelta64[us]")
    at = np.datetime64(BEGIN.replace(tzinfo=None), "us") + since
    content = {f"number_{n}": pl.Series(one).fill_nan(None) for n, one in enumerate(numbers)}
    for name, kinds in (("carrier", 15), ("origin", 300)):
        content[name] = pl.Series(draw.integers(0, kinds, count)).cast(pl.String)
    wet = (draw.random(count) < chance).astype(np.int32)
    return pl.DataFrame({"at": at, "wet": wet} | content).with_columns(
        pl.col("at").dt.replace_time_zone("UTC")
    )


def write(folder: Path, rows: int, columns: int) -> None:
    (folder / "lakehouse.yml").write_text("name: large\n")
    writer = LakeWriter(Lakehouse.open(folder), Run.start(folder, "embedded"))
    for begin in range(0, rows, SLICE):
        frame = some(begin, min(SLICE, rows - begin), rows, columns)
        mode = "append" if begin else "overwrite"
        writer.write_frame("gold.large", frame, Change("BENCHMARK", str(begin)), mode=mode)


def experiment(kind: str) -> dict[str, object]:
    def moment(day: int) -> str:
        return (BEGIN + timedelta(days=day)).isoformat()

    split = {n: {"from": moment(a), "until": moment(b)} for n, (a, b) in PERIODS.items()}
    model = {"kind": kind, "params": PARAMS[kind], "early_stopping_rounds": 5}
    recipe = {"name": "training.large", "labels": "gold.x", "label": "wet", "timestamp": "at"}
    return {
        "name": "large",
        "seed": 7,
        "training_set": recipe,
        "split": split,
        "metrics": ["roc_auc", "log_loss"],
        "baseline": model,
        "model": model,
        "register_as": "large",
        "device": "cpu",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--limit", type=int, default=500, help="memory_limit in MB")
    parser.add_argument("--kind", choices=sorted(PARAMS), default="xgboost")
    parser.add_argument("--at-once", action="store_true")
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="slh-training-") as name:
        folder = Path(name)
        write(folder, asked.rows, asked.columns)
        held = asked.rows * (asked.columns + 2) * 8 / 1e6
        print(f"{asked.rows:,} rows x {asked.columns} columns: {held:,.0f} MB as doubles,")
        print(f"{held / asked.limit:.1f} times the limit of {asked.limit} MB")
        for limit in (asked.limit, 10**9) if asked.at_once else (asked.limit,):
            given = [str(folder), str(limit * 10**6), json.dumps(experiment(asked.kind))]
            done = subprocess.run(
                [sys.executable, "-c", FIT, *given], check=True, capture_output=True, text=True
            )
            said = json.loads(done.stdout)
            peak = max(said["peak"].values())
            print(
                f"{asked.kind} {'from batches' if said['rows_at_once'] else 'at once'}: "
                f"{said['seconds']:.0f} s ({said['split']:.0f} s of it the split), peak "
                f"{peak / 1e6:,.0f} MB ({said['peak']['split'] / 1e6:,.0f} MB in the split), base "
                f"{said['base'] / 1e6:,.0f} MB, {(peak - said['base']) / 1e6 / held:.2f} of the "
                f"data above it; "
                f"ROC AUC {said['auc']:.4f}"
            )


if __name__ == "__main__":
    main()
