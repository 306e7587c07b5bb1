"""A trained project, and one server of it for all tests that only ask."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sololakehouse.models.registry import resolve
from sololakehouse.serving.served_model import ServedModel
from tests.cli.conftest import slh  # noqa: F401  (a fixture)
from tests.faults.conftest import small_disk  # noqa: F401  (a fixture)
from tests.rain import ModelProject
from tests.serving.process import Client, Server, serving
from tests.serving.project import RICH, make_project


@pytest.fixture(scope="session")
def rich(tmp_path_factory) -> ModelProject:
    """Give a project with version 1, the baseline, and version 2 in staging."""
    project = make_project(tmp_path_factory.mktemp("rich") / "rain")
    from sololakehouse.models.training import train

    project.prepare_store()
    train(project.lake, project.writer(), project.experiment(text=RICH))
    return project


@pytest.fixture(scope="session")
def copied(rich, tmp_path_factory) -> Callable[[], ModelProject]:
    """Give copies of the project, which tests may write to."""

    def copy() -> ModelProject:
        folder: Path = tmp_path_factory.mktemp("copied") / "rain"
        shutil.copytree(rich.folder, folder)
        return ModelProject(folder)

    return copy


@pytest.fixture(scope="session")
def server(copied) -> Iterator[Server]:
    with serving(copied().folder, "rain@staging", "--max-rows", "3000") as running:
        yield running


@pytest.fixture
def client(server) -> Client:
    return server.client()


@pytest.fixture(scope="session")
def served(rich) -> ServedModel:
    """Give the model without a server."""
    return ServedModel(rich.lake, resolve(rich.lake, "rain@staging"))
