"""The tables of a project: `warehouse/<schema>/<table>`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sololakehouse.config import Project
from sololakehouse.config.table_name import TABLE_NAME
from sololakehouse.engine import Engine
from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.lake.damage import LOG, is_table, log_state, newest_version
from sololakehouse.lake.history import HistoryEntry, oldest_readable, version_at
from sololakehouse.lake.reference import parse_moment, split_reference
from sololakehouse.lake.staging import staging_folder
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import CommitRecord

ARCHIVED_COMMITS = "system.archived_commits"
_OPEN_AT_ONCE = 4
# What the archive does not tell of commits without a record: whether they changed rows.
_NO_ROWS = (
    "CREATE TABLE",
    "SET TBLPROPERTIES",
    "ADD COLUMN",
    "OPTIMIZE",
    "VACUUM START",
    "VACUUM END",
)


class Lakehouse:
    """A project's tables, for reading.

    Examples
    --------
    >>> lake = Lakehouse.open()
    >>> planes = lake.read("features.planes", version=1)
    >>> planes, planes.to_polars()["seats"].to_list()
    (Snapshot(features.planes@v1), [55])
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._newest: dict[str, tuple[Any, Snapshot]] = {}

    @classmethod
    def open(cls, folder: str | Path | None = None, *, engine: str | None = None) -> Lakehouse:
        """Open the project in `folder` (or the nearest one above it; default: here).

        Parameters
        ----------
        engine
            What computes: `embedded`, or a Spark Connect server's `sc://host:port`. None: what
            `SOLOLAKEHOUSE_ENGINE` says, or else `lakehouse.yml`.
        """
        return cls(Project.find(Path(folder) if folder is not None else None, engine))

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Open a session on the project's engine and close it afterwards; it has no table yet.

        Raises
        ------
        EngineError
            The server does not answer, or does not share this machine's files.
        """
        staging = partial(staging_folder, self.project.warehouse)
        with Engine.start(self.project.settings.engine, staging) as engine:
            yield engine

    def table_names(self) -> list[str]:
        """Return the names of all tables, sorted."""
        return sorted(self._names())

    def without_log(self) -> list[str]:
        """Return the names of folders that hold data files and no commit, sorted."""
        files = self.project.warehouse.glob("*/*/*.parquet")
        places = {(file.parent.parent.name, file.parent.name) for file in files}
        names = (".".join(place) for place in places)
        return sorted(n for n in names if re.match(TABLE_NAME, n) and not self.exists(n))

    def exists(self, table: str) -> bool:
        """Whether the table has at least one commit."""
        return is_table(self.path(table))

    def path(self, table: str) -> Path:
        """Return the folder of a table, whether or not the table exists.

        Raises
        ------
        UsageError
            The name is not of the form `schema.table`.
        """
        if not re.match(TABLE_NAME, table):
            raise UsageError(f"{table!r} is no table name. Write schema.table, as in gold.sales.")
        return self.project.warehouse.joinpath(*table.split("."))

    def read(
        self,
        table: str,
        version: int | None = None,
        timestamp: datetime | str | None = None,
    ) -> Snapshot:
        """Pin a table to a version (default: the newest).

        Parameters
        ----------
        table
            `schema.table`, `schema.table@v3` or `schema.table@2026-01-31T00:00:00Z`.
        version
            Delta version, 0 or greater.
        timestamp
            A moment as a datetime or as ISO 8601 text, with a time zone unless the project declares
            one. It means the newest version that was committed at or before it. Between the last
            commit and now that is the newest version; a later moment is refused.

        Raises
        ------
        NotFoundError
            There is no such table, or it has no such version, or none at that moment.
        UsageError
            The moment has no time zone and the project declares none, or the version is said more
            than once.
        RunError
            The version needs a file that is damaged, or a Delta feature that is not known here.
        """
        zone = self.project.settings.time_zone
        name, written = split_reference(table, zone)
        if sum(at is not None for at in (written, version, timestamp)) > 1:
            raise UsageError(f"{table}: say which version once: @, version or timestamp.")
        if not self.exists(name):
            self._refuse_lost_log(name)
            raise NotFoundError.of("table", name, self.table_names())
        asked = next((at for at in (written, version, timestamp) if at is not None), None)
        if asked is None:
            return self._pinned(name)
        if isinstance(asked, datetime | str):
            commits = self._commits(self._pinned(name))
            asked = version_at(name, commits, parse_moment(asked, zone))
        newest, oldest = newest_version(self.path(name)), oldest_readable(self.path(name) / LOG)
        if not oldest <= asked <= newest:
            known = f"has no version {asked}"
            if 0 <= asked < oldest:
                known = f"has no version {asked} any more: its log entries were cleaned up"
            vacuumed = self._vacuumed(name, asked)
            raise NotFoundError(f"{vacuumed}{name} {known}. Its versions are {oldest} to {newest}.")
        return Snapshot(name, self.path(name), asked)

    def _refuse_lost_log(self, table: str) -> None:
        if any(self.path(table).glob("*.parquet")):
            raise RunError(
                f"{table}: {self.path(table)} holds data files, but no log entry says which rows "
                f"are in it. Put its {LOG} back from a backup, or remove the folder."
            )

    def _vacuumed(self, table: str, version: int) -> str:
        from sololakehouse.lake.vacuumed import vacuumed_version

        table_id = self._pinned(table).table_id
        known = vacuumed_version(self.project.warehouse, table_id, version)
        return f"{known} " if known else ""

    def history(self, table: str, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits of a table up to the referenced version, newest first.

        Commits whose log entries were cleaned up are there too, from `system.archived_commits`.
        Another writer may have cleaned up without keeping them: those are not there.

        Raises
        ------
        NotFoundError
            There is no such table or version.
        """
        return self._commits(self.read(table), limit)

    def archived_commits(self, table: str, table_id: str) -> list[HistoryEntry]:
        """Return the commits of a table whose log entries were cleaned up, newest first."""
        import polars as pl

        if not self.exists(ARCHIVED_COMMITS):
            return []
        rows = self.read(ARCHIVED_COMMITS).scan()
        ours = rows.filter(pl.col("table") == table, pl.col("table_id") == table_id)
        newest_first = ours.unique("version").sort("version", descending=True).collect()
        return [_archived(row) for row in newest_first.iter_rows(named=True)]

    def newest(self, table: str) -> Snapshot | None:
        """Pin a table to its newest version; None if it does not exist."""
        return self._pinned(table) if self.exists(table) else None

    def committed(self, snapshot: Snapshot) -> None:
        """Take note of a version that was just committed, if no newer one is there."""
        state = log_state(snapshot.path)
        if newest_version(snapshot.path) == snapshot.version and log_state(snapshot.path) == state:
            self._newest[snapshot.name] = (state, snapshot)

    def _pinned(self, table: str) -> Snapshot:
        """Open the newest version, or give the one that was opened if the log is as it was."""
        state = log_state(self.path(table))
        known, snapshot = self._newest.get(table, (None, None))
        if snapshot is None or known != state:
            snapshot = Snapshot(table, self.path(table))
            self._newest[table] = (state, snapshot)
        return snapshot

    def _commits(self, snapshot: Snapshot, limit: int | None = None) -> list[HistoryEntry]:
        found = snapshot.history(limit)
        oldest = found[-1].version if found else snapshot.version + 1
        if oldest == 0 or len(found) == limit:
            return found
        known = {entry.version for entry in found}
        archived = [
            entry
            for entry in self.archived_commits(snapshot.name, snapshot.table_id)
            if entry.version <= snapshot.version and entry.version not in known
        ]
        merged = sorted([*found, *archived], key=lambda entry: entry.version, reverse=True)
        return merged[:limit]

    def _names(self) -> Iterator[str]:
        for log in self.project.warehouse.glob("*/*/_delta_log"):
            name = f"{log.parent.parent.name}.{log.parent.name}"
            if re.match(TABLE_NAME, name) and is_table(log.parent):
                yield name


