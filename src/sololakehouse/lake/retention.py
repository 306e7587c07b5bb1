"""The retention that the project promises, as properties of each table."""

from __future__ import annotations

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from sololakehouse.errors import RunError, SoloLakehouseError
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.commit import LakeWriter, commit_properties
from sololakehouse.lake.failures import one_line
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.optimize import arranged_record
from sololakehouse.lake.protocol import refuse_unknown_rules
from sololakehouse.lake.table import Snapshot
from sololakehouse.lake.table_form import retention_properties
from sololakehouse.provenance import content_manifest

SET_RETENTION = "SET RETENTION"


def set_retention(writer: LakeWriter) -> list[str]:
    """Give every table the retention of the project; return the names of those that changed.

    The commit's record is that of the rows, so nothing is computed again. Tables that cannot be
    read, or that use a Delta feature that cannot be written here, are left to `diagnose`.

    Raises
    ------
    RunError
        A table cannot be written.
    """
    lake = writer.lake
    wanted = retention_properties(lake.project.settings.retention_days)
    changed = []
    for table in lake.table_names():
        with table_lock(lake.project.warehouse, table):
            before = _writable(lake, table)
            lacking = differing(before, wanted) if before else {}
            if before and lacking:
                set_properties(writer, before, lacking, SET_RETENTION)
                changed.append(table)
    return changed


def _writable(lake: Lakehouse, table: str) -> Snapshot | None:
    try:
        snapshot = lake.read(table)
        refuse_unknown_rules(DeltaTable(snapshot.path), table)
    except SoloLakehouseError:
        return None
    return snapshot


def differing(snapshot: Snapshot, wanted: dict[str, str]) -> dict[str, str]:
    """Return the wanted properties that a table has otherwise, or not at all."""
    has = snapshot.properties
    return {key: value for key, value in wanted.items() if has.get(key) != value}


def set_properties(
    writer: LakeWriter, before: Snapshot, properties: dict[str, str], operation: str
) -> None:
    """Set properties of a table; the commit's record is that of the rows.

    Raises
    ------
    RunError
        The table cannot be written.
    """
    known = before.record
    manifest = known.manifest if known else content_manifest(before.scan())
    record = arranged_record(writer, before, operation, {}, 0, manifest)
    try:
        DeltaTable(before.path).alter.set_table_properties(
            properties, raise_if_not_exists=False, commit_properties=commit_properties(record)
        )
    except DeltaError as error:
        raise RunError(
            f"{before.name}: its properties could not be set: {one_line(error)}. Try again."
        ) from error
    writer.committed.append(Snapshot(before.name, before.path))
