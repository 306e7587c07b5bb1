"""One Delta table at one version: a reader without write methods."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from sololakehouse.errors import RunError
from sololakehouse.lake.damage import (
    damaged_entry,
    log_damage,
    refuse_damaged_files,
    refuse_empty_entries,
)
from sololakehouse.lake.failures import disk_error, one_line
from sololakehouse.lake.protocol import refuse_unreadable, unknown_feature, unreadable
from sololakehouse.provenance import CommitRecord, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

RECORD_KEY = "sololakehouse"


@dataclass(frozen=True)
class HistoryEntry:
    """One commit of a table, newest first in a history.

    `timestamp` is in UTC; `record` is None for a commit that another writer made. `changes_data` is
    False if the commit says that it changed no row and no schema: it only arranged files.
    """

    version: int
    timestamp: datetime
    operation: str
    record: CommitRecord | None
    changes_data: bool = True


class Snapshot:
    """A table pinned to one version.

    Reading never changes the table, and later commits never change what a snapshot reads.
    """

    def __init__(self, name: str, path: Path, version: int | None = None) -> None:
        self.name = name
        self.path = path
        try:
            self._delta = DeltaTable(path, version=version)
        except (DeltaError, OSError) as error:
            raise _cannot_be_opened(name, path, version, error) from error
        self.version: int = self._delta.version()
        refuse_empty_entries(path, name, self.version)
        refuse_unreadable(self._delta, name)

    def __repr__(self) -> str:
        return f"Snapshot({self.name}@v{self.version})"

    @property
    def table_version(self) -> TableVersion:
        """The identity that a commit record keeps of its inputs."""
        older = self.data_version if self.data_version != self.version else None
        return TableVersion(
            table=self.name, version=self.version, table_id=self.table_id, data_version=older
        )

    @property
    def data_version(self) -> int:
        """The version that wrote the rows; older if later commits only arranged the files."""
        record = self.record
        if record is not None and record.data_version is not None:
            return record.data_version
        return self._data_commit.version

    @cached_property
    def table_id(self) -> str:
        """The Delta table's own identifier; a table made anew has another one."""
        return str(self._delta.metadata().id)

    @cached_property
    def properties(self) -> dict[str, str]:
        """The Delta table properties, `delta.*` and the project's own."""
        return dict(self._delta.metadata().configuration)

    @cached_property
    def columns(self) -> dict[str, str]:
        """Column names with their Delta types, in the order of the table."""
        return {field.name: _type_name(field.type) for field in self._delta.schema().fields}

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns with their Arrow types, in the order of the table."""
        import pyarrow as pa

        return pa.schema(self._delta.schema().to_arrow())

    @cached_property
    def rows(self) -> int:
        """Number of rows, from the commit record or else counted in the files."""
        import polars as pl

        record = self.record
        if record:
            return record.manifest.rows
        return int(self.scan().select(pl.len()).collect().item())

    @cached_property
    def record(self) -> CommitRecord | None:
        """The record of the commit that made this version, None if another writer made it.

        Commits of other writers that only arranged files do not hide the record of the rows.
        """
        return self._data_commit.record

    @cached_property
    def _data_commit(self) -> HistoryEntry:
        commit = self.commit
        while commit.record is None and not commit.changes_data:
            before = self._entry(commit.version - 1)
            if before is None:
                break
            commit = before
        return commit

    @cached_property
    def commit(self) -> HistoryEntry:
        """The commit that made this version."""
        found = self._entry(self.version)
        return found or HistoryEntry(self.version, datetime.fromtimestamp(0, UTC), "UNKNOWN", None)

    def _entry(self, version: int) -> HistoryEntry | None:
        log = self.path / "_delta_log" / f"{version:020}.json"
        if not log.is_file():
            return None
        try:
            actions = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line]
            infos = (action["commitInfo"] for action in actions if "commitInfo" in action)
            about: dict[str, Any] = next(infos, {})
            written = about.get(RECORD_KEY)
            return HistoryEntry(
                version=version,
                timestamp=datetime.fromtimestamp(about.get("timestamp", 0) / 1000, UTC),
                operation=str(about.get("operation", "UNKNOWN")),
                record=CommitRecord.model_validate_json(written) if written else None,
                changes_data=changes_data(actions),
            )
        except (ValueError, TypeError, OSError) as error:
            raise damaged_entry(self.name, version, log, "is cut short or no JSON") from error

    def history(self, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits up to this version, newest first.

        They are read from the Delta log itself: `DeltaTable.history` numbers the commits of a
        table that has newer ones wrongly. Commits whose log file has been cleaned up are not there.
        """
        last = -1 if limit is None else max(-1, self.version - limit)
        entries = (self._entry(version) for version in range(self.version, last, -1))
        return [entry for entry in entries if entry is not None]

    def record_of(self, fingerprint: str) -> CommitRecord | None:
        """Return the newest record with a fingerprint in the history; None if there is none."""
        records = (entry.record for entry in self.history())
        return next((r for r in records if r and r.fingerprint == fingerprint), None)

    def file_uris(self) -> list[str]:
        """Return the data files of this version."""
        return list(self._delta.file_uris())

    def has_transaction(self, transaction: Transaction) -> bool:
        """Whether the application's transaction, or a later one, is part of this version."""
        newest = self.transaction_version(transaction.app_id)
        return newest is not None and newest >= transaction.version

    def transaction_version(self, app_id: str) -> int | None:
        """Return an application's newest transaction in this version; None if it has none."""
        version = self._delta.transaction_version(app_id)
        return None if version is None else int(version)

    def to_polars(self) -> pl.DataFrame:
        """Read the whole version into memory."""
        return self.scan().collect()

    def scan(self) -> pl.LazyFrame:
        """Read the version lazily, column by column as needed.

        Raises
        ------
        RunError
            A data file is missing or cut short, or the log has lost some of them.
        """
        import polars as pl

        self.verify()
        return pl.scan_delta(self._delta)

    def verify(self) -> None:
        """Check that each data file is there in full length, and that none is missing in the log.

        Raises
        ------
        RunError
            Names the file.
        """
        refuse_damaged_files(self._delta, self.path, self.name, self.record)

    def to_arrow(self) -> pa.Table:
        """Read the whole version into memory as an Arrow table."""
        return self.to_polars().to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Read the whole version into memory as a pandas frame."""
        return self.to_polars().to_pandas()


def _cannot_be_opened(
    name: str, path: Path, version: int | None, error: DeltaError | OSError
) -> RunError:
    feature = unknown_feature(error)
    if feature:
        return unreadable(name, [feature])
    said = log_damage(path, name, version) or disk_error(error, path)
    return said or RunError(f"{name} cannot be read from {path}: {one_line(error)}.")


def changes_data(actions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a commit of these actions changed rows or schema, by what Delta's actions say.

    Examples
    --------
    >>> changes_data([{"commitInfo": {}}, {"add": {"path": "a.parquet", "dataChange": False}}])
    False
    """
    for action in actions:
        if action.keys() & {"metaData", "protocol"}:
            return True
        for kind in ("add", "remove"):
            if action.get(kind, {"dataChange": False}).get("dataChange", True):
                return True
    return False


def _type_name(delta_type: Any) -> str:
    return str(getattr(delta_type, "type", delta_type))
