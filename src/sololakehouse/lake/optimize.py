"""Optimize: fewer, larger files, or files ordered by some columns, with the same rows."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import ColumnProperties, DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.lake.commit import TRAINING_SETS, LakeWriter, commit_properties, flush
from sololakehouse.lake.failures import disk_error, disk_errors, one_line, quiet_panics
from sololakehouse.lake.key_order import key_order, write_in_order
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.protocol import refuse_unwritable
from sololakehouse.lake.statistics import file_statistics
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import (
    Change,
    CommitRecord,
    Manifest,
    content_manifest,
    fingerprint,
)

OPERATION = "OPTIMIZE"
ARRANGED = "arranged"
_TARGET = "delta.targetFileSize"
_FILE_BYTES = 100_000_000


@dataclass(frozen=True)
class OptimizeResult:
    """What an optimization did; with `changed` False nothing was to do and nothing was committed.

    Attributes
    ----------
    manifest
        Content of the table, the same before and after.
    """

    snapshot: Snapshot
    changed: bool
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    manifest: Manifest


def optimize(
    writer: LakeWriter,
    table: str,
    zorder: Sequence[str] = (),
    *,
    target_bytes: int | None = None,
) -> OptimizeResult:
    """Rewrite the files of a table so that reading is faster; its rows are the same afterwards.

    Without `zorder`, the rows of a feature table are put into the order of key and time, unless
    they lie in that of the key already; of other tables small files are put together, and the order
    of rows is kept. The new files are written beside the table, and committed only if their content
    manifest is that of the table. A pipeline, a training and a scoring that have read the table
    stay up to date.

    Parameters
    ----------
    zorder
        Columns by which rows are ordered along a Z-curve.
    target_bytes
        Size of a file to aim at; default: `delta.targetFileSize`, or 100 MB.

    Raises
    ------
    NotFoundError
        The table, or a column of `zorder`, does not exist.
    UsageError
        `zorder` is asked for a training set, whose rows are in order.
    RunError
        A data file is damaged, the table uses a Delta feature that cannot be written here, another
        program wrote at the same time, or the content would not be the same: the table is as it
        was.
    """
    lake = writer.lake
    _refuse_zorder(lake.read(table), zorder)
    with table_lock(lake.project.warehouse, table), disk_errors(lake.path(table)):
        before = lake.read(table)
        before.verify()
        known = _known_manifest(before)
        if _done_before(before, zorder):
            return _unchanged(before, known)
        order = () if zorder else key_order(before)
        with writer.staging() as folder:
            copy = _linked_copy(before, folder)
            if order:
                removed = _sorted(writer, before, copy, order, target_bytes)
            else:
                removed = _rearranged(copy, table, zorder, target_bytes)
            if not removed:
                return _unchanged(before, known)
            _refuse_other_content(before, copy, known)
            details = {"zorder": list(zorder)} | ({"sorted": list(order)} if order else {})
            after = _commit(writer, before, copy, removed, details, known)
    return OptimizeResult(
        snapshot=after,
        changed=True,
        files_before=len(before.file_uris()),
        files_after=len(after.file_uris()),
        bytes_before=_bytes(before),
        bytes_after=_bytes(after),
        manifest=known,
    )


def _refuse_zorder(snapshot: Snapshot, zorder: Sequence[str]) -> None:
    for column in zorder:
        if column not in snapshot.columns:
            raise NotFoundError.of("column", column, snapshot.columns, where=snapshot.name)
    if zorder and snapshot.name.startswith(TRAINING_SETS):
        raise UsageError(
            f"{snapshot.name} is a training set: its rows are in order, and models were fitted in "
            "that order. Leave out --zorder: putting files together keeps the order."
        )


def _known_manifest(before: Snapshot) -> Manifest:
    record = before.record
    return record.manifest if record else content_manifest(before.scan())


def _done_before(before: Snapshot, zorder: Sequence[str]) -> bool:
    record = before.record
    if not zorder or record is None or record.operation != OPERATION:
        return False
    return bool(record.details[ARRANGED]["zorder"] == list(zorder))


def _unchanged(before: Snapshot, manifest: Manifest) -> OptimizeResult:
    files, size = len(before.file_uris()), _bytes(before)
    return OptimizeResult(before, False, files, files, size, size, manifest)


def _linked_copy(before: Snapshot, folder: Path) -> Path:
    """Make a table of hard links to the newest version's files: rewriting it harms nothing."""
    delta = DeltaTable(before.path, version=before.version)
    refuse_unwritable(delta, before.name, delta.schema(), "overwrite")
    copy = folder / "copy"
    copy.mkdir()
    adds: list[AddAction | RemoveAction] = [
        _link(before.path, copy, path) for path in _paths(delta)
    ]
    DeltaTable.create(copy, delta.schema(), configuration=_sizes(before.properties))
    DeltaTable(copy).create_write_transaction(adds, mode="append", schema=delta.schema())
    return copy


def _paths(delta: DeltaTable) -> list[str]:
    """Return the data files in the order in which readers take them."""
    return [Path(uri).name for uri in delta.file_uris()]


def _sizes(properties: dict[str, str]) -> dict[str, str]:
    return {key: properties[key] for key in (_TARGET,) if key in properties}


def _link(table_folder: Path, copy: Path, path: str) -> AddAction:
    os.link(table_folder / path, copy / path)
    return _add(copy / path, data_change=True)


def _add(file: Path, *, data_change: bool) -> AddAction:
    about = file.stat()
    return AddAction(
        path=file.name,
        size=about.st_size,
        partition_values={},
        modification_time=int(about.st_mtime * 1000),
        data_change=data_change,
        stats=json.dumps(file_statistics(file)),
    )


