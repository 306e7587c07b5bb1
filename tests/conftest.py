"""Fixtures for all tests: a project in a temporary folder, and `slh` as a person calls it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.models.training import TrainingOutcome
from sololakehouse.pipelines.ingest import IngestResult, ingest
from sololakehouse.pipelines.run import StepResult, execute, prepare
from sololakehouse.provenance import Run
from tests.rain import ModelProject
from tests.rain import make_project as make_rain_project
from tests.reference import Demo, fresh_copy, run_demo

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

SPEC = """\
name: test
storage: .pipeline-storage
database: silver
libraries:
  - glob: {include: transformations/**}
"""
SALES_SOURCE = """\
name: test
sources:
  sales:
    path: landing/*.csv
    table: bronze.sales
    options: {null_value: NA}
    schema: {id: bigint, shop: string, sold_at: timestamp, amount: double}
"""
SALES = """\
id,shop,sold_at,amount
1,north,2026-01-01T08:00:00Z,10.5
2,south,2026-01-01T09:00:00Z,NA
3,north,2026-01-02T10:00:00+01:00,7
"""


@pytest.fixture(autouse=True, scope="session")
def _far_from_utc() -> Iterator[None]:
    """Run every test in a time zone that is not UTC and has half-hour offsets."""
    os.environ["TZ"] = "Australia/Adelaide"
    time.tzset()
    yield
    del os.environ["TZ"]
    time.tzset()


@dataclass(frozen=True)
class ProjectFolder:
    """A project under test: write files into it, then ingest and run."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        return file

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse.open(self.folder)

    def writer(self) -> LakeWriter:
        return LakeWriter(self.lake, Run.start(self.folder, "embedded"))

    def ingest(self, source: str = "sales") -> IngestResult:
        return ingest(self.lake, self.writer(), source)

    def run(self) -> list[StepResult]:
        with prepare(self.lake) as pipeline:
            return execute(pipeline, self.writer())

    def plan(self) -> dict[str, str]:
        with prepare(self.lake) as pipeline:
            return {step.name: step.state for step in pipeline.steps}

    def versions(self) -> dict[str, int]:
        lake = self.lake
        return {name: lake.read(name).version for name in lake.table_names()}


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., ProjectFolder]:
    """Make a project from file names and texts; `lakehouse.yml` and the spec have defaults."""

    def make(**files: str) -> ProjectFolder:
        project = ProjectFolder(tmp_path)
        project.write("lakehouse.yml", files.pop("config", SALES_SOURCE))
        project.write("spark-pipeline.yml", files.pop("spec", SPEC))
        for name, text in files.items():
            project.write(name, text)
        return project

    return make


@pytest.fixture
def sales(make_project: Callable[..., ProjectFolder]) -> ProjectFolder:
    """Give a project whose `bronze.sales` holds three rows."""
    project = make_project(**{"landing/2026-01.csv": SALES})
    project.ingest()
    return project


@pytest.fixture(scope="session")
def conformance_cases(request: pytest.FixtureRequest) -> int | None:
    """Give the number of cases that the long version wants for each engine."""
    wanted: int | None = request.config.getoption("--conformance-cases")
    return wanted


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelProject, TrainingOutcome]:
    """Give one project with two trained models; tests must not change it."""
    project = make_rain_project(tmp_path_factory.mktemp("trained"))
    return project, project.train()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Give the reference project after its demo; tests must not change it.

    It takes half a minute, and so the processes of `--numprocesses` share one.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, summary = base / "one" / "nyc_flights", base / "one.json"
    with FileLock(base / "one.lock"):
        if not summary.exists():
            shutil.rmtree(folder, ignore_errors=True)
            summary.write_text(json.dumps(run_demo(fresh_copy(folder)).summary))
    return Demo(folder, json.loads(summary.read_text()))
