"""The examples in docstrings run in a small project with the tables that they name."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run

# pyspark takes a main module without a file, as the workers of pytest-xdist have it, for its own
# doctests, and looks for what only its developers have.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
FEATURE_TABLES = {
    "features.origin_weather": (
        {"origin": ["EWR"], "feature_ts": [NOON], "temp": [77.0]},
        {"feature.keys": "origin", "feature.timestamp": "feature_ts"},
    ),
    "features.planes": ({"tailnum": ["N10156"], "seats": [55]}, {"feature.keys": "tailnum"}),
}


_KILLS_OF_THE_LONG_TESTS = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make test-faults`, `test-soak` and their like choose how much is tried."""
    faults = parser.getgroup("faults")
    faults.addoption("--faults-kills", type=int, default=2, help="How often to kill a command.")
    faults.addoption("--faults-appends", type=int, default=5, help="Appends of each process.")
    conformance = parser.getgroup("conformance")
    conformance.addoption("--conformance-cases", type=int, help="For each engine.")
    serving = parser.getgroup("serving")
    serving.addoption("--soak-seconds", type=int, default=10, help="How long to ask a server.")
    docs = parser.getgroup("docs")
    docs.addoption("--docs-every-page", action="store_true", help="The long ones, too.")
    spark = parser.getgroup("spark")
    spark.addoption("--spark-suite", action="store_true", help="All pipeline tests on Spark, too.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests to `make test-faults`, `make test-spark` and `make test-docs`."""
    left = []
    if config.getoption("--faults-kills") < _KILLS_OF_THE_LONG_TESTS:
        left.append("faults")
    if not config.getoption("--spark-suite"):
        left.append("spark_suite")
    if not config.getoption("--docs-every-page"):
        left.append("docs_suite")
    long = [item for item in items if any(map(item.get_closest_marker, left))]
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=long)
    if hasattr(config, "workerinput"):
        from tests.distribution import place

        items.sort(key=lambda item: place(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let files that share a server or a trained project share a process, too."""
    if config.getoption("--dist") != "loadfile":
        return None
    from tests.distribution import InUnits

    config.option.loadscopereorder = False
    return InUnits(config, log)


@pytest.fixture(scope="session")
def documented_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the project that docstrings speak of."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "lakehouse.yml").write_text("name: documented\n")
    writer = LakeWriter(Lakehouse.open(folder), Run.start(folder, "embedded"))
    for name, (columns, properties) in FEATURE_TABLES.items():
        frame = pl.DataFrame(columns).with_columns(pl.selectors.datetime().dt.cast_time_unit("us"))
        writer.write_frame(name, frame, Change("EXAMPLE", name), properties=properties)
    labels = pl.DataFrame({"origin": ["EWR"], "predict_at": [NOON], "is_late": [0]})
    writer.write_frame("gold.flight_labels", labels, Change("EXAMPLE", "labels"))
    return folder


@pytest.fixture(autouse=True)
def _inside_of_the_documented_project(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("documented_project"))
