"""The commits of a table, read from its Delta log, and what a moment means in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sololakehouse.errors import NotFoundError
from sololakehouse.lake.damage import damaged_entry, log_actions
from sololakehouse.provenance import CommitRecord

RECORD_KEY = "sololakehouse"
RESTORE = "RESTORE"
_COMMIT_FILE = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT_FILE = re.compile(r"^(\d{20})\.checkpoint\.(?:.*\.)?(?:parquet|json)$")
_BEGINNING = 40


@dataclass(frozen=True)
class HistoryEntry:
    """One commit of a table, newest first in a history.

    Attributes
    ----------
    timestamp
        When the commit was made, in UTC.
    operation
        Delta's own name of what was done, such as `WRITE`.
    record
        None for a commit that another writer made.
    restored
        The version whose content the commit brought back; None if it is no restore.
    archived
        Whether the commit is known from `system.archived_commits` alone: its log entry was
        cleaned up.
    changes_data
        False if a commit of another writer says that it changed no row and no schema: it only
        arranged files.
    changes_rows
        False if no row was added or removed: it arranged files, or changed schema or properties.
    overwrites
        Whether Delta says that it replaced all rows.
    """

    version: int
    timestamp: datetime
    operation: str
    record: CommitRecord | None
    restored: int | None = None
    archived: bool = False
    changes_data: bool = True
    changes_rows: bool = True
    overwrites: bool = False

    @property
    def replaces_rows(self) -> bool:
        """Whether no row from before it is left; an archived commit of another writer says no."""
        if self.record is None:
            return self.overwrites
        return self.record.rows_written == self.record.manifest.rows


def commit_versions(log: Path) -> list[int]:
    """Return the versions whose commit is still in the log folder, oldest first."""
    found = (_COMMIT_FILE.match(file.name) for file in log.iterdir()) if log.is_dir() else ()
    return sorted(int(match[1]) for match in found if match)


def oldest_readable(log: Path) -> int:
    """Return the oldest version that can be read: 0, or that of the oldest checkpoint."""
    commits = commit_versions(log)
    if commits and commits[0] == 0:
        return 0
    found = (_CHECKPOINT_FILE.match(file.name) for file in log.iterdir())
    return min((int(match[1]) for match in found if match), default=0)


def read_commit(table: str, log: Path, version: int) -> HistoryEntry | None:
    """Read one commit from the log folder of a table; None if its file has been cleaned up.

    A commit without a timestamp of its own has the one of its file, as in Delta's protocol.

    Raises
    ------
    RunError
        The file is damaged: names it.
    """
    file = log / f"{version:020}.json"
    try:
        return _read_commit(file, version)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as error:
        raise damaged_entry(table, version, file, "is cut short or no JSON") from error


def _read_commit(file: Path, version: int) -> HistoryEntry:
    about = _commit_info(file)
    moment = about.get("inCommitTimestamp", about.get("timestamp"))
    milliseconds = file.stat().st_mtime * 1000 if moment is None else moment
    written = about.get(RECORD_KEY)
    record = CommitRecord.model_validate_json(written) if written else None
    operation = str(about.get("operation", "UNKNOWN"))
    actions = [] if record else log_actions(file)
    return HistoryEntry(
        version=version,
        timestamp=datetime.fromtimestamp(milliseconds / 1000, UTC),
        operation=operation,
        record=record,
        restored=_restored(about) if operation == RESTORE else None,
        changes_data=record is not None or changes_data(actions),
        changes_rows=record.data_version is None if record else changes_rows(actions),
        overwrites=_overwrites(about),
    )


def changes_data(actions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a commit of these actions changed rows or schema, by what Delta's actions say.

    Examples
    --------
    >>> changes_data([{"commitInfo": {}}, {"add": {"path": "a.parquet", "dataChange": False}}])
    False
    """
    return any(
        action.keys() & {"metaData", "protocol"} or _changes_rows(action) for action in actions
    )


