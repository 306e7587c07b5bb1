"""Fixtures of the fault tests: a shop whose work is done in about a second, and how to break it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import slh, slh_process  # noqa: F401  (fixtures)
from tests.conftest import ProjectFolder
from tests.faults.shop import Shop

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def shop(make_project) -> Shop:
    """Give a project with a source and a pipeline of three tables, and no landing file yet."""
    return Shop(make_project(config=Shop.CONFIG, **Shop.PIPELINE))


@pytest.fixture
def figure(request) -> Callable[[str], None]:
    """Keep a line for the summary at the end of the tests, and for the results page."""

    def keep(line: str) -> None:
        request.config.stash.setdefault(FIGURES, []).append(line)

    return keep


def pytest_terminal_summary(terminalreporter, config) -> None:
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(f"figure: {line}")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """Give an empty file system of 4 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    _mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Give a function that makes a folder read-only, for root too, until the test ends."""
    mounted: list[Path] = []

    def protect(folder: Path) -> None:
        _mounted("--bind", str(folder), str(folder))
        mounted.append(folder)
        _mounted("-o", "remount,ro,bind", str(folder))

    yield protect
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def unchangeable() -> Iterator[Callable[[Path], None]]:
    """Give a function that lets nobody, root too, add to or take from a folder."""
    folders: list[Path] = []

    def protect(folder: Path) -> None:
        done = subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("needs chattr, and the right to use it")
        folders.append(folder)

    if shutil.which("chattr") is None:
        pytest.skip("needs chattr")
    yield protect
    for folder in folders:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


def _mounted(*arguments: str) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs the right to mount a file system")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount a file system: {done.stderr.strip()}")


@pytest.fixture
def project(make_project) -> ProjectFolder:
    return make_project()
