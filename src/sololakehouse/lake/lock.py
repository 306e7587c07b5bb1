"""Locks between processes: held by the operating system, so a crash leaves none behind."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.errors import BusyError
from sololakehouse.lake.failures import disk_errors

if TYPE_CHECKING:
    from filelock import FileLock

LOCKS = "_locks"
_PROJECT = "project"


@contextmanager
def project_lock(warehouse: Path, command: str) -> Iterator[None]:
    """Be the only one that runs `command` or another command that holds this lock.

    Within one thread the lock may be taken again; the outermost command is the one that others
    are told of.

    Raises
    ------
    BusyError
        Another process holds the lock: says which, and since when.
    RunError
        The warehouse cannot be written to.
    """
    from filelock import Timeout

    with disk_errors(warehouse / LOCKS):
        lock = _lock(warehouse, _PROJECT)
        holder = Path(lock.lock_file).with_suffix(".json")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyError.of(command, _holder(holder)) from error
    try:
        if lock.lock_counter == 1:
            with disk_errors(holder):
                holder.write_text(_about(command), "utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def table_lock(warehouse: Path, table: str) -> Iterator[None]:
    """Be the only one of the project's processes that commits to `table`; waits for its turn.

    Raises
    ------
    RunError
        The warehouse cannot be written to.
    """
    with disk_errors(warehouse / LOCKS):
        lock = _lock(warehouse, table)
        lock.acquire(poll_interval=_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def work_lock(warehouse: Path, table: str, command: str) -> Iterator[None]:
    """Be the only process that does long work for `table`.

    Raises
    ------
    BusyError
        Another process does.
    RunError
        The warehouse cannot be written to.
    """
    from filelock import Timeout

    with disk_errors(warehouse / LOCKS):
        lock = _lock(warehouse, f"{table}.work")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyError.of(command, {}) from error
    try:
        yield
    finally:
        lock.release()


def is_worked_on(warehouse: Path, table: str) -> bool:
    """Whether a process does long work for `table` now; nothing is written to find out."""
    return _is_held(_file(warehouse, f"{table}.work"))


def is_at_work(warehouse: Path) -> bool:
    """Whether a command holds the lock of the project now; nothing is written to find out."""
    return _is_held(_file(warehouse, _PROJECT))


def _is_held(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


_POLL_SECONDS = 0.01


def _lock(warehouse: Path, name: str) -> FileLock:
    from filelock import FileLock

    file = _file(warehouse, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file, is_singleton=True)


def _file(warehouse: Path, name: str) -> Path:
    return warehouse / LOCKS / f"{name}.lock"


def _about(command: str) -> str:
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"command": command, "process": os.getpid(), "since": began})


def _holder(file: Path) -> dict[str, object]:
    try:
        about = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
