"""A project whose model uses all that a request can meet: will it rain, by several lookups?"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from sololakehouse.provenance import Change
from tests.rain import BEGIN, EXPERIMENT, HOURS, ModelProject
from tests.rain import make_project as make_rain_project

LOOKUPS = """\
  feature_lookups:
    - table_name: features.sky
      lookup_key: place
      timestamp_lookup_key: at
    - table_name: features.gauge
      lookup_key: [place, device]
      timestamp_lookup_key: at
      feature_names: [pressure]
      rename_outputs: {pressure: gauge_pressure}
      lookback_window: 3h
    - table_name: features.places
      lookup_key: place
      default_values: {height: -1}
    - udf_name: weather.muggy
      input_bindings: {humid: humid, light: light, at: at}
"""
FUNCTION = """\
from datetime import datetime


def muggy(humid: float, light: float, at: datetime) -> float:
    if humid is None or light is None:
        return None
    if humid > 1000:
        raise ValueError("no air holds so much water")
    return humid * light + at.hour
"""
RICH = (
    EXPERIMENT[: EXPERIMENT.index("  feature_lookups")]
    + LOOKUPS
    + EXPERIMENT[EXPERIMENT.index("split:") :].replace("exclude_columns: [id]", "")
)


def gauge() -> pl.DataFrame:
    """Pressures of two devices at two places, each known only later, some of them restated."""
    draw = np.random.default_rng(3)
    rows = []
    for place in ("hill", "shore"):
        for device in (1, 2):
            for hour in range(0, HOURS, 2):
                at = BEGIN + timedelta(hours=hour)
                rows.append((place, device, at, at + timedelta(minutes=20), draw.normal()))
                if draw.random() < 0.2:
                    rows.append((place, device, at, at + timedelta(minutes=90), draw.normal()))
    moment = pl.Datetime("us", "UTC")
    schema = {"place": pl.String, "device": pl.Int64, "ts": moment, "known": moment}
    return pl.DataFrame(rows, {**schema, "pressure": pl.Float64}, orient="row")


def make_project(folder: Path) -> ModelProject:
    """Make the project, with its experiment not trained yet."""
    project = make_rain_project(folder)
    (folder / "functions").mkdir()
    (folder / "functions" / "weather.py").write_text(FUNCTION)
    writer = project.writer()
    keys = {"feature.keys": "place,device", "feature.timestamp": "ts", "feature.known_at": "known"}
    writer.write_frame("features.gauge", gauge(), Change("TEST", "gauge"), properties=keys)
    places = pl.DataFrame({"place": ["hill"], "height": pl.Series([300], dtype=pl.Int32)})
    only = {"feature.keys": "place"}
    writer.write_frame("features.places", places, Change("TEST", "places"), properties=only)
    labels = project.lake.read("gold.labels").to_polars().sort("id")
    device = pl.Series("device", [None if n % 50 == 0 else 1 + n % 3 for n in range(HOURS)])
    both = labels.with_columns(device.cast(pl.Int64))
    writer.write_frame("gold.labels", both, Change("TEST", "labels with devices"))
    return project