def newest_versions(lake: Lakehouse, names: Iterable[str]) -> dict[str, Snapshot]:
    """Return the newest versions of those of some tables that exist.

    Raises
    ------
    RunError
        One of them cannot be opened.
    """
    named = list(names)
    with ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        found = zip(named, pool.map(lake.newest, named), strict=True)
        return {name: newest for name, newest in found if newest is not None}


def healthy_and_damaged(
    lake: Lakehouse, names: Iterable[str]
) -> tuple[list[Snapshot], dict[str, RunError]]:
    """Return the newest version of tables, and apart why the others cannot be read."""
    healthy: list[Snapshot] = []
    damaged: dict[str, RunError] = {}
    named = list(names)
    with ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        for name, found in zip(named, pool.map(partial(_checked, lake), named), strict=True):
            if isinstance(found, RunError):
                damaged[name] = found
            else:
                healthy.append(found)
    return healthy, damaged


def _checked(lake: Lakehouse, name: str) -> Snapshot | RunError:
    try:
        snapshot = lake.read(name)
        snapshot.verify()
    except RunError as error:
        return error
    return snapshot


def _archived(row: dict[str, Any]) -> HistoryEntry:
    record = CommitRecord.model_validate_json(row["record"]) if row["record"] else None
    return HistoryEntry(
        version=row["version"],
        timestamp=row["timestamp"].astimezone(UTC),
        operation=row["operation"],
        record=record,
        restored=record.restored_version if record else None,
        archived=True,
        changes_rows=record.data_version is None if record else row["operation"] not in _NO_ROWS,
    )
