"""Ingestion: landing files into bronze tables, each file once, with where each row came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.config import ColumnType, Source
from sololakehouse.errors import IngestError, suggestion
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.history import content_history
from sololakehouse.pipelines.csv_file import CsvFile
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

OPERATION = "INGEST"
MOMENT_COLUMNS = ("_ingested_at",)
_COLUMN_TYPES: Mapping[str, ColumnType] = {
    "string": "string",
    "integer": "int",
    "long": "bigint",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}


@dataclass(frozen=True)
class LandingFile:
    """A file of a source: its path relative to the project's folder, and its content's SHA-256."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class IngestResult:
    """What an ingestion did with one source; `rows` counts the rows that it added."""

    source: str
    table: str
    new_files: tuple[LandingFile, ...]
    known_files: int
    rows: int
    snapshot: Snapshot


def ingest(
    lake: Lakehouse,
    writer: LakeWriter,
    name: str,
    on_file: Callable[[str], None] | None = None,
) -> IngestResult:
    """Append the new landing files of a source to its bronze table, in one commit.

    A file with the path and content of one that is in the table already is left alone. Each row
    gets `_source_file`, `_source_line` (where its record begins, from 1), `_ingested_at` (UTC, the
    start of the run) and `_source_sha256`.

    Raises
    ------
    IngestError
        There is no file, a file changed since it was taken, or a file does not fit the source.
        Nothing is committed.
    """
    source = lake.project.settings.sources[name]
    files = _landing_files(lake.project.folder, name, source)
    table = lake.newest(source.table)
    taken = ingested_files(table)
    new = tuple(file for file in files if _is_new(file, taken, source.table))
    if table is not None and not new:
        return IngestResult(name, source.table, (), len(files), 0, table)
    with writer.staging() as staged:
        columns = _contract(source, table)
        for index, file in enumerate(new):
            if on_file:
                on_file(file.path)
            columns = _stage(lake.project.folder, file, source, columns, writer, staged, index)
        change = Change(
            operation=OPERATION,
            fingerprint=fingerprint([(file.path, file.sha256) for file in new]),
            details={"source": name, "files": {file.path: file.sha256 for file in new}},
            left_out=MOMENT_COLUMNS,
        )
        snapshot = writer.commit(source.table, staged, change, mode="append")
    rows = snapshot.record.rows_written if snapshot.record else 0
    return IngestResult(name, source.table, new, len(files) - len(new), rows, snapshot)


def ingested_files(table: Snapshot | None) -> dict[str, str]:
    """Return path and SHA-256 of every file that is in a bronze table, from its commit records.

    Files of commits that a restore took back are not in the table, and are taken again.
    """
    files: dict[str, str] = {}
    for entry in reversed(content_history(table.history()) if table else []):
        if entry.record and entry.record.operation == OPERATION:
            files |= entry.record.details["files"]
    return files


def _landing_files(folder: Path, name: str, source: Source) -> list[LandingFile]:
    paths = sorted(path for path in folder.glob(source.path) if path.is_file())
    if not paths:
        raise IngestError(
            f"Source {name!r} has no files: nothing matches {source.path} in {folder}. Put a file "
            "there, or correct 'path' in lakehouse.yml."
        )
    return [_landing_file(folder, path) for path in paths]


def _landing_file(folder: Path, path: Path) -> LandingFile:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return LandingFile(path.relative_to(folder).as_posix(), sha256, path.stat().st_size)


def _is_new(file: LandingFile, taken: Mapping[str, str], table: str) -> bool:
    known = taken.get(file.path)
    if known is not None and known != file.sha256:
        raise IngestError(
            f"{file.path} changed since it was taken into {table} (SHA-256 {known[:12]}, now "
            f"{file.sha256[:12]}). Deliver the new content under a new name, or put the old "
            "file back."
        )
    return known is None


def _contract(source: Source, table: Snapshot | None) -> pa.Schema | None:
    import pyarrow as pa

    from sololakehouse.pipelines.csv_file import arrow_type

    if source.columns is not None:
        return pa.schema([(name, arrow_type(kind)) for name, kind in source.columns.items()])
    if table is None or not table.columns:
        return None
    stored = {name: kind for name, kind in table.columns.items() if not name.startswith("_")}
    return pa.schema([(name, arrow_type(_COLUMN_TYPES[kind])) for name, kind in stored.items()])


def _stage(
    folder: Path,
    file: LandingFile,
    source: Source,
    columns: pa.Schema | None,
    writer: LakeWriter,
    staged: Path,
    index: int,
) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    csv = CsvFile(folder / file.path, file.path, source.options)
    if columns is not None:
        _check_header(csv, columns)
    rows = csv.read(columns)
    count = rows.num_rows
    moment = pa.scalar(writer.run.started_at, pa.timestamp("us", "UTC"))
    located = (
        rows.append_column("_source_file", pa.repeat(file.path, count))
        .append_column("_source_line", csv.lines(count))
        .append_column("_ingested_at", pa.repeat(moment, count))
        .append_column("_source_sha256", pa.repeat(file.sha256, count))
    )
    pq.write_table(located, staged / f"part-{index:05d}.parquet", compression="zstd")
    return rows.schema


def _check_header(csv: CsvFile, columns: pa.Schema) -> None:
    header = csv.header()
    missing = [name for name in columns.names if name not in header]
    extra = [name for name in header if name not in columns.names]
    if not missing and not extra:
        return
    said = [f"has no column {name!r}" for name in missing]
    said += [f"has the column {name!r}, which its source does not" for name in extra]
    near = missing[0] if missing else extra[0]
    raise IngestError(
        f"{csv.name}:1: the file {' and '.join(said)}. "
        f"{suggestion(near, header if missing else columns.names, 'column')} Correct the file, or "
        "the source's 'schema' in lakehouse.yml. Nothing was ingested."
    )
