"""Labels and two feature tables: weather over time, and airports that stay as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.provenance import Change, Run


def hours(*numbers: int | None) -> list[datetime | None]:
    """Hours after midnight of 1 January 2026, UTC."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [None if number is None else start + timedelta(hours=number) for number in numbers]


LABELS = pl.DataFrame(
    {
        "flight": [3, 1, 2, 4],
        "origin": ["LGA", "JFK", "JFK", None],
        "predict_at": hours(9, 8, 10, 9),
        "is_late": [0, 1, 0, 1],
    },
    schema_overrides={"predict_at": pl.Datetime("us", "UTC")},
)
WEATHER = pl.DataFrame(
    {
        "origin": ["JFK", "JFK", "LGA"],
        "feature_ts": hours(7, 9, 2),
        "temp": [7.0, 9.0, 2.0],
        "wind": [70, None, 20],
    }
)
AIRPORTS = pl.DataFrame({"faa": ["JFK", "LGA"], "altitude": [13, 22]})


class FeatureProject:
    """A lakehouse with feature tables, and short ways to use it."""

    def __init__(self, lake: Lakehouse) -> None:
        self.lake = lake
        self.client = FeatureEngineeringClient(lake)

    def writer(self) -> LakeWriter:
        return LakeWriter(self.lake, Run.start(self.lake.project.folder, "embedded"))

    def write(self, table: str, frame: pl.DataFrame, **options: Any) -> Snapshot:
        return self.writer().write_frame(table, frame, Change("TEST", "x"), **options)


def weather(**fields: Any) -> FeatureLookup:
    whole = {
        "table_name": "features.weather",
        "lookup_key": "origin",
        "timestamp_lookup_key": "predict_at",
    }
    return FeatureLookup(**whole | fields)


def airports(**fields: Any) -> FeatureLookup:
    return FeatureLookup(**{"table_name": "features.airports", "lookup_key": "origin"} | fields)
