"""A project of its own for each test that trains in another way."""

from __future__ import annotations

import pytest

from tests.rain import ModelProject, make_project


@pytest.fixture
def project(tmp_path) -> ModelProject:
    """Give a project that is not trained yet."""
    return make_project(tmp_path)
