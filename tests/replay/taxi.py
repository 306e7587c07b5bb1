"""A small project to replay: taxis that are asked for, set off, and arrive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.provenance import Change, Run
from sololakehouse.replay.replay import Replay, ReplayRequest
from sololakehouse.replay.verdicts import ReplayReport

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 20
RIDES = 900
CONFIG = """\
name: taxi
known_at:
  bronze.rides:
    rows: asked_at
    columns:
      minutes: coalesce(arrived_at, asked_at + INTERVAL '1' DAY)
      arrived_at: coalesce(arrived_at, asked_at + INTERVAL '1' DAY)
      tip: coalesce(arrived_at, asked_at + INTERVAL '1' DAY)
  bronze.sky: seen_at
experiments: [taxi.yml]
"""
EXPERIMENT = """\
name: taxi
seed: 1
training_set:
  name: training.taxi
  labels: gold.rides
  label: is_long
  timestamp: asked_at
  label_known_at: settled_at
  exclude_columns: [ride]
  feature_lookups:
    - {table_name: features.place, lookup_key: place, timestamp_lookup_key: asked_at}
split:
  train: {until: 2026-01-12T00:00:00Z}
  validation: {from: 2026-01-12T00:00:00Z, until: 2026-01-16T00:00:00Z}
  test: {from: 2026-01-16T00:00:00Z, until: 2026-01-21T00:00:00Z}
metrics: [roc_auc]
baseline: {kind: sklearn, estimator: logistic_regression}
model: {kind: xgboost}
register_as: taxi
"""
SPEC = """\
name: taxi
storage: .storage
database: gold
libraries:
  - glob: {include: transformations/**}
"""
LABELS = """\
CREATE MATERIALIZED VIEW gold.rides AS
SELECT ride, place, asked_at, coalesce(minutes > 30, true) AS is_long,
  coalesce(arrived_at, asked_at + INTERVAL '1' DAY) AS settled_at
FROM bronze.rides
"""
KEYS = "TBLPROPERTIES ('feature.keys' = 'place', 'feature.timestamp' = 'feature_ts')"
# Arrivals of an hour, from its end on; and those of the three hours before.
CLEAN = f"""\
CREATE MATERIALIZED VIEW features.place {KEYS} AS
WITH hourly AS (
  SELECT place, date_trunc('HOUR', arrived_at) + INTERVAL '1' HOUR AS feature_ts,
    count(*) AS arrivals, avg(minutes) AS mean_minutes
  FROM bronze.rides WHERE arrived_at IS NOT NULL
  GROUP BY place, date_trunc('HOUR', arrived_at) + INTERVAL '1' HOUR
)
SELECT *, sum(arrivals) OVER (PARTITION BY place ORDER BY unix_seconds(feature_ts)
  RANGE BETWEEN 7200 PRECEDING AND CURRENT ROW) AS arrivals_3h
FROM hourly
"""


def rides(count: int = RIDES) -> pl.DataFrame:
    """Rides with a moment of asking and of arrival; some never arrive."""
    draw = np.random.default_rng(3)
    asked = np.sort(draw.integers(0, DAYS * 86400, count))
    minutes = draw.integers(5, 90, count)
    lost = draw.random(count) < 0.03
    asked_at = [BEGIN + timedelta(seconds=int(one)) for one in asked]
    arrived = [
        None if gone else moment + timedelta(minutes=int(some))
        for moment, some, gone in zip(asked_at, minutes, lost, strict=True)
    ]
    frame = pl.DataFrame(
        {
            "ride": np.arange(count),
            "place": draw.choice(["hill", "shore", "port"], count),
            "asked_at": asked_at,
            "arrived_at": arrived,
            "minutes": [None if gone else int(m) for m, gone in zip(minutes, lost, strict=True)],
            "tip": draw.random(count).round(2),
        }
    )
    return frame.with_columns(pl.selectors.datetime().dt.cast_time_unit("us"))


def sky() -> pl.DataFrame:
    """The light of every hour, seen twenty minutes later."""
    draw = np.random.default_rng(4)
    hours = [BEGIN + timedelta(hours=hour) for hour in range(DAYS * 24)]
    frame = pl.DataFrame(
        {
            "hour": hours,
            "seen_at": [hour + timedelta(minutes=20) for hour in hours],
            "light": draw.random(len(hours)).round(3),
        }
    )
    return frame.with_columns(pl.selectors.datetime().dt.cast_time_unit("us"))


@dataclass(frozen=True)
class Taxi:
    """The project under test."""

    folder: Path

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse.open(self.folder)

    def writer(self) -> LakeWriter:
        return LakeWriter(self.lake, Run.start(self.folder, "embedded"))

    def write(self, sources: Mapping[str, str]) -> None:
        for name, text in sources.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")

    def run(self, **sources: str) -> None:
        """Put SQL sources in place of those of the same names, and run the pipeline."""
        self.write({f"transformations/{name}.sql": text for name, text in sources.items()})
        with prepare(self.lake) as pipeline:
            execute(pipeline, self.writer())

    def plan(self) -> dict[str, str]:
        with prepare(self.lake) as pipeline:
            return {step.name: step.state for step in pipeline.steps}

    def replay(self, cutoffs: int = 3, **asked: object) -> ReplayReport:
        return Replay(self.lake, ReplayRequest(cutoffs=cutoffs, **asked)).run()  # type: ignore[arg-type]


def make_taxi(folder: Path, config: str = CONFIG, frame: pl.DataFrame | None = None) -> Taxi:
    folder.mkdir(exist_ok=True, parents=True)
    project = Taxi(folder)
    project.write({"lakehouse.yml": config, "spark-pipeline.yml": SPEC, "taxi.yml": EXPERIMENT})
    writer = project.writer()
    writer.write_frame("bronze.rides", rides() if frame is None else frame, Change("TEST", "rides"))
    writer.write_frame("bronze.sky", sky(), Change("TEST", "sky"))
    project.write({"transformations/labels.sql": LABELS, "transformations/place.sql": CLEAN})
    return project
