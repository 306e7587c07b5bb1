"""What a commit asks of its table besides rows: that it exists, properties, columns, a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError

from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.contract import taken_back
from sololakehouse.lake.damage import LOG
from sololakehouse.lake.protocol import refuse_unwritable

if TYPE_CHECKING:
    import pyarrow as pa

FOREVER_DAYS = 36500


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


@dataclass(frozen=True)
class TableForm:
    """How a table is to be when a commit adds its rows.

    Attributes
    ----------
    properties
        Table properties to set; None: they stay as they are.
    description
        What the table says of itself; None: that stays as it is.
    evolve
        Whether columns that the table lacks are added; older rows have NULL there.
    """

    properties: Mapping[str, str] | None = None
    description: str | None = None
    evolve: bool = False

    def prepare(
        self,
        lake: Lakehouse,
        table: str,
        schema: pa.Schema,
        mode: Literal["append", "overwrite"],
        flush: Callable[..., None],
    ) -> DeltaTable:
        """Create the table, or bring it into this form, and open it.

        Parameters
        ----------
        schema
            Of the rows to come.
        flush
            Called with files and folders that must outlive a power cut.

        Raises
        ------
        RunError
            The table has a Delta feature that cannot be written here.
        """
        if not lake.exists(table):
            created = self._created(lake, table, schema, flush)
            if created is not None:
                return created
        delta = DeltaTable(lake.path(table))
        refuse_unwritable(delta, table, Schema.from_arrow(schema), mode)
        self._set_properties(delta)
        if self.description is not None and delta.metadata().description != self.description:
            DeltaTable(lake.path(table)).alter.set_table_description(self.description)
        columns = {field.name for field in delta.schema().fields}
        added = [field for field in Schema.from_arrow(schema).fields if field.name not in columns]
        if self.evolve and added:
            DeltaTable(lake.path(table)).alter.add_columns(added)
        return delta

    def _set_properties(self, delta: DeltaTable) -> None:
        if self.properties is None:
            return
        known = delta.metadata().configuration
        wanted = taken_back(known) | dict(self.properties)
        changed = {key: value for key, value in wanted.items() if known.get(key) != value}
        if changed:
            delta.alter.set_table_properties(changed, raise_if_not_exists=False)

    def _created(
        self, lake: Lakehouse, table: str, schema: pa.Schema, flush: Callable[..., None]
    ) -> DeltaTable | None:
        """Create the table; return None if another program has just done so."""
        path = lake.path(table)
        path.mkdir(parents=True, exist_ok=True)
        days = lake.project.settings.retention_days
        try:
            created = DeltaTable.create(
                path,
                Schema.from_arrow(schema),
                configuration={**retention_properties(days), **(self.properties or {})},
                raise_if_key_not_exists=False,
                description=self.description,
            )
        except (DeltaError, OSError):
            if lake.exists(table):
                return None
            _remove_empty(path / LOG, path)
            raise
        flush(path / LOG / f"{0:020}.json", path / LOG, path, path.parent)
        return created


def _remove_empty(*folders: Path) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
