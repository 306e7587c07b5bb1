"""`system.archived_commits`: the commit records whose log entries `slh vacuum` removed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sololakehouse.lake.catalog import ARCHIVED_COMMITS
from sololakehouse.lake.commit import LakeWriter
from sololakehouse.lake.history import RECORD_KEY
from sololakehouse.lake.log import LogEntry
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    import polars as pl

OPERATION = "ARCHIVE COMMITS"


def archive_commits(
    writer: LakeWriter, table: str, table_id: str, entries: Iterable[LogEntry]
) -> int:
    """Keep commits in the archive; those that are there stay as they are.

    Returns
    -------
    The number of commits that were added.
    """
    known = {entry.version for entry in writer.lake.archived_commits(table, table_id)}
    rows = [_row(table, table_id, entry) for entry in entries if entry.version not in known]
    if rows:
        mark = fingerprint(OPERATION, table, table_id, [row["version"] for row in rows])
        moments = ("table_id", "timestamp", "record")
        change = Change(OPERATION, mark, left_out=moments)
        writer.write_frame(ARCHIVED_COMMITS, _frame(rows), change, mode="append")
    return len(rows)


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
