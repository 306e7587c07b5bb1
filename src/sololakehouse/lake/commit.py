"""The one way into a table: stage Parquet files, then commit them with their record."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from sololakehouse.errors import RunError
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.statistics import file_statistics
from sololakehouse.lake.table import RECORD_KEY, Snapshot
from sololakehouse.provenance import Change, CommitRecord, Manifest, Run, content_manifest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

STAGING = "_staging"
FOREVER = "interval 36500 days"
RETENTION = {"delta.logRetentionDuration": FOREVER, "delta.deletedFileRetentionDuration": FOREVER}


class LakeWriter:
    """Writes tables of a lakehouse on behalf of one run.

    A commit is all or nothing: until it succeeds, readers see the table as it was, and files of a
    failed write are never part of a version.
    """

    def __init__(self, lake: Lakehouse, run: Run) -> None:
        self.lake = lake
        self.run = run

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty folder on the warehouse's file system; it is removed afterwards."""
        folder = self.lake.project.warehouse / STAGING / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write_frame(
        self,
        table: str,
        frame: pl.DataFrame,
        change: Change,
        *,
        mode: Literal["append", "overwrite"] = "overwrite",
        properties: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """Write a frame as one Parquet file, in the order of its rows, and commit it."""
        with self.staging() as folder:
            frame.write_parquet(folder / "part-0.parquet", compression="zstd")
            return self.commit(table, folder, change, mode=mode, properties=properties)

    def commit(
        self,
        table: str,
        staged: Path,
        change: Change,
        *,
        mode: Literal["append", "overwrite"] = "overwrite",
        properties: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """Make the staged Parquet files a new version of the table.

        Parameters
        ----------
        table
            `schema.table`; created with retention `forever` if it does not exist.
        staged
            Folder of one or more Parquet files of one schema.
        change
            What the commit record says besides rows and manifest.
        mode
            `overwrite` replaces rows and schema, `append` adds rows.
        properties
            Table properties to set; with `None` they stay as they are.

        Raises
        ------
        RunError
            The staged folder holds no Parquet file, the rows do not fit the table, or another run
            changed the table meanwhile.
        """
        import polars as pl
        import pyarrow.parquet as pq

        files = sorted(staged.glob("*.parquet"))
        if not files:
            raise RunError(f"The engine wrote no file for {table}.")
        schema = _nullable(pq.read_schema(files[0]))
        written = content_manifest(pl.scan_parquet(files), change.left_out)
        before = self.lake.newest(table) if mode == "append" else None
        manifest = written if before is None else _manifest_of(before, written) + written
        record = self._record(change, written.rows, manifest)
        try:
            delta = self._open_or_create(table, schema, properties or {})
            delta.create_write_transaction(
                [_moved(file, self.lake.path(table), self.run.run_id) for file in files],
                mode=mode,
                schema=Schema.from_arrow(schema),
                commit_properties=CommitProperties(
                    custom_metadata={RECORD_KEY: record.model_dump_json()}
                ),
            )
        except DeltaError as error:
            raise RunError(
                f"{table} could not be committed: {error}. If another run wrote to it at the same "
                "time, run again."
            ) from error
        return Snapshot(table, self.lake.path(table))

    def _record(self, change: Change, rows_written: int, manifest: Manifest) -> CommitRecord:
        return CommitRecord(
            operation=change.operation,
            fingerprint=change.fingerprint,
            run_id=self.run.run_id,
            engine=self.run.engine,
            code_revision=self.run.code_revision,
            inputs=tuple(change.inputs),
            rows_written=rows_written,
            manifest=manifest,
            expectations=tuple(change.expectations),
            details=change.details,
        )

    def _open_or_create(
        self, table: str, schema: pa.Schema, properties: Mapping[str, str]
    ) -> DeltaTable:
        path = self.lake.path(table)
        if not self.lake.exists(table):
            path.mkdir(parents=True, exist_ok=True)
            return DeltaTable.create(
                path,
                Schema.from_arrow(schema),
                configuration={**RETENTION, **properties},
                raise_if_key_not_exists=False,
            )
        delta = DeltaTable(path)
        known = delta.metadata().configuration
        changed = {key: value for key, value in properties.items() if known.get(key) != value}
        if changed:
            delta.alter.set_table_properties(changed, raise_if_not_exists=False)
            delta = DeltaTable(path)
        return delta


def _manifest_of(before: Snapshot, written: Manifest) -> Manifest:
    if before.rows == 0:
        return Manifest(rows=0, row_sum=0, columns=dict.fromkeys(written.columns, 0))
    known = before.record.manifest if before.record else None
    if known is None:
        known = content_manifest(before.scan(), written.left_out)
    if not known.can_add(written):
        raise RunError(
            f"{before.name} has the columns {', '.join(known.columns)}; rows with the columns "
            f"{', '.join(written.columns)} cannot be appended to it."
        )
    return known


def _nullable(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([field.with_nullable(True).remove_metadata() for field in schema])


def _moved(file: Path, table_folder: Path, run_id: str) -> AddAction:
    statistics = file_statistics(file)
    target = table_folder / f"part-{run_id}-{uuid.uuid4().hex[:12]}.parquet"
    file.rename(target)
    about = target.stat()
    return AddAction(
        path=target.name,
        size=about.st_size,
        partition_values={},
        modification_time=int(about.st_mtime * 1000),
        data_change=True,
        stats=json.dumps(statistics),
    )
