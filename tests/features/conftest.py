"""Projects with the tables of `flights.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sololakehouse.lake import Lakehouse

from .flights import AIRPORTS, LABELS, WEATHER, FeatureProject


def with_tables(lake: Lakehouse) -> FeatureProject:
    made = FeatureProject(lake)
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


@pytest.fixture
def project(make_project: Callable[..., Any]) -> FeatureProject:
    return with_tables(make_project().lake)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> FeatureProject:
    """Give one project to all tests of a module; they must not change it."""
    folder = tmp_path_factory.mktemp("unchanged")
    (folder / "lakehouse.yml").write_text("name: unchanged\n")
    return with_tables(Lakehouse.open(folder))
