"""One Delta table at one version: a reader without write methods."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from sololakehouse.errors import RunError
from sololakehouse.provenance import CommitRecord, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

RECORD_KEY = "sololakehouse"


@dataclass(frozen=True)
class HistoryEntry:
    """One commit of a table, newest first in a history.

    `timestamp` is in UTC; `record` is None for a commit that another writer made.
    """

    version: int
    timestamp: datetime
    operation: str
    record: CommitRecord | None


class Snapshot:
    """A table pinned to one version.

    Reading never changes the table, and later commits never change what a snapshot reads.
    """

    def __init__(self, name: str, path: Path, version: int | None = None) -> None:
        self.name = name
        self.path = path
        try:
            self._delta = DeltaTable(path, version=version)
        except DeltaError as error:
            raise RunError(f"{name} cannot be read from {path}: {error}") from error
        self.version: int = self._delta.version()

    def __repr__(self) -> str:
        return f"Snapshot({self.name}@v{self.version})"

    @property
    def table_version(self) -> TableVersion:
        """The identity that a commit record keeps of its inputs."""
        return TableVersion(table=self.name, version=self.version, table_id=self.table_id)

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
        """Number of rows, from the commit record or else from the file statistics."""
        record = self.record
        return record.manifest.rows if record else int(self._delta.count())

    @cached_property
    def record(self) -> CommitRecord | None:
        """The record of this version's own commit, None if another writer made it."""
        return self.commit.record

    @cached_property
    def commit(self) -> HistoryEntry:
        """The commit that made this version."""
        found = self._entry(self.version)
        return found or HistoryEntry(self.version, datetime.fromtimestamp(0, UTC), "UNKNOWN", None)

    def _entry(self, version: int) -> HistoryEntry | None:
        log = self.path / "_delta_log" / f"{version:020}.json"
        if not log.is_file():
            return None
        actions = (json.loads(line) for line in log.read_text("utf-8").splitlines() if line)
        infos = (action["commitInfo"] for action in actions if "commitInfo" in action)
        about: dict[str, Any] = next(infos, {})
        written = about.get(RECORD_KEY)
        return HistoryEntry(
            version=version,
            timestamp=datetime.fromtimestamp(about.get("timestamp", 0) / 1000, UTC),
            operation=str(about.get("operation", "UNKNOWN")),
            record=CommitRecord.model_validate_json(written) if written else None,
        )

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
        """Read the version lazily, column by column as needed."""
        import polars as pl

        return pl.scan_delta(self._delta)

    def to_arrow(self) -> pa.Table:
        """Read the whole version into memory as an Arrow table."""
        return self.to_polars().to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Read the whole version into memory as a pandas frame."""
        return self.to_polars().to_pandas()


def _type_name(delta_type: Any) -> str:
    return str(getattr(delta_type, "type", delta_type))
