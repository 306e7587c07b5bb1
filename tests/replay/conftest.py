"""Fixtures of the tests of replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replay.taxi import Taxi, make_taxi


@pytest.fixture
def taxi(tmp_path: Path) -> Taxi:
    """Give the project, its pipeline not yet run."""
    return make_taxi(tmp_path / "taxi")
