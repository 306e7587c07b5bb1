"""A small project with labels, a feature table and an experiment: will it rain?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.models.experiment import Experiment, load_experiment
from sololakehouse.models.tracking import quiet_mlflow
from sololakehouse.models.training import TrainingOutcome, train
from sololakehouse.provenance import Change, Run

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 24 * 90
STORE = "mlflow.db"
URI = f"sqlite:///{STORE}"
EXPERIMENT = """\
name: rain
seed: 7
training_set:
  name: training.rain
  labels: gold.labels
  label: wet
  timestamp: at
  exclude_columns: [id]
  feature_lookups:
    - table_name: features.sky
      lookup_key: place
      timestamp_lookup_key: at
split:
  train: {until: 2026-03-01T00:00:00Z}
  validation: {from: 2026-03-01T00:00:00Z, until: 2026-03-15T00:00:00Z}
  test: {from: 2026-03-15T00:00:00Z, until: 2026-04-01T00:00:00Z}
metrics: [roc_auc, log_loss, f1]
baseline: {kind: sklearn, estimator: logistic_regression}
model: {kind: xgboost, params: {n_estimators: 40, max_depth: 3}, early_stopping_rounds: 5}
register_as: rain
"""


@cache
def empty_store() -> bytes:
    """Give an MLflow store without runs, made by MLflow, which takes two seconds for it."""
    quiet_mlflow()
    from mlflow import MlflowClient

    with TemporaryDirectory() as folder:
        file = Path(folder) / STORE
        uri = f"sqlite:///{file}"
        MlflowClient(uri, uri).search_experiments()
        return file.read_bytes()


@dataclass(frozen=True)
class ModelProject:
    """A project under test, with the means to train in it."""

    folder: Path

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse.open(self.folder)

    def writer(self) -> LakeWriter:
        return LakeWriter(self.lake, Run.start(self.folder, "embedded"))

    def experiment(self, *overrides: str, text: str = EXPERIMENT) -> Experiment:
        (self.folder / "rain.yml").write_text(text)
        return load_experiment(self.lake.project, Path("rain.yml"), overrides)

    def prepare_store(self) -> None:
        """Give the project an empty MLflow store, if it is to be in its folder and is not."""
        store = self.folder / STORE
        if self.lake.project.settings.mlflow.tracking_uri == URI and not store.exists():
            store.write_bytes(empty_store())

    def train(self, *overrides: str, force: bool = False) -> TrainingOutcome:
        self.prepare_store()
        return train(self.lake, self.writer(), self.experiment(*overrides), force=force)


def labels() -> pl.DataFrame:
    """Hours in which it rains if humidity and wind, which interact, say so."""
    draw = np.random.default_rng(1)
    humid, wind = draw.random(HOURS), draw.random(HOURS)
    wet = ((humid > 0.5) ^ (wind > 0.5)) ^ (draw.random(HOURS) < 0.1)
    return pl.DataFrame(
        {
            "id": np.arange(HOURS),
            "place": draw.choice(["hill", "shore"], HOURS),
            "at": [BEGIN + timedelta(hours=hour) for hour in range(HOURS)],
            "humid": humid,
            "wind": np.where(draw.random(HOURS) < 0.05, None, wind).astype(float),
            "cloud": draw.choice(["none", "some", None], HOURS),
            "wet": wet.astype(np.int32),
        },
        strict=False,
    ).with_columns(pl.col("at").dt.cast_time_unit("us"), pl.col("wind").fill_nan(None))


def sky() -> pl.DataFrame:
    """Light at two places, every six hours."""
    times = [BEGIN - timedelta(hours=1) + timedelta(hours=6 * step) for step in range(HOURS // 6)]
    rows = [
        (place, time, float(n % 7)) for place in ("hill", "shore") for n, time in enumerate(times)
    ]
    schema = {"place": pl.String, "feature_ts": pl.Datetime("us", "UTC"), "light": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def make_project(folder: Path) -> ModelProject:
    folder.mkdir(exist_ok=True)
    (folder / "lakehouse.yml").write_text("name: rain\n")
    project = ModelProject(folder)
    properties = {"feature.keys": "place", "feature.timestamp": "feature_ts"}
    writer = project.writer()
    writer.write_frame("features.sky", sky(), Change("TEST", "sky"), properties=properties)
    writer.write_frame("gold.labels", labels(), Change("TEST", "labels"))
    return project
