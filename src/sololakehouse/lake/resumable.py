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
from sololakehouse.lake.lock import work_lock
from sololakehouse.provenance import Manifest

UNFINISHED = "_unfinished"


@dataclass(frozen=True)
class Chunk:
    """Finished rows in a Parquet file, and their manifest."""

    file: Path
    manifest: Manifest


class ResumableWork:
    """The finished chunks of one piece of work, in their order, and files beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows_folder = folder / "rows"
        self.beside = folder / "beside"
        self.rows_folder.mkdir(parents=True, exist_ok=True)
        # What a killed process kept beside its memory is of no use to another one.
        shutil.rmtree(self.beside, ignore_errors=True)
        self.beside.mkdir()
        self._remove_unfinished()

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks that are finished, from the first to the last before a gap."""
        found: list[Chunk] = []
        while (known := self._finished(len(found))) is not None:
            found.append(known)
        return found

    def add(self, number: int, write: Callable[[Path], Manifest]) -> Chunk:
        """Make a chunk with a function that writes its file; it counts when it is on the disk."""
        file = self._file(number)
        partial = self.beside / file.name
        manifest = write(partial)
        flush(partial)
        about = partial.with_suffix(".json")
        about.write_text(
            json.dumps({"bytes": partial.stat().st_size, "manifest": manifest.model_dump()})
        )
        flush(about)
        partial.replace(file)
        about.replace(self._about(number))
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

    def _finished(self, number: int) -> Chunk | None:
        file, about = self._file(number), self._about(number)
        if not (file.exists() and about.exists()):
            return None
        known = json.loads(about.read_text("utf-8"))
        if file.stat().st_size != known["bytes"]:
            return None
        return Chunk(file, Manifest.model_validate(known["manifest"]))

    def _file(self, number: int) -> Path:
        return self.rows_folder / f"part-{number:05}.parquet"

    def _about(self, number: int) -> Path:
        return self.folder / f"part-{number:05}.json"


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
