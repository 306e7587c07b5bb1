"""Which commits the rows of a version come from, read without opening the Delta table.

Opening a table replays its whole log. Lineage asks hundreds of tables for single commits, so it
reads the entries themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from sololakehouse.errors import RunError
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.columns import Column, columns_of
from sololakehouse.lake.damage import LOG, damaged_entry, located, newest_version
from sololakehouse.lake.history import HistoryEntry, oldest_readable, read_commit
from sololakehouse.lake.table import Snapshot


class TableCommits:
    """The commits of one table, from its log or else from `system.archived_commits`.

    Of a table that was dropped, also if another one has its name now, the archive alone knows.

    Parameters
    ----------
    table_id
        Of the table that is meant; None: the one that there is.
    """

    def __init__(self, lake: Lakehouse, table: str, table_id: str | None = None) -> None:
        self._lake = lake
        self._entries: dict[int, HistoryEntry | None] = {}
        self.table = table
        self.folder = lake.path(table)
        self.exists = lake.exists(table) and (table_id is None or self._is(table_id))
        self.table_id = table_id or self._first_id

    @cached_property
    def newest(self) -> int:
        """The newest version; of a table that was dropped, the newest that is archived, or -1."""
        return newest_version(self.folder) if self.exists else max(self._archived, default=-1)

    def commit(self, version: int) -> HistoryEntry | None:
        """Return the commit of a version; None if nothing is known of it.

        Raises
        ------
        RunError
            Its log entry is damaged.
        """
        if version not in self._entries:
            log = self.folder / LOG
            found = read_commit(self.table, log, version) if self.exists else None
            self._entries[version] = found or self._archived.get(version)
        return self._entries[version]

    def rows_version(self, version: int) -> int:
        """Return the version that a version has the rows of, if it only arranged files.

        Raises
        ------
        RunError
            A log entry is damaged.
        """
        while (entry := self.commit(version)) is not None:
            if entry.record is not None:
                return version if entry.record.data_version is None else entry.record.data_version
            if entry.changes_data:
                break
            version -= 1
        return version

    def of_rows(self, version: int) -> Iterator[HistoryEntry | None]:
        """Give the commits that the rows of a version come from, newest first.

        The last one replaced all rows, brought back those of another version, or is the first of
        the table. None stands for all that are older than a commit of which nothing is known.

        Raises
        ------
        RunError
            A log entry is damaged.
        """
        for older in range(version, -1, -1):
            entry = self.commit(older)
            if entry is None or entry.changes_rows:
                yield entry
            if entry is None or (
                entry.changes_rows and (entry.replaces_rows or entry.restored is not None)
            ):
                return

    def committed_by(self, run_id: str) -> int | None:
        """Return the newest version that a run committed; None if it committed none.

        Raises
        ------
        RunError
            A log entry is damaged.
        """
        for version in range(self.newest, -1, -1):
            if self._may_name(version, run_id.encode()):
                entry = self.commit(version)
                if entry is not None and entry.record and entry.record.run_id == run_id:
                    return version
        return None

    def columns(self, version: int) -> tuple[Column, ...]:
        """Return the columns of a version; none if the log does not say them any more.

        Raises
        ------
        RunError
            A log entry is damaged.
        """
        for older in range(version if self.exists else -1, -1, -1):
            if self._may_name(older, b'"metaData"'):
                for kind, about in self._actions(older):
                    if kind == "metaData":
                        return columns_of(about["schemaString"])
        return ()

    def has_lost_files(self, version: int) -> bool:
        """Whether a data file of a version, or its log entry, is gone as after a vacuum.

        Raises
        ------
        RunError
            A log entry is damaged.
        """
        if not self.exists or version < oldest_readable(self.folder / LOG):
            return True
        return any(not file.exists() for file in self._data_files(version))

    def _data_files(self, version: int) -> Iterator[Path]:
        removed: set[str] = set()
        for older in range(version, -1, -1):
            entry = self.commit(older)
            if entry is None or entry.archived or entry.restored is not None:
                yield from Snapshot(self.table, self.folder, version).data_files
                return
            for kind, about in self._actions(older):
                if kind == "remove":
                    removed.add(about["path"])
                elif kind == "add" and about["path"] not in removed:
                    yield located(self.folder, about["path"])
            if entry.replaces_rows:
                return

    def _may_name(self, version: int, text: bytes) -> bool:
        """Whether an entry holds a text; parsing it takes ten times as long as looking."""
        try:
            return text in self._file(version).read_bytes()
        except FileNotFoundError:
            return version in self._archived

    def _actions(self, version: int) -> Iterator[tuple[str, dict[str, Any]]]:
        file = self._file(version)
        lines = file.read_text("utf-8").splitlines() if file.is_file() else ()
        for line in filter(None, lines):
            try:
                yield from json.loads(line).items()
            except ValueError as error:
                raise damaged_entry(self.table, version, file, "is cut short") from error

    def _file(self, version: int) -> Path:
        return self.folder / LOG / f"{version:020}.json"

    @cached_property
    def _archived(self) -> dict[int, HistoryEntry]:
        archived = self._lake.archived_commits(self.table, self.table_id)
        return {entry.version: entry for entry in archived}

    @cached_property
    def _first_id(self) -> str:
        """The table's identifier as its first log entry says it; empty if that is damaged."""
        try:
            for kind, about in self._actions(0):
                if kind == "metaData":
                    return str(about["id"])
        except RunError:
            return ""
        return self._newest_id

    @cached_property
    def _newest_id(self) -> str:
        return self._lake.read(self.table).table_id

    def _is(self, table_id: str) -> bool:
        """Whether the table there is the one that is meant, as far as its log can be read.

        It has another identifier since a `CREATE OR REPLACE`.
        """
        try:
            return self._first_id == table_id or self._newest_id == table_id
        except RunError:
            return True
