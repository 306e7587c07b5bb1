"""The one way into a table: stage Parquet files, then commit them with their record."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from sololakehouse.errors import RunError
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.replace import without_rows
from sololakehouse.lake.statistics import file_statistics
from sololakehouse.lake.table import RECORD_KEY, Snapshot
from sololakehouse.provenance import Change, CommitRecord, Manifest, Run, content_manifest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

STAGING = "_staging"
FOREVER_DAYS = 36500
APPEND_ATTEMPTS = 10


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
        transaction: Transaction | None = None,
        evolve: bool = False,
        removes: pl.Expr | None = None,
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
        removes
            Rows of the table that an append takes out in the same commit, as a predicate.

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
        path = self.lake.path(table)
        with table_lock(self.lake.project.warehouse, table), _commit_errors(table):
            newest = self.lake.newest(table)
            if transaction and newest and newest.has_transaction(transaction):
                return newest
            self._prepare(table, schema, properties or {}, evolve=evolve)
            actions: list[AddAction | RemoveAction] = [
                _moved(file, path, self.run.run_id) for file in files
            ]
            attempts = APPEND_ATTEMPTS if mode == "append" and removes is None else 1
            while True:
                attempts -= 1
                try:
                    return self._commit_once(
                        table, actions, schema, change, written, mode, transaction, removes
                    )
                except CommitFailedError:
                    if not attempts:
                        _remove(actions, path)
                        raise

    def _commit_once(
        self,
        table: str,
        actions: list[AddAction | RemoveAction],
        schema: pa.Schema,
        change: Change,
        written: Manifest,
        mode: Literal["append", "overwrite"],
        transaction: Transaction | None,
        removes: pl.Expr | None,
    ) -> Snapshot:
        path = self.lake.path(table)
        delta = DeltaTable(path)
        manifest = written
        before = Snapshot(table, path, delta.version())
        if mode == "append":
            manifest = _manifest_of(before, written) + written
        if removes is not None and before.rows:
            with self.staging() as folder:
                replaced = without_rows(
                    before,
                    removes,
                    change.left_out,
                    folder,
                    lambda file: _moved(file, path, self.run.run_id),
                )
            actions.extend(replaced.actions)
            manifest -= replaced.removed
        delta.create_write_transaction(
            actions,
            mode=mode,
            schema=Schema.from_arrow(schema),
            commit_properties=commit_properties(
                self.record(change, written.rows, manifest), transaction
            ),
        )
        return Snapshot(table, path, delta.version() + 1)

    def record(self, change: Change, rows_written: int, manifest: Manifest) -> CommitRecord:
        """Return the record of a commit of this run; `manifest` is of the whole table."""
        return CommitRecord(
            operation=change.operation,
            fingerprint=change.fingerprint,
            run_id=self.run.run_id,
            engine=self.run.engine,
            code_revision=self.run.code_revision,
            user=self.run.user,
            inputs=tuple(change.inputs),
            rows_written=rows_written,
            manifest=manifest,
            expectations=tuple(change.expectations),
            details=change.details,
        )

    def _prepare(
        self, table: str, schema: pa.Schema, properties: Mapping[str, str], *, evolve: bool
    ) -> None:
        path = self.lake.path(table)
        if not self.lake.exists(table):
            path.mkdir(parents=True, exist_ok=True)
            days = self.lake.project.settings.retention_days
            DeltaTable.create(
                path,
                Schema.from_arrow(schema),
                configuration={**retention_properties(days), **properties},
                raise_if_key_not_exists=False,
            )
            return
        delta = DeltaTable(path)
        known = delta.metadata().configuration
        changed = {key: value for key, value in properties.items() if known.get(key) != value}
        if changed:
            delta.alter.set_table_properties(changed, raise_if_not_exists=False)
        columns = {field.name for field in delta.schema().fields}
        added = [field for field in Schema.from_arrow(schema).fields if field.name not in columns]
        if evolve and added:
            DeltaTable(path).alter.add_columns(added)


@contextmanager
def _commit_errors(table: str) -> Iterator[None]:
    try:
        yield
    except CommitFailedError as error:
        raise RunError(
            f"{table} could not be committed, because another program wrote to it at the same "
            "time. Run again. The table is as the other program left it."
        ) from error
    except DeltaError as error:
        raise RunError(f"{table} could not be committed: {error}.") from error


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


def _remove(actions: Iterable[AddAction | RemoveAction], table_folder: Path) -> None:
    for action in actions:
        if isinstance(action, AddAction):
            (table_folder / action.path).unlink(missing_ok=True)
