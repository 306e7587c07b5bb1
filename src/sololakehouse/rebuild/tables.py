"""The table versions that a model was made from: whether they are still what they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sololakehouse.errors import NotFoundError, RunError, shortened
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.provenance import Manifest, TableVersion, content_manifest
from sololakehouse.rebuild.links import Finding


@dataclass(frozen=True)
class Versions:
    """What was found about table versions.

    Attributes
    ----------
    lost
        The first sentence about a version that cannot be read at all; empty if all can be.
    changed
        A sentence for each version that holds something else than was committed.
    """

    lost: str = ""
    changed: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finding(self) -> Finding:
        """The same as the finding about a link."""
        if self.lost or self.changed:
            said = " ".join(filter(None, (self.lost, *self.changed)))
            return Finding("table version", "differs", said, self.figures)
        said = (
            f"{len(self.checked)} versions hold what was committed: {shortened(self.checked, 3)}."
        )
        return Finding("table version", "same", said)


def checked_versions(
    lake: Lakehouse, wanted: Sequence[TableVersion], recorded: Mapping[str, Mapping[str, Any]]
) -> Versions:
    """Read table versions and compare what they hold with what was recorded.

    Parameters
    ----------
    recorded
        What the training noted of tables, by `schema.table@v3`: `table_id` and `digest`; a table
        that is not there is held against its commit record alone.
    """
    changed: list[str] = []
    figures: dict[str, Any] = {}
    for one in wanted:
        lost = lost_version(lake, one)
        if lost:
            return Versions(lost=lost, changed=tuple(changed), figures=figures)
        differing = _changed(lake.read(one.table, one.version), recorded.get(str(one), {}))
        if differing:
            changed.append(differing[0])
            figures[str(one)] = differing[1]
    return Versions("", tuple(changed), tuple(map(str, wanted)), figures)


def lost_version(lake: Lakehouse, wanted: TableVersion) -> str:
    """Say in a sentence why a version cannot be read any more; empty if it can."""
    newest = lake.newest(wanted.table)
    if newest is None:
        return f"{wanted} is gone: there is no table {wanted.table} any more."
    if wanted.table_id and newest.table_id != wanted.table_id:
        return (
            f"{wanted} is gone: {wanted.table} was dropped and made anew, and its versions are of "
            f"another table (it was {wanted.table_id[:8]}, and is {newest.table_id[:8]})."
        )
    try:
        lake.read(wanted.table, wanted.version).verify()
    except (NotFoundError, RunError) as error:
        return str(error)
    return ""


def _changed(table: Snapshot, recorded: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    name, record = str(table.table_version), table.record
    if record is None:
        return None
    said = record.manifest
    if recorded.get("digest") not in (None, said.digest):
        return (
            f"{name} was committed again since: its commit is not the one that was trained on.",
            {"recorded": recorded["digest"], "committed": said.digest},
        )
    if not said.is_current:
        return None
    now = content_manifest(table.scan(), said.left_out)
    if now == said:
        return None
    columns = differing_columns(said, now)
    rows = "" if now.rows == said.rows else f" {now.rows:,} rows instead of {said.rows:,};"
    listed = ", ".join(columns) or "the pairing of values"
    figures = {"columns": columns, "rows": now.rows, "committed_rows": said.rows}
    return f"{name} does not hold what was committed:{rows} {listed} differs.", figures


def differing_columns(one: Manifest, other: Manifest) -> list[str]:
    """Return the columns whose values differ, and those that only one of both manifests has."""
    names = dict.fromkeys((*one.columns, *other.columns))
    return [name for name in names if one.columns.get(name) != other.columns.get(name)]
