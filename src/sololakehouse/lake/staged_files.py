"""The files of one commit, on their way from the staging folder into the table's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from deltalake.transaction import AddAction

from sololakehouse.lake.damage import LOG, log_versions, newest_version
from sololakehouse.lake.statistics import file_statistics
from sololakehouse.lake.table import Snapshot


class StagedFiles:
    """The files of one commit, from the moment on when they are in the table's folder."""

    def __init__(self, table: str, folder: Path, run_id: str, flush: Callable[..., None]) -> None:
        self._table = table
        self._folder = folder
        self._run_id = run_id
        self._flush = flush
        self._before = newest_version(folder)
        self.adds: list[AddAction] = []

    def move(self, files: Sequence[Path]) -> None:
        """Move files into the table's folder and make sure that they are on the disk."""
        for file in files:
            self.adds.append(self._moved(file))
        self._flush(*(self._folder / add.path for add in self.adds), self._folder)

    def committed(self) -> Snapshot | None:
        """Return the version that names the files, if the commit was made after all.

        A commit may be made although an error is reported, for example if only the checkpoint
        after it failed.
        """
        names = [add.path for add in self.adds[:1]]
        for version in log_versions(self._folder) if names else ():
            entry = self._folder / LOG / f"{version:020}.json"
            if version > self._before and f'"{names[0]}"' in entry.read_text("utf-8"):
                return Snapshot(self._table, self._folder, version)
        return None

    def remove(self) -> None:
        """Remove the files again."""
        for add in self.adds:
            (self._folder / add.path).unlink(missing_ok=True)

    def _moved(self, file: Path) -> AddAction:
        about = file.stat()
        add = AddAction(
            path=f"part-{self._run_id}-{uuid.uuid4().hex[:12]}.parquet",
            size=about.st_size,
            partition_values={},
            modification_time=int(about.st_mtime * 1000),
            data_change=True,
            stats=json.dumps(file_statistics(file)),
        )
        file.rename(self._folder / add.path)
        return add
