"""The one way into a table: stage Parquet files, then commit them with their record."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from sololakehouse.errors import RunError, UsageError
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.compression import compression_of
from sololakehouse.lake.contract import taken_back
from sololakehouse.lake.damage import LOG, log_versions, newest_version
from sololakehouse.lake.failures import disk_error, disk_errors, one_line
from sololakehouse.lake.feature_rows import FeatureRows
from sololakehouse.lake.history import RECORD_KEY
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.protocol import refuse_unwritable
from sololakehouse.lake.replace import Replacement, without_rows
from sololakehouse.lake.staging import STAGING, staging_folder
from sololakehouse.lake.statistics import file_statistics
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import Change, CommitRecord, Manifest, Run, content_manifest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

FOREVER_DAYS = 36500
APPEND_SECONDS = 60
TRAINING_SETS = "training."
TRAINING_SET = "TRAINING SET"


def retention_properties(days: int | None) -> dict[str, str]:
    """Return the Delta properties that let any reader go back for so many days (None: forever).

    Newer readers refuse time travel past `delta.deletedFileRetentionDuration` even if no file is
    gone. Writers do not clean up the log behind the back of a lease: `slh vacuum` does.

    Examples
    --------
    >>> retention_properties(365)["delta.logRetentionDuration"]
    'interval 365 days'
    """
    duration = f"interval {FOREVER_DAYS if days is None else days} days"
    return {
        "delta.logRetentionDuration": duration,
        "delta.deletedFileRetentionDuration": duration,
        "delta.enableExpiredLogCleanup": "false",
    }


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
        import polars as pl
        import pyarrow.parquet as pq

        _refuse_other_writers(table, change.operation)
        files = sorted(staged.glob("*.parquet"))
        if not files:
            raise RunError(f"The engine wrote no file for {table}.")
        schema = _nullable(pq.read_schema(files[0]))
        scan = pl.scan_parquet(files)
        before = self.lake.newest(table)
        features = features or FeatureRows.of(table, before, properties, scan)
        with ThreadPoolExecutor(1) as pool:
            are_all = features and (mode == "overwrite" or before is None or not before.rows)
            missing = features if features and are_all and not features.statistics else None
            described = pool.submit(missing.described) if missing else None
            written = manifest or content_manifest(scan, change.left_out)
        features = described.result() if described else features
        path = self.lake.path(table)
        with table_lock(self.lake.project.warehouse, table), _commit_errors(table, path):
            newest = self.lake.newest(table)
            if transaction and newest and newest.has_transaction(transaction):
                return newest
            if features:
                beside = newest if mode == "append" else None
                features = features.checked(table, beside, removes)
            delta = self._prepare(table, schema, properties, mode, description, evolve=evolve)
            staged_files = _StagedFiles(table, path, self.run.run_id, self.flush)
            try:
                replaced = self._replaced(table, staged, change, removes)
                staged_files.move([*files, *(replaced.kept if replaced else ())])
                return _attempted(
                    partial(
                        self._commit_once,
                        table,
                        delta,
                        staged_files.adds,
                        schema,
                        change,
                        written,
                        mode,
                        transaction,
                        replaced,
                        features,
                    ),
                    seconds=APPEND_SECONDS
                    if mode == "append" and not (replaced or features)
                    else 0,
                )
            except BaseException as error:
                committed = staged_files.committed()
                if committed is not None and isinstance(error, Exception):
                    return committed
                if committed is None:
                    staged_files.remove()
                raise

    def _commit_once(
        self,
        table: str,
        delta: DeltaTable,
        adds: list[AddAction],
        schema: pa.Schema,
        change: Change,
        written: Manifest,
        mode: Literal["append", "overwrite"],
        transaction: Transaction | None,
        replaced: Replacement | None,
        features: FeatureRows | None,
    ) -> Snapshot:
        path = self.lake.path(table)
        delta.update_incremental()
        refuse_unwritable(delta, table, Schema.from_arrow(schema), mode)
        manifest = written
        if mode == "append":
            before = self._at(table, delta.version())
            if features:
                features.refuse_other_version(before)
            manifest = _manifest_of(before, written) + written
        actions: list[AddAction | RemoveAction] = [*adds]
        if replaced is not None:
            replaced.check_version(delta.version())
            actions += replaced.removals
            manifest -= replaced.removed
        if features and features.statistics:
            change = replace(change, details={**change.details, **features.statistics.details})
        delta.create_write_transaction(
            actions,
            mode=mode,
            schema=Schema.from_arrow(schema),
            commit_properties=commit_properties(
                self.record(change, written.rows, manifest), transaction
            ),
        )
        version = delta.version() + 1
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

    def _prepare(
        self,
        table: str,
        schema: pa.Schema,
        properties: Mapping[str, str] | None,
        mode: Literal["append", "overwrite"],
        description: str | None,
        *,
        evolve: bool,
    ) -> DeltaTable:
        wanted = dict(properties or {})
        if not self.lake.exists(table):
            created = self._created(table, schema, wanted, description)
            if created is not None:
                return created
        delta = DeltaTable(self.lake.path(table))
        refuse_unwritable(delta, table, Schema.from_arrow(schema), mode)
        known = delta.metadata().configuration
        if properties is not None:
            wanted = taken_back(known) | wanted
        changed = {key: value for key, value in wanted.items() if known.get(key) != value}
        if changed:
            delta.alter.set_table_properties(changed, raise_if_not_exists=False)
        if description is not None and delta.metadata().description != description:
            DeltaTable(self.lake.path(table)).alter.set_table_description(description)
        columns = {field.name for field in delta.schema().fields}
        added = [field for field in Schema.from_arrow(schema).fields if field.name not in columns]
        if evolve and added:
            DeltaTable(self.lake.path(table)).alter.add_columns(added)
        return delta

    def _created(
        self, table: str, schema: pa.Schema, properties: Mapping[str, str], description: str | None
    ) -> DeltaTable | None:
        path = self.lake.path(table)
        path.mkdir(parents=True, exist_ok=True)
        days = self.lake.project.settings.retention_days
        try:
            created = DeltaTable.create(
                path,
                Schema.from_arrow(schema),
                configuration={**retention_properties(days), **properties},
                raise_if_key_not_exists=False,
                description=description,
            )
        except (DeltaError, OSError):
            if self.lake.exists(table):
                return None
            _remove_empty(path / LOG, path)
            raise
        self.flush(path / LOG / f"{0:020}.json", path / LOG, path, path.parent)
        return created


def _refuse_other_writers(table: str, operation: str) -> None:
    if table.startswith(TRAINING_SETS) and operation != TRAINING_SET:
        raise UsageError(
            f"{table}: the schema 'training' is for saved training sets, which nothing else "
            "writes. Choose another schema."
        )


class _StagedFiles:
    """The files of one commit, from the moment on when they are in the table's folder."""

    def __init__(self, table: str, folder: Path, run_id: str, flush: Callable[..., None]) -> None:
        self._table = table
        self._folder = folder
        self._run_id = run_id
        self._flush = flush
        self._before = newest_version(folder)
        self.adds: list[AddAction] = []

    def move(self, files: Sequence[Path]) -> None:
        """Move files into the table's folder and make sure that they are on the disk."""
        for file in files:
            self.adds.append(self._moved(file))
        self._flush(*(self._folder / add.path for add in self.adds), self._folder)

    def committed(self) -> Snapshot | None:
        """Return the version that names the files, if the commit was made after all.

        A commit may be made although an error is reported, for example if only the checkpoint
        after it failed.
        """
        names = [add.path for add in self.adds[:1]]
        for version in log_versions(self._folder) if names else ():
            entry = self._folder / LOG / f"{version:020}.json"
            if version > self._before and f'"{names[0]}"' in entry.read_text("utf-8"):
                return Snapshot(self._table, self._folder, version)
        return None

    def remove(self) -> None:
        """Remove the files again."""
        for add in self.adds:
            (self._folder / add.path).unlink(missing_ok=True)

    def _moved(self, file: Path) -> AddAction:
        about = file.stat()
        add = AddAction(
            path=f"part-{self._run_id}-{uuid.uuid4().hex[:12]}.parquet",
            size=about.st_size,
            partition_values={},
            modification_time=int(about.st_mtime * 1000),
            data_change=True,
            stats=json.dumps(file_statistics(file)),
        )
        file.rename(self._folder / add.path)
        return add


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


def _manifest_of(before: Snapshot, written: Manifest) -> Manifest:
    if before.rows == 0:
        nothing = dict.fromkeys(written.columns, 0)
        return Manifest(rows=0, row_sum=0, columns=nothing, algorithm=written.algorithm)
    known = before.record.manifest if before.record else None
    if known is None or not known.is_current:
        known = content_manifest(before.scan(), written.left_out)
    if not known.can_add(written):
        raise RunError(
            f"{before.name} has the columns {', '.join(known.columns)}; rows with the columns "
            f"{', '.join(written.columns)} cannot be appended to it."
        )
    return known


def _attempted(attempt: Callable[[], Snapshot], seconds: float) -> Snapshot:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(CommitFailedError):
            return attempt()
    return attempt()


def _nullable(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([field.with_nullable(True).remove_metadata() for field in schema])


def _remove_empty(*folders: Path) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def flush(*paths: Path) -> None:
    """Wait until files, and the entries of folders, are on the disk and outlive a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
