"""Long work in steps: what a killed process had finished is there for the next one.

The files lie under `warehouse/_unfinished/<table>/<work>/`, where readers of tables do not look.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sololakehouse.lake.commit import flush
from sololakehouse.lake.failures import disk_errors
from sololakehouse.lake.lock import is_worked_on, work_lock
from sololakehouse.provenance import Manifest

UNFINISHED = "_unfinished"
_ROWS = "rows"


@dataclass(frozen=True)
class Chunk:
    """Finished rows in a Parquet file, and their manifest."""

    file: Path
    manifest: Manifest


@dataclass(frozen=True)
class LeftWork:
    """What a killed process left of its work on a table.

    Attributes
    ----------
    rows
        In the chunks that are finished.
    bytes
        Of all that lies there.
    """

    table: str
    folder: Path
    rows: int
    bytes: int


def left_work(warehouse: Path) -> list[LeftWork]:
    """Return the work that was begun and that no process is at; nothing is changed."""
    root = warehouse / UNFINISHED
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [_left(one) for one in folders if not is_worked_on(warehouse, one.name)]


def _left(folder: Path) -> LeftWork:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    chunks = [chunk for work in folder.iterdir() for chunk in _finished_chunks(work)]
    return LeftWork(folder.name, folder, sum(chunk.manifest.rows for chunk in chunks), size)


class ResumableWork:
    """The finished chunks of one piece of work, in their order, and files beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows_folder = folder / _ROWS
        self.beside = folder / "beside"
        self.rows_folder.mkdir(parents=True, exist_ok=True)
        # What a killed process kept beside its memory is of no use to another one.
        shutil.rmtree(self.beside, ignore_errors=True)
        self.beside.mkdir()
        self._remove_unfinished()

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks that are finished, from the first to the last before a gap."""
        return _finished_chunks(self.folder)

    def add(self, number: int, write: Callable[[Path], Manifest]) -> Chunk:
        """Make a chunk with a function that writes its file; it counts when it is on the disk."""
        file = _chunk_file(self.folder, number)
        partial = self.beside / file.name
        manifest = write(partial)
        flush(partial)
        about = partial.with_suffix(".json")
        about.write_text(
            json.dumps({"bytes": partial.stat().st_size, "manifest": manifest.model_dump()})
        )
        flush(about)
        partial.replace(file)
        about.replace(_about_chunk(self.folder, number))
        return Chunk(file, manifest)

    def once(self, name: str, write: Callable[[Path], None]) -> Path:
        """Return a file that the function writes, unless an earlier process has."""
        file = self.folder / name
        if not file.exists():
            partial = self.beside / name
            write(partial)
            flush(partial)
            partial.replace(file)
        return file

    def _remove_unfinished(self) -> None:
        finished = {chunk.file for chunk in self.chunks}
        for file in self.rows_folder.iterdir():
            if file not in finished:
                file.unlink()


def _finished_chunks(folder: Path) -> list[Chunk]:
    found: list[Chunk] = []
    while (known := _finished(folder, len(found))) is not None:
        found.append(known)
    return found


def _finished(folder: Path, number: int) -> Chunk | None:
    file, about = _chunk_file(folder, number), _about_chunk(folder, number)
    if not (file.exists() and about.exists()):
        return None
    known = json.loads(about.read_text("utf-8"))
    if file.stat().st_size != known["bytes"]:
        return None
    return Chunk(file, Manifest.model_validate(known["manifest"]))


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / _ROWS / f"part-{number:05}.parquet"


def _about_chunk(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05}.json"


@contextmanager
def resumable_work(warehouse: Path, table: str, work: str, command: str) -> Iterator[ResumableWork]:
    """Give the place of a piece of work on a table.

    It is removed when the work succeeds, or fails before a chunk is finished. What is left of other
    work on the table is removed first: its inputs were others.

    Parameters
    ----------
    work
        Tells the work, whose chunks are the same whoever makes them, from all other work.
    command
        What is told to a person if another process is at it.

    Raises
    ------
    BusyError
        Another process works on the table.
    RunError
        The disk is full, read-only or not permitted.
    """
    root = warehouse / UNFINISHED / table
    with work_lock(warehouse, table, command), disk_errors(root):
        for other in root.iterdir() if root.is_dir() else ():
            if other.name != work:
                shutil.rmtree(other)
        place = ResumableWork(root / work)
        try:
            yield place
        except BaseException:
            if not place.chunks:
                _remove(root)
            raise
        _remove(root)


def _remove(root: Path) -> None:
    shutil.rmtree(root)
    with suppress(OSError):
        root.parent.rmdir()
