"""The one way into a table: stage Parquet files, then commit them with their record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from sololakehouse.errors import RunError, UsageError
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.compression import compression_of
from sololakehouse.lake.damage import LOG
from sololakehouse.lake.failures import disk_error, disk_errors, one_line
from sololakehouse.lake.feature_rows import FeatureRows
from sololakehouse.lake.history import RECORD_KEY
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.pending_commit import PendingCommit
from sololakehouse.lake.protocol import refuse_unwritable
from sololakehouse.lake.replace import Replacement, without_rows
from sololakehouse.lake.staged_files import StagedFiles
from sololakehouse.lake.staged_rows import StagedRows
from sololakehouse.lake.staging import STAGING, staging_folder
from sololakehouse.lake.table import Snapshot
from sololakehouse.lake.table_form import TableForm
from sololakehouse.provenance import Change, CommitRecord, Manifest, Run, content_manifest

if TYPE_CHECKING:
    import polars as pl

TRAINING_SETS = "training."
TRAINING_SET = "TRAINING SET"


def commit_properties(
    record: CommitRecord, transaction: Transaction | None = None
) -> CommitProperties:
    """Return what Delta stores beside a commit; Delta itself tries only once."""
    return CommitProperties(
        custom_metadata={RECORD_KEY: record.model_dump_json()},
        max_commit_retries=0,
        app_transactions=[transaction] if transaction else None,
    )


class LakeWriter:
    """Writes tables of a lakehouse on behalf of one run; `committed` is what it made so far.

    A commit is all or nothing: until it succeeds, readers see the table as it was, and files of a
    failed write are never part of a version.
    """

    def __init__(self, lake: Lakehouse, run: Run) -> None:
        self.lake = lake
        self.run = run
        self.committed: list[Snapshot] = []

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty folder on the warehouse's file system; it is removed afterwards.

        Raises
        ------
        RunError
            The disk is full, read-only or not permitted.
        """
        warehouse = self.lake.project.warehouse
        with disk_errors(warehouse / STAGING), staging_folder(warehouse) as folder:
            yield folder

    def write_frame(
        self,
        table: str,
        frame: pl.DataFrame,
        change: Change,
        *,
        mode: Literal["append", "overwrite"] = "overwrite",
        properties: Mapping[str, str] | None = None,
        evolve: bool = False,
    ) -> Snapshot:
        """Write a frame as one Parquet file, in the order of its rows, and commit it."""
        features = FeatureRows.of(table, self.lake.newest(table), properties, frame)
        with self.staging() as folder:
            with ThreadPoolExecutor(1) as beside:
                manifest = beside.submit(content_manifest, frame, change.left_out)
                whole = features if mode == "overwrite" else None
                described = beside.submit(whole.described) if whole else None
                compression = compression_of(frame) if features else "zstd"
                frame.write_parquet(folder / "part-0.parquet", compression=compression)
            return self.commit(
                table,
                folder,
                change,
                mode=mode,
                properties=properties,
                evolve=evolve,
                manifest=manifest.result(),
                features=described.result() if described else features,
            )

    def commit(
        self,
        table: str,
        staged: Path,
        change: Change,
        *,
        mode: Literal["append", "overwrite"] = "overwrite",
        properties: Mapping[str, str] | None = None,
        transaction: Transaction | None = None,
        evolve: bool = False,
        manifest: Manifest | None = None,
        removes: pl.Expr | None = None,
        description: str | None = None,
        features: FeatureRows | None = None,
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
        transaction
            Delta's identifier of what the commit does. If the table has it already, the staged
            files are left out and the newest version is returned.
        evolve
            Whether an append may add columns; older rows have NULL there.
        manifest
            Of the staged rows, from a writer that has them in memory; None: the files are read.
        removes
            Rows of the table that an append takes out in the same commit, as a predicate.
        description
            What the table says of itself; with `None` that stays as it is.
        features
            The rows of a feature table, from a writer that has checked them or has them in memory;
            None: they are read from the files.

        Raises
        ------
        UsageError
            The table is a training set, and the change is none.
        FeatureTableError
            Rows violate the contract of a feature table.
        RunError
            The staged folder holds no Parquet file, the rows do not fit the table, the table has a
            Delta feature that cannot be written here, the disk is full, or another program changed
            the table meanwhile. The table is as it was, and no file of the commit is left in it.
        """
        _refuse_other_writers(table, change.operation)
        before = self.lake.newest(table)
        rows = StagedRows.of(
            table,
            staged,
            before,
            properties,
            are_all=mode == "overwrite" or before is None or not before.rows,
            left_out=change.left_out,
            manifest=manifest,
            features=features,
        )
        form = TableForm(properties, description, evolve)
        path = self.lake.path(table)
        with table_lock(self.lake.project.warehouse, table), _commit_errors(table, path):
            newest = self.lake.newest(table)
            if transaction and newest and newest.has_transaction(transaction):
                return newest
            rows = rows.checked(table, newest if mode == "append" else None, removes)
            delta = form.prepare(self.lake, table, rows.schema, mode, self.flush)
            replaced = self._replaced(table, staged, change, removes)
            return self._moved_in(
                delta, PendingCommit(table, change, mode, transaction, rows, replaced)
            )

    def _moved_in(self, delta: DeltaTable, commit: PendingCommit) -> Snapshot:
        path = self.lake.path(commit.table)
        files = StagedFiles(commit.table, path, self.run.run_id, self.flush)
        try:
            files.move(commit.files)
            return _attempted(
                lambda: self._commit_once(delta, commit, files.adds), commit.seconds_to_try
            )
        except BaseException as error:
            committed = files.committed()
            if committed is not None and isinstance(error, Exception):
                return committed
            if committed is None:
                files.remove()
            raise

    def _commit_once(
        self, delta: DeltaTable, commit: PendingCommit, adds: Sequence[AddAction]
    ) -> Snapshot:
        delta.update_incremental()
        schema = Schema.from_arrow(commit.rows.schema)
        refuse_unwritable(delta, commit.table, schema, commit.mode)
        before = self._at(commit.table, delta.version()) if commit.mode == "append" else None
        record = self.record(
            commit.described_change,
            commit.rows.manifest.rows,
            commit.manifest_after(before, delta.version()),
        )
        removals = commit.replaced.removals if commit.replaced else ()
        delta.create_write_transaction(
            [*adds, *removals],
            mode=commit.mode,
            schema=schema,
            commit_properties=commit_properties(record, commit.transaction),
        )
        return self._made(delta, commit.table)

    def _made(self, delta: DeltaTable, table: str) -> Snapshot:
        path, version = self.lake.path(table), delta.version() + 1
        self.flush(path / LOG / f"{version:020}.json", path / LOG)
        delta.update_incremental()
        own = Snapshot(table, path, version, delta if delta.version() == version else None)
        self.lake.committed(own)
        self.committed.append(own)
        return own

    def _at(self, table: str, version: int) -> Snapshot:
        newest = self.lake.newest(table)
        if newest is not None and newest.version == version:
            return newest
        return Snapshot(table, self.lake.path(table), version)

    def _replaced(
        self, table: str, staged: Path, change: Change, removes: pl.Expr | None
    ) -> Replacement | None:
        before = self.lake.newest(table)
        if removes is None or before is None or not before.rows:
            return None
        folder = staged / "kept"
        folder.mkdir()
        return without_rows(before, removes, change.left_out, folder)

    def flush(self, *paths: Path) -> None:
        """Wait until what a commit is made of outlives a power cut."""
        flush(*paths)

    def record(self, change: Change, rows_written: int, manifest: Manifest) -> CommitRecord:
        """Return the record of a commit of this run; `manifest` is of the whole table."""
        return CommitRecord(
            operation=change.operation,
            fingerprint=change.fingerprint,
            run_id=self.run.run_id,
            engine=change.engine or self.run.engine,
            code_revision=self.run.code_revision,
            user=self.run.user,
            inputs=tuple(change.inputs),
            rows_written=rows_written,
            manifest=manifest,
            expectations=tuple(change.expectations),
            details=change.details,
        )


def _refuse_other_writers(table: str, operation: str) -> None:
    if table.startswith(TRAINING_SETS) and operation != TRAINING_SET:
        raise UsageError(
            f"{table}: the schema 'training' is for saved training sets, which nothing else "
            "writes. Choose another schema."
        )


@contextmanager
def _commit_errors(table: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError) as error:
        said = disk_error(error, path)
        if said is not None:
            raise said from error
        if isinstance(error, CommitFailedError):
            raise RunError(
                f"{table} could not be committed, because another program wrote to it at the same "
                "time. Run again. The table is as the other program left it."
            ) from error
        raise RunError(f"{table} could not be committed: {one_line(error)}.") from error


def _attempted(attempt: Callable[[], Snapshot], seconds: float) -> Snapshot:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(CommitFailedError):
            return attempt()
    return attempt()


def flush(*paths: Path) -> None:
    """Wait until files, and the entries of folders, are on the disk and outlive a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
