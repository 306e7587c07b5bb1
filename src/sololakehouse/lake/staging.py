"""Staging folders: where files wait for their commit, and how those of a dead process are told.

A folder is locked by the operating system for as long as its process lives, so a folder that can
be locked by somebody else belongs to nobody.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING = "_staging"


@contextmanager
def staging_folder(warehouse: Path) -> Iterator[Path]:
    """Give an empty folder on the warehouse's file system; it is removed afterwards.

    Folders that killed processes left behind are removed first.
    """
    remove_dead_folders(warehouse)
    folder, descriptor = _locked_folder(warehouse / STAGING)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def dead_folders(warehouse: Path) -> list[Path]:
    """Return the staging folders whose process is gone; nothing is removed."""
    return [folder for folder in _folders(warehouse) if _visit(folder, remove=False)]


def remove_dead_folders(warehouse: Path) -> list[Path]:
    """Remove the staging folders whose process is gone, and return them."""
    return [folder for folder in _folders(warehouse) if _visit(folder, remove=True)]


def _folders(warehouse: Path) -> list[Path]:
    root = warehouse / STAGING
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _locked_folder(root: Path) -> tuple[Path, int]:
    root.mkdir(parents=True, exist_ok=True)
    while True:
        folder = root / uuid.uuid4().hex
        folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder, descriptor
        os.close(descriptor)


def _visit(folder: Path, *, remove: bool) -> bool:
    with suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            if remove:
                shutil.rmtree(folder)
            return True
        finally:
            os.close(descriptor)
    return False
