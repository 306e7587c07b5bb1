"""What tracking adds to a training run: packing, sending and registering two models.

`python benchmarks/tracking.py [--rows 28000] [--rounds 5]`. The store is warm: it is there, MLflow
is imported, and a run was logged before. The models are those of the reference project on the test
part's number of rows; fitting is not counted. Reported are medians of seconds on the clock, for
each run of MLflow, of which a training has two.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.rain import HOURS, ModelProject, labels, make_project

from sololakehouse.models import pending, training
from sololakehouse.provenance import Change

RUNS_OF_A_TRAINING = 2


def timed(seconds: dict[str, list[float]], name: str, function: Callable[..., Any]) -> Any:
    def call(*given: Any, **more: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*given, **more)
        finally:
            seconds.setdefault(name, []).append(time.perf_counter() - began)

    return call


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=28_000, help="rows of the test part")
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "rain")
        repeat_test_rows(project, asked.rows)
        project.train()
        seconds: dict[str, list[float]] = {}
        training.intervals_on_test = timed(seconds, "intervals", training.intervals_on_test)
        training.run_report = timed(seconds, "report and plots", training.run_report)
        training.pack_runs = timed(seconds, "packing", training.pack_runs)
        pending.send = timed(seconds, "sending", pending.send)
        pending.register = timed(seconds, "registering", pending.register)
        began = len(seconds)
        for _ in range(asked.rounds):
            project.train(force=True)
        assert began == 0
        total = 0.0
        for name, all_of_them in seconds.items():
            calls = len(all_of_them) / asked.rounds
            each = statistics.median(all_of_them) * calls / RUNS_OF_A_TRAINING
            total += each
            print(f"{name:18} {each:6.2f} s")
        print(f"{'a run in all':18} {total:6.2f} s")


def repeat_test_rows(project: ModelProject, rows: int) -> None:
    """Give the test part so many rows, by repeating its labels."""
    frame = labels()
    test = frame.filter(pl.col("at") >= pl.datetime(2026, 3, 15, time_zone="UTC"))
    drawn = np.random.default_rng(1).integers(test.height, size=rows)
    more = test[drawn].with_columns(id=HOURS + np.arange(rows))
    whole = pl.concat([frame, more])
    project.writer().write_frame("gold.labels", whole, Change("BENCHMARK", "labels"))


if __name__ == "__main__":
    main()
