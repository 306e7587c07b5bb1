"""Which files a table has taken, read from its commit records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.history import content_history
from sololakehouse.pipelines.columns import SOURCE_FILE, SOURCE_SHA256
from sololakehouse.provenance import CommitRecord

INGEST = "INGEST"
QUARANTINE = "QUARANTINE"


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
    history = lake.history(str(table.table_version))
    taken: dict[str, list[TakenFile]] = {}
    if len(history) <= table.version:
        for file in _files_of_rows(table):
            taken.setdefault(file.path, []).append(file)
    for entry in reversed(content_history(history)):
        if entry.record and entry.record.operation == operation:
            for file in files_of(entry.record):
                taken.setdefault(file.path, []).append(file)
    return taken


def _files_of_rows(table: Snapshot) -> list[TakenFile]:
    if not {SOURCE_FILE, SOURCE_SHA256} <= table.columns.keys():
        return []
    found = table.scan().select(SOURCE_FILE, SOURCE_SHA256).unique().collect()
    return [TakenFile(path, sha256, {}) for path, sha256 in sorted(found.rows())]
