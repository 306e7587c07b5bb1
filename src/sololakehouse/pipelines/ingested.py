"""Which files a table has taken, read from its commit records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.pipelines.columns import SOURCE_FILE, SOURCE_SHA256
from sololakehouse.provenance import CommitRecord

INGEST = "INGEST"
QUARANTINE = "QUARANTINE"
RESTORE = "RESTORE"
ARCHIVE = "system.archived_commits"


@dataclass(frozen=True)
class TakenFile:
    """A landing file's content, as a commit took it.

    `about` is what the commit record says besides: `rows`, `accepted`, `quarantined`, `action`.
    """

    path: str
    sha256: str
    about: Mapping[str, Any]


def files_of(record: CommitRecord) -> list[TakenFile]:
    """Return the files that a commit record lists; early records have the SHA-256 only."""
    return [
        TakenFile(path, known, {})
        if isinstance(known, str)
        else TakenFile(path, known["sha256"], known)
        for path, known in record.details.get("files", {}).items()
    ]


def ingested_files(
    lake: Lakehouse, table: Snapshot | None, operation: str = INGEST
) -> dict[str, list[TakenFile]]:
    """Return each path that is in a table with its contents, the newest last.

    Files that came after the version to which the table was restored are not in it any more, and
    new again. Commit records whose log entries were cleaned up are read from
    `system.archived_commits`. If records are in neither, the table's own rows say which files they
    came from.
    """
    if table is None:
        return {}
    records = _records(lake, table)
    taken: dict[str, list[TakenFile]] = {}
    if len(records) <= table.version:
        for file in _files_of_rows(table):
            taken.setdefault(file.path, []).append(file)
    for record in _not_taken_back(records):
        if record.operation == operation:
            for file in files_of(record):
                taken.setdefault(file.path, []).append(file)
    return taken


def _not_taken_back(records: Mapping[int, CommitRecord | None]) -> list[CommitRecord]:
    kept: list[CommitRecord] = []
    limit = max(records, default=0)
    for version, record in sorted(records.items(), reverse=True):
        if version > limit or record is None:
            continue
        kept.append(record)
        if record.operation == RESTORE:
            limit = min(limit, int(record.details.get("restored", {}).get("version", limit)))
    return kept[::-1]


def _records(lake: Lakehouse, table: Snapshot) -> dict[int, CommitRecord | None]:
    records = {entry.version: entry.record for entry in table.history()}
    if len(records) <= table.version:
        records = _archived(lake, table) | records
    return records


def _archived(lake: Lakehouse, table: Snapshot) -> dict[int, CommitRecord | None]:
    import polars as pl

    archive = lake.newest(ARCHIVE)
    if archive is None:
        return {}
    own = archive.scan().filter(pl.col("table_id") == table.table_id).select("version", "record")
    return {
        version: CommitRecord.model_validate_json(record) if record else None
        for version, record in own.collect().rows()
        if version <= table.version
    }


def _files_of_rows(table: Snapshot) -> list[TakenFile]:
    if not {SOURCE_FILE, SOURCE_SHA256} <= table.columns.keys():
        return []
    found = table.scan().select(SOURCE_FILE, SOURCE_SHA256).unique().collect()
    return [TakenFile(path, sha256, {}) for path, sha256 in sorted(found.rows())]
