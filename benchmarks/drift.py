"""Drift of many rows and columns: time and memory of `slh drift` and its parts.

    .venv/bin/python benchmarks/drift.py [--rows 10000000] [--columns 50]

Seeded predictions of a year in twelve months: numbers of three shapes, a tenth of the columns text
of twenty values, three per cent missing, and half of the columns shift in the second half of the
year. The training rows are as many. A registered model of ten trees is looked at; its importances
and predictions come from a sample, as always. Memory is of the whole process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.sklearn
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from measuring import measured
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.inference.batch import OPERATION
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run

BEGIN = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1e6)
YEAR = 365 * 86_400_000_000
CHUNK = 500_000
GROUP = 122_880  # as slh score writes them
LOOK = """\
import sys, time
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.monitoring import Predictions, drift
from sololakehouse.provenance import Run
lake = Lakehouse.open(sys.argv[1])
writer = LakeWriter(lake, Run.start(lake.project.folder, "embedded"))
began = time.perf_counter()
found = drift(lake, writer, Predictions.of_model(lake, "wide@1"))
alarms = {row["column"] for row in found.rows if row["state"] == "alarm"}
from pathlib import Path
Path(sys.argv[2]).write_text(f"{time.perf_counter() - began} {len(found.rows)} {len(alarms)}")
"""


def chunk(number: int, rows: int, columns: int, whole: int) -> pl.DataFrame:
    draw = np.random.default_rng(number)
    at = BEGIN + (np.arange(rows) + number * CHUNK) * (YEAR // whole)
    later = at > BEGIN + YEAR // 2
    data: dict[str, object] = {"at": at}
    for column in range(columns):
        shift = 0.5 * later * (column % 2)
        if column % 10 == 9:
            data[f"c{column}"] = np.char.add("t", (draw.integers(0, 20, rows)).astype(str))
            continue
        values = draw.normal(shift) if column % 3 else draw.gamma(1 + shift)
        data[f"c{column}"] = np.where(draw.random(rows) < 0.03, np.nan, values)
    return pl.DataFrame(data).with_columns(
        pl.col("at").cast(pl.Datetime("us", "UTC")),
        pl.selectors.float().fill_nan(None),
        wet=pl.Series(draw.integers(0, 2, rows, dtype=np.int32)),
    )


def write(folder: Path, rows: int, columns: int) -> None:
    lake = Lakehouse.open(folder)
    writer = LakeWriter(lake, Run.start(folder, "embedded"))
    with writer.staging() as staged:
        for number in range(-(-rows // CHUNK)):
            some = chunk(number, min(CHUNK, rows - number * CHUNK), columns, rows)
            some.write_parquet(staged / f"part-{number:03}.parquet", row_group_size=GROUP)
        writer.commit("gold.labels", staged, Change("BENCHMARK", "labels"))


def train(folder: Path, columns: int) -> None:
    lake = Lakehouse.open(folder)
    client = FeatureEngineeringClient(lake)
    training = client.create_training_set(
        df="gold.labels", feature_lookups=[], label="wet", timestamp="at"
    )
    names = [f"c{n}" for n in range(columns) if n % 10 != 9]
    sample = lake.read("gold.labels").scan().head(20_000).collect().to_pandas()
    numbers = make_pipeline(SimpleImputer(), LogisticRegression())
    model = make_pipeline(ColumnTransformer([("n", "passthrough", names)]), numbers)
    model.fit(sample[list(training.feature_columns)], sample["wet"])
    client.log_model(
        model=model,
        flavor=mlflow.sklearn,
        training_set=training,
        name="model",
        registered_model_name="wide",
    )


def predict(folder: Path) -> None:
    """Write the rows again with a probability, as a table of predictions says it of itself."""
    lake = Lakehouse.open(folder)
    writer = LakeWriter(lake, Run.start(folder, "embedded"))
    details = {"model": "wide", "model_version": 1}
    with writer.staging() as staged:
        for number, file in enumerate(lake.read("gold.labels").data_files):
            some = pl.from_arrow(pq.read_table(file)).drop("wet")
            chances = np.random.default_rng(number).random(some.height)
            some = some.with_columns(probability=pl.Series(chances))
            some.write_parquet(staged / f"part-{number:03}.parquet", row_group_size=GROUP)
        writer.commit("inference.wide", staged, Change(OPERATION, "p", details=details))


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--columns", type=int, default=50)
    arguments.add_argument("--prepare", type=Path, help="only make the data in this project")
    arguments.add_argument("--on", type=Path, help="only look, at data that was made before")
    asked = arguments.parse_args()
    if asked.prepare:
        write(asked.prepare, asked.rows, asked.columns)
        train(asked.prepare, asked.columns)
        predict(asked.prepare)
        return
    if asked.on:
        look(asked.on, asked)
        return
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "lakehouse.yml").write_text("name: benchmark\n")
        size = ["--rows", str(asked.rows), "--columns", str(asked.columns)]
        # Making data and model takes memory that is not the contestant's.
        subprocess.run([sys.executable, __file__, *size, "--prepare", place], check=True)
        look(folder, asked)


def look(folder: Path, asked: argparse.Namespace) -> None:
    told = folder / "told.txt"
    found = measured([sys.executable, "-c", LOOK, str(folder), str(told)], folder)
    seconds, rows, alarms = told.read_text().split()
    print(
        f"{asked.rows:,} rows and as many training rows x {asked.columns} columns: "
        f"{float(seconds):.1f} s ({found.seconds:.1f} s with imports), {found.peak:.0f} MB; "
        f"{rows} comparisons, {alarms} columns with an alarm"
    )


if __name__ == "__main__":
    main()
