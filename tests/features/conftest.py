"""A project with the tables of `flights.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .flights import AIRPORTS, LABELS, WEATHER, FeatureProject


@pytest.fixture
def project(make_project: Callable[..., Any]) -> FeatureProject:
    made = FeatureProject(make_project().lake)
    made.write("gold.labels", LABELS)
    made.client.create_table(
        name="features.weather",
        primary_keys=["origin", "feature_ts"],
        timeseries_columns="feature_ts",
        df=WEATHER,
        description="Weather at the origin",
    )
    made.client.create_table(name="features.airports", primary_keys="faa", df=AIRPORTS)
    return made
