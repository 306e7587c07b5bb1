"""Restoring: a new version of a table with the content and schema of an earlier one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlparse

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from sololakehouse.engine import SYSTEM_PREFIX
from sololakehouse.errors import RunError, UsageError, shortened
from sololakehouse.lake.commit import LakeWriter, commit_properties
from sololakehouse.lake.failures import one_line
from sololakehouse.lake.history import RESTORE, HistoryEntry
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.protocol import refuse_unknown_rules
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import Change, CommitRecord, content_manifest, fingerprint

_NAMED_FILES = 3


def restore(writer: LakeWriter, table: str, to: int | datetime) -> Snapshot:
    """Make a new version of a table that has the content of version `to`; nothing is lost.

    Rows, schema and table properties are those of that version. The commit's record has that
    version's fingerprint, manifest and details, and names it as the input: it says what the
    content is, so a pipeline step whose plan and inputs are those of the restored version is up
    to date, and every other one is computed again.

    Parameters
    ----------
    to
        A version, or a moment with a time zone.

    Returns
    -------
    Snapshot
        The new version.

    Raises
    ------
    NotFoundError
        There is no such table or version.
    UsageError
        The table is at that version already, or is one of the schema `system`.
    FeatureTableError
        The version was written by another program, and its rows violate the feature contract.
    RunError
        Data files of the version are gone, the table uses a Delta feature that cannot be written
        here, or another program wrote at the same time.
    """
    if table.startswith(SYSTEM_PREFIX):
        raise UsageError(
            f"{table} is a log of what happened, and is not restored. Read an earlier state with "
            f"'slh show {table}@v{to if isinstance(to, int) else 0}'."
        )
    lake = writer.lake
    with table_lock(lake.project.warehouse, table):
        at_version = to if isinstance(to, int) else None
        at_moment = to if isinstance(to, datetime) else None
        target = lake.read(table, version=at_version, timestamp=at_moment)
        newest = lake.read(table)
        if target.version == newest.version:
            raise UsageError(
                f"{table} is at version {target.version}: there is nothing to restore."
            )
        refuse_unknown_rules(DeltaTable(target.path), table)
        _refuse_missing_files(target)
        made_by = lake.history(f"{table}@v{target.version}", limit=1)[0]
        if target.is_foreign and target.contract is not None:
            target.contract.check(target.scan(), f"{table}@v{target.version}")
        record = _record(writer, target, newest, made_by)
        try:
            DeltaTable(target.path).restore(
                target.version, commit_properties=commit_properties(record)
            )
        except CommitFailedError as error:
            raise _failed(newest, lake.read(table), error) from error
        writer.committed.append(lake.read(table))
    return writer.committed[-1]


def _failed(before: Snapshot, now: Snapshot, error: CommitFailedError) -> RunError:
    if now.version == before.version:
        why = f"{before.name} could not be restored: {one_line(error)}. The table is as it was."
    else:
        why = (
            f"{before.name} could not be restored, because another program wrote to it at the same "
            "time. It is as the other program left it: look at 'slh history', then try again."
        )
    return RunError(why)


def _refuse_missing_files(target: Snapshot) -> None:
    files = (Path(unquote(urlparse(uri).path)) for uri in target.file_uris())
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise RunError(
            f"{target.name}@v{target.version} cannot be restored: {len(missing)} of its data files "
            f"are gone from {target.path}: {shortened(missing, _NAMED_FILES)}. The table is as it "
            "was."
        )


def _record(
    writer: LakeWriter, target: Snapshot, newest: Snapshot, made_by: HistoryEntry
) -> CommitRecord:
    before = made_by.record
    operation = before.content_operation if before else made_by.operation
    restored = {"version": target.version, "operation": operation}
    change = Change(
        operation=RESTORE,
        fingerprint=before.fingerprint if before else _fingerprint(target),
        inputs=(target.table_version,),
        details={**(before.details if before else {}), "restored": restored},
    )
    manifest = before.manifest if before else content_manifest(target.scan())
    return writer.record(change, target.rows_beside(newest), manifest)


def _fingerprint(target: Snapshot) -> str:
    return fingerprint(RESTORE, target.table_id, target.version)
