"""The projects that pages are executed in, and the reference project after its demo."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from tests.docs.pages import ROOT, Page, PageError
from tests.reference import EXAMPLE, fresh_copy, run_demo

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sololakehouse-docs"


def make_folder(page: Page, parent: Path, reference: Callable[[], Path]) -> Path:
    """Make the folder that a page is executed in.

    Parameters
    ----------
    reference
        Gives the folder of the reference project after its demo; asked only if the page needs it.
    """
    if page.project not in PROJECTS:
        known = ", ".join(PROJECTS)
        raise PageError(f"{page.name}: no project {page.project!r}. Projects: {known}.")
    return PROJECTS[page.project](parent, reference)


def _empty(parent: Path, _: Callable[[], Path]) -> Path:
    folder = parent / "work"
    folder.mkdir()
    return folder


def _nyc_flights(parent: Path, reference: Callable[[], Path]) -> Path:
    return copy_project(reference(), parent / "nyc_flights")


PROJECTS = {"empty": _empty, "nyc_flights": _nyc_flights}


def copy_project(source: Path, target: Path) -> Path:
    """Copy a project; what Delta never changes, the files of its tables, is shared.

    The tracking store names its artifacts by their whole path: the copy gets its own.
    """
    shutil.copytree(source, target, copy_function=_copy_file)
    _move_store(target / "mlflow.db", str(source), str(target))
    return target


def _copy_file(source: str, target: str) -> None:
    if source.endswith(".parquet") and f"{os.sep}warehouse{os.sep}" in source:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    else:
        shutil.copy2(source, target)


def _move_store(database: Path, before: str, after: str) -> None:
    if not database.exists():
        return
    with closing(sqlite3.connect(database)) as store, store:
        tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, kind, *_ in store.execute(f'PRAGMA table_info("{table}")').fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    store.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                        f'WHERE instr("{column}", ?)',
                        (before, after, before),
                    )


def shared_files(project: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of the files that copies of a project share with it."""
    files = sorted((project / "warehouse").rglob("*.parquet"))
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def cached_reference() -> Path:
    """Give the reference project after its demo, made once for each state of the code."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):
        folder = CACHE / state_of_the_code() / "nyc_flights"
        if not (folder / ".complete").exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            run_demo(fresh_copy(folder))
            (folder / ".complete").touch()
            _remove_all_but_the_newest()
        folder.parent.touch()
    return folder


def _remove_all_but_the_newest(keep: int = 12) -> None:
    there = sorted(
        (one for one in CACHE.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime
    )
    for folder in there[:-keep]:
        shutil.rmtree(folder)


def state_of_the_code() -> str:
    """Return a hash of the code that a demo executes, and of the reference project."""
    digest = hashlib.sha256()
    files = [
        *(ROOT / "src").rglob("*"),
        *EXAMPLE.glob("*.*"),
        *(EXAMPLE / "transformations").rglob("*"),
    ]
    files += (EXAMPLE / "experiments").rglob("*")
    for file in sorted(files):
        if file.suffix in (".py", ".sql", ".yml", ".yaml", ".j2", ".html"):
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]
