from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lessons.desk import Desk


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Desk]:
    """Start a lesson in a folder of its own."""

    def start(lesson: int | str) -> Desk:
        return Desk.start(lesson, tmp_path_factory.mktemp("lesson") / "work")

    return start


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Give an empty folder."""
    return Desk(tmp_path)
