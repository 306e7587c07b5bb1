"""`system.archived_commits`: the commit records whose log entries `slh vacuum` removed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.commit import LakeWriter
from sololakehouse.lake.log import LogEntry
from sololakehouse.lake.table import RECORD_KEY, HistoryEntry
from sololakehouse.provenance import Change, CommitRecord, fingerprint

if TYPE_CHECKING:
    import polars as pl

ARCHIVE = "system.archived_commits"
OPERATION = "ARCHIVE COMMITS"


def archived_commits(lake: Lakehouse, table: str, table_id: str) -> list[HistoryEntry]:
    """Return the archived commits of a table, newest first.

    Parameters
    ----------
    table_id
        The Delta table's identifier: a later table of the same name has other commits.
    """
    rows = [
        row
        for row in _rows(lake).to_dicts()
        if (row["table"], row["table_id"]) == (table, table_id)
    ]
    return [_history_entry(row) for row in sorted(rows, key=_version, reverse=True)]


def archive_commits(
    writer: LakeWriter, table: str, table_id: str, entries: Iterable[LogEntry]
) -> int:
    """Keep commits in the archive; those that are there stay as they are.

    Returns
    -------
    The number of commits that were added.
    """
    known = {entry.version for entry in archived_commits(writer.lake, table, table_id)}
    rows = [_row(table, table_id, entry) for entry in entries if entry.version not in known]
    if rows:
        mark = fingerprint(OPERATION, table, table_id, [row["version"] for row in rows])
        moments = ("table_id", "timestamp", "record")
        change = Change(OPERATION, mark, left_out=moments)
        writer.write_frame(ARCHIVE, _frame(rows), change, mode="append")
    return len(rows)


def _rows(lake: Lakehouse) -> pl.DataFrame:
    stored = lake.newest(ARCHIVE)
    return stored.to_polars() if stored else _frame([])


def _version(row: dict[str, Any]) -> int:
    return int(row["version"])


def _history_entry(row: dict[str, Any]) -> HistoryEntry:
    record = row["record"]
    return HistoryEntry(
        version=row["version"],
        timestamp=row["timestamp"],
        operation=row["operation"],
        record=CommitRecord.model_validate_json(record) if record else None,
    )


def _row(table: str, table_id: str, entry: LogEntry) -> dict[str, Any]:
    record = entry.info.get(RECORD_KEY)
    return {
        "table": table,
        "table_id": table_id,
        "version": entry.version,
        "timestamp": entry.timestamp,
        "operation": str(entry.info.get("operation", "UNKNOWN")),
        "record": record if record is None or isinstance(record, str) else json.dumps(record),
    }


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    schema = {
        "table": pl.String(),
        "table_id": pl.String(),
        "version": pl.Int64(),
        "timestamp": pl.Datetime("us", "UTC"),
        "operation": pl.String(),
        "record": pl.String(),
    }
    return pl.DataFrame(rows, schema=schema)
