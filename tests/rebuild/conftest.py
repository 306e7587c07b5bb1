"""Projects with trained models; tests spoil copies of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rain import ModelProject
from tests.rebuild.projects import copied, make_raw_project


@pytest.fixture
def project(trained, tmp_path) -> ModelProject:
    """Give a copy of the project with two trained models."""
    return copied(trained[0], tmp_path / "copy")


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> ModelProject:
    """Give a project whose models go back to landing files; tests must not change it."""
    folder: Path = tmp_path_factory.mktemp("raw")
    return make_raw_project(folder)


@pytest.fixture
def raw_copy(raw, tmp_path) -> ModelProject:
    """Give a copy of the project with landing files."""
    return copied(raw, tmp_path / "copy")
