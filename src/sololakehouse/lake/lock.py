"""Locks between processes: held by the operating system, so a crash leaves none behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sololakehouse.errors import BusyError

LOCKS = "_locks"
_PROJECT = "project"


@contextmanager
def project_lock(warehouse: Path, command: str) -> Iterator[None]:
    """Be the only one that runs `command` or another command that holds this lock.

    Raises
    ------
    BusyError
        Another process holds the lock: says which, and since when.
    """
    lock = _lock(warehouse, _PROJECT)
    holder = Path(lock.lock_file).with_suffix(".json")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError.of(command, _holder(holder)) from error
    try:
        began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"command": command, "process": os.getpid(), "since": began}
        holder.write_text(json.dumps(about), "utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def table_lock(warehouse: Path, table: str) -> Iterator[None]:
    """Be the only one of the project's processes that commits to `table`; waits for its turn."""
    with _lock(warehouse, table):
        yield


def _lock(warehouse: Path, name: str) -> FileLock:
    folder = warehouse / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{name}.lock")


def _holder(file: Path) -> dict[str, object]:
    try:
        about = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