def _rearranged(
    copy: Path, table: str, zorder: Sequence[str], target_bytes: int | None
) -> list[str]:
    """Let the Delta library rewrite the copy; return the files that it replaced."""
    delta = DeltaTable(copy)
    before = set(_paths(delta))
    properties = WriterProperties(
        compression="ZSTD", default_column_properties=ColumnProperties(statistics_enabled="CHUNK")
    )
    try:
        with quiet_panics():
            if zorder:
                delta.optimize.z_order(
                    list(zorder), target_size=target_bytes, writer_properties=properties
                )
            else:
                delta.optimize.compact(target_size=target_bytes, writer_properties=properties)
    except DeltaError as error:
        full = disk_error(error, copy)
        if full is not None:
            raise full from error
        said = f"{table} could not be rewritten: {one_line(error)}. It is as it was."
        if "parquet" in str(error).lower():
            said += " A data file is damaged: put it back from a backup."
        raise RunError(said) from error
    return sorted(before - set(_paths(DeltaTable(copy))))


def _sorted(
    writer: LakeWriter,
    before: Snapshot,
    copy: Path,
    order: tuple[str, ...],
    target_bytes: int | None,
) -> list[str]:
    """Write the rows of the copy into sorted files; return the files that these replace."""
    file_bytes = target_bytes or int(before.properties.get(_TARGET, _FILE_BYTES))
    memory = Memory.of(writer.lake.project.settings.memory_limit)
    delta = DeltaTable(copy)
    removed = _paths(delta)
    files = write_in_order(Snapshot(before.name, copy), order, copy, memory, file_bytes)
    now, sizes = int(time.time() * 1000), _file_sizes(before)
    actions: list[AddAction | RemoveAction] = [_add(file, data_change=True) for file in files]
    actions += [RemoveAction(path, True, now, size=sizes[path]) for path in removed]
    delta.create_write_transaction(actions, mode="append", schema=delta.schema())
    return removed


def _refuse_other_content(before: Snapshot, copy: Path, known: Manifest) -> None:
    table = before.name
    found = content_manifest(Snapshot(table, copy).scan(), known.left_out)
    if found.digest != known.digest:  # the record may be of another release or damaged
        known = content_manifest(before.scan(), known.left_out)
    if found.digest != known.digest:
        raise RunError(
            f"{table} was not changed: the rewritten files have {found.rows:,} rows with the "
            f"content {found.digest[:12]}, the table has {known.rows:,} with {known.digest[:12]}."
        )


def _commit(
    writer: LakeWriter,
    before: Snapshot,
    copy: Path,
    removed: Sequence[str],
    details: dict[str, Any],
    manifest: Manifest,
) -> Snapshot:
    delta = DeltaTable(before.path)
    written = [path for path in _paths(DeltaTable(copy)) if not (before.path / path).exists()]
    adds = [_moved(copy / path, before.path, writer.run.run_id) for path in written]
    flush(*(before.path / add.path for add in adds), before.path)
    now = int(time.time() * 1000)
    sizes = _file_sizes(before)
    removes = [RemoveAction(path, False, now, size=sizes[path]) for path in removed]
    rows = sum(json.loads(add.stats)["numRecords"] for add in adds)
    record = arranged_record(writer, before, OPERATION, details, rows, manifest)
    try:
        delta.create_write_transaction(
            [*adds, *removes],
            mode="append",
            schema=delta.schema(),
            commit_properties=commit_properties(record),
        )
    except DeltaError as error:
        for add in adds:
            (before.path / add.path).unlink(missing_ok=True)
        why = f"the commit failed: {one_line(error)}"
        if isinstance(error, CommitFailedError):
            why = "another program wrote to it at the same time"
        raise RunError(f"{before.name} was not changed: {why}. Try again.") from error
    writer.committed.append(Snapshot(before.name, before.path))
    return writer.committed[-1]


def arranged_record(
    writer: LakeWriter,
    before: Snapshot,
    operation: str,
    details: dict[str, Any],
    rows_written: int,
    manifest: Manifest,
) -> CommitRecord:
    """Return the record of a commit that changes no row: that of the rows, by another operation."""
    known = before.record
    change = Change(
        operation=operation,
        fingerprint=known.fingerprint if known else fingerprint(before.table_id, before.version),
        inputs=known.inputs if known else (),
        expectations=known.expectations if known else (),
        details=_details(known) | {ARRANGED: details | {"operation": _made_by(known)}},
    )
    record = writer.record(change, rows_written, manifest)
    return record.model_copy(update={"data_version": before.data_version})


def _details(known: CommitRecord | None) -> dict[str, Any]:
    return dict(known.details) if known else {}


def _made_by(known: CommitRecord | None) -> str | None:
    if known is None:
        return None
    arranged = known.details.get(ARRANGED)
    return str(arranged["operation"]) if arranged else known.operation


def _moved(file: Path, table_folder: Path, run_id: str) -> AddAction:
    target = table_folder / f"part-{run_id}-{uuid.uuid4().hex[:12]}.parquet"
    file.rename(target)
    return _add(target, data_change=False)


def _bytes(snapshot: Snapshot) -> int:
    return sum(_file_sizes(snapshot).values())


def _file_sizes(snapshot: Snapshot) -> dict[str, int]:
    names = (Path(uri).name for uri in snapshot.file_uris())
    return {name: (snapshot.path / name).stat().st_size for name in names}