def changes_rows(actions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a commit of these actions added or removed rows, by what Delta's actions say.

    Examples
    --------
    >>> changes_rows([{"metaData": {}}]), changes_rows([{"remove": {"path": "a.parquet"}}])
    (False, True)
    """
    return any(map(_changes_rows, actions))


def _changes_rows(action: Mapping[str, Any]) -> bool:
    kinds = (action.get(kind) for kind in ("add", "remove"))
    return any(about is not None and about.get("dataChange", True) for about in kinds)


def version_at(table: str, history: Sequence[HistoryEntry], moment: datetime) -> int:
    """Return the newest version that was committed at or before a moment.

    Versions are in order whatever the clocks were: a commit counts as made not before the one
    that it follows.

    Parameters
    ----------
    history
        Commits of the table, newest first.
    moment
        With a time zone.

    Raises
    ------
    NotFoundError
        The moment is before the first commit, or later than now and than every commit: what will
        be the answer then is not known yet.
    """
    found, reached = None, None
    for entry in reversed(history):
        reached = max(entry.timestamp, reached) if reached else entry.timestamp
        if reached <= moment:
            found = entry.version
    if found is None or reached is None:
        first = f" The first is v{history[-1].version} of {instant(history[-1].timestamp)}."
        raise NotFoundError(
            f"{table} has no version at {instant(moment)} or before.{first if history else ''}"
        )
    now = datetime.now(UTC)
    if moment > max(reached, now):
        raise NotFoundError(
            f"{instant(moment)} is in the future, and {table} may have other versions by then. "
            f"Ask for a moment up to now, {instant(now)}."
        )
    return found


def content_history(history: Iterable[HistoryEntry]) -> list[HistoryEntry]:
    """Leave out the commits whose effect a later restore took back; newest first.

    Examples
    --------
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> commits = [HistoryEntry(v, at, "WRITE", None) for v in (2, 1, 0)]
    >>> restore = HistoryEntry(3, at, "RESTORE", None, restored=1)
    >>> [entry.version for entry in content_history([restore, *commits])]
    [3, 1, 0]
    """
    kept: list[HistoryEntry] = []
    limit: int | None = None
    for entry in history:
        if limit is None or entry.version <= limit:
            kept.append(entry)
            limit = entry.restored if entry.restored is not None else limit
    return kept


def file_hashes(record: CommitRecord) -> dict[str, str]:
    """Return path and SHA-256 of the landing files that a commit took.

    Examples
    --------
    >>> from sololakehouse.provenance import Manifest
    >>> record = CommitRecord(
    ...     operation="INGEST", fingerprint="f", run_id="r", engine="embedded", inputs=(),
    ...     code_revision=None, rows_written=1, manifest=Manifest(rows=1, row_sum=0, columns={}),
    ...     details={"files": {"a.csv": "12ab", "b.csv": {"sha256": "34cd", "rows": 1}}},
    ... )
    >>> file_hashes(record)
    {'a.csv': '12ab', 'b.csv': '34cd'}
    """
    files = record.details.get("files", {})
    return {
        path: about if isinstance(about, str) else about["sha256"] for path, about in files.items()
    }


def instant(moment: datetime) -> str:
    """Write a moment in UTC, as exact as it is.

    Examples
    --------
    >>> instant(datetime(2026, 1, 31, tzinfo=UTC))
    '2026-01-31T00:00:00Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _commit_info(file: Path) -> dict[str, Any]:
    with file.open("rb") as lines:
        for line in lines:
            if b'"commitInfo"' in line[:_BEGINNING]:
                about = json.loads(line)["commitInfo"]
                return about if isinstance(about, dict) else {}
    return {}


def _overwrites(about: Mapping[str, Any]) -> bool:
    parameters = about.get("operationParameters") or {}
    if "REPLACE" in str(about.get("operation")):
        return True
    partly = parameters.get("predicate") not in (None, "", "[]")
    partly = partly or parameters.get("isDynamicPartitionOverwrite") in (True, "true")
    return parameters.get("mode") == "Overwrite" and not partly


def _restored(about: dict[str, Any]) -> int | None:
    version = (about.get("operationParameters") or {}).get("version")
    return int(version) if version is not None and str(version).isdigit() else None
