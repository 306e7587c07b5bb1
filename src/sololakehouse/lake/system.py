"""`system` tables that are views of the commits: computed when they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import SYSTEM_PREFIX
from sololakehouse.errors import NotFoundError
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.history import HistoryEntry, content_history
from sololakehouse.provenance import CommitRecord

if TYPE_CHECKING:
    import polars as pl

TABLE_COMMITS = "system.table_commits"
INGESTED_FILES = "system.ingested_files"
EXPECTATIONS = "system.expectations"
_INGEST = "INGEST"


@dataclass(frozen=True)
class _Commit:
    """A commit, newest first among those of its table; `counts` is false once it was taken back."""

    table: str
    table_id: str
    entry: HistoryEntry
    counts: bool


def is_system(table: str) -> bool:
    """Whether a table tells of the system and not of the person's data."""
    return table.startswith(SYSTEM_PREFIX)


def view(lake: Lakehouse, name: str) -> pl.DataFrame:
    """Compute one of the views from the logs of all tables and the archived commits.

    Parameters
    ----------
    name
        One of `VIEWS`.

    Raises
    ------
    NotFoundError
        There is no such view.
    """
    import polars as pl

    if name not in VIEWS:
        raise NotFoundError.of("system table", name, VIEWS)
    rows = [row for commits in _tables(lake) for row in _ROWS[name](commits)]
    return pl.DataFrame(rows, schema=_schema(VIEWS[name]), orient="row")


def _tables(lake: Lakehouse) -> Iterator[list[_Commit]]:
    for table in lake.table_names():
        snapshot = lake.newest(table)
        if snapshot is not None:
            history = lake.history(table)
            kept = {entry.version for entry in content_history(history)}
            yield [_Commit(table, snapshot.table_id, e, e.version in kept) for e in history]


def _commit_rows(commits: list[_Commit]) -> Iterator[dict[str, Any]]:
    for commit in commits:
        entry, record = commit.entry, commit.entry.record
        row = _place(commit) | {
            "operation": record.operation if record else entry.operation,
            "delta_operation": entry.operation,
            "restored_version": entry.restored,
            "archived": entry.archived,
        }
        yield row | (_of_record(record) if record else {})


def _of_record(record: CommitRecord) -> dict[str, Any]:
    return {
        "user": record.user,
        "run_id": record.run_id,
        "engine": record.engine,
        "code_revision": record.code_revision,
        "rows": record.manifest.rows,
        "rows_written": record.rows_written,
        "inputs": [source.model_dump(exclude={"data_version"}) for source in record.inputs],
        "fingerprint": record.fingerprint,
        "digest": record.manifest.digest,
    }


def _file_rows(commits: list[_Commit]) -> Iterator[dict[str, Any]]:
    replaced: set[str] = set()
    for commit in commits:
        record = commit.entry.record
        if record is None or record.operation != _INGEST:
            continue
        for path, about in record.details.get("files", {}).items():
            told = {"sha256": about, "action": "new"} if isinstance(about, str) else about
            yield _place(commit) | {
                "source": record.details.get("source"),
                "batch": record.details.get("batch"),
                "path": path,
                **{name: told.get(name) for name in _OF_FILE},
                "run_id": record.run_id,
                "in_table": commit.counts and path not in replaced,
            }
            if commit.counts and told.get("action") == "replace":
                replaced.add(path)


def _expectation_rows(commits: list[_Commit]) -> Iterator[dict[str, Any]]:
    for commit in commits:
        record = commit.entry.record
        if record is None or record.data_version is not None:
            continue
        for found in record.expectations:
            row = _place(commit) | {"run_id": record.run_id, "passed": found.passed}
            yield row | found.model_dump()


def _place(commit: _Commit) -> dict[str, Any]:
    return {
        "table_name": commit.table,
        "table_id": commit.table_id,
        "version": commit.entry.version,
        "timestamp": commit.entry.timestamp,
    }


def _schema(columns: Mapping[str, str]) -> dict[str, Any]:
    import polars as pl

    text = pl.String()
    source = pl.Struct({"table": text, "version": pl.Int64(), "table_id": text})
    kinds = {
        "string": text,
        "bigint": pl.Int64(),
        "boolean": pl.Boolean(),
        "timestamp": pl.Datetime("us", "UTC"),
        "array<struct<table:string,version:bigint,table_id:string>>": pl.List(source),
    }
    return {name: kinds[kind] for name, kind in columns.items()}


_PLACE = {
    "table_name": "string",
    "table_id": "string",
    "version": "bigint",
    "timestamp": "timestamp",
}
_OF_FILE = {
    "sha256": "string",
    "bytes": "bigint",
    "rows": "bigint",
    "accepted": "bigint",
    "quarantined": "bigint",
    "action": "string",
}
VIEWS: Mapping[str, Mapping[str, str]] = {
    TABLE_COMMITS: {
        **_PLACE,
        "operation": "string",
        "delta_operation": "string",
        "user": "string",
        "run_id": "string",
        "engine": "string",
        "code_revision": "string",
        "rows": "bigint",
        "rows_written": "bigint",
        "inputs": "array<struct<table:string,version:bigint,table_id:string>>",
        "restored_version": "bigint",
        "fingerprint": "string",
        "digest": "string",
        "archived": "boolean",
    },
    INGESTED_FILES: {
        **_PLACE,
        "source": "string",
        "batch": "bigint",
        "path": "string",
        **_OF_FILE,
        "run_id": "string",
        "in_table": "boolean",
    },
    EXPECTATIONS: {
        **_PLACE,
        "run_id": "string",
        "name": "string",
        "kind": "string",
        "condition": "string",
        "action": "string",
        "rows": "bigint",
        "violations": "bigint",
        "passed": "boolean",
    },
}
_ROWS: Mapping[str, Callable[[list[_Commit]], Iterator[dict[str, Any]]]] = {
    TABLE_COMMITS: _commit_rows,
    INGESTED_FILES: _file_rows,
    EXPECTATIONS: _expectation_rows,
}
