"""Writing other columns to a feature table: refused where somebody counts on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sololakehouse.errors import RedefinitionError
from sololakehouse.features.tables import FeatureTable
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.columns import column_types
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.definition import Definition, last_definition
from sololakehouse.lake.redefinition import Redefinition

if TYPE_CHECKING:
    import polars as pl


def redefinition(
    lake: Lakehouse, table: FeatureTable, rows: pl.DataFrame, mode: str, reason: str | None
) -> Redefinition | None:
    """Return how rows in place of all that are there change the columns; None if they do not.

    Raises
    ------
    RedefinitionError
        A model in staging or production uses the table, or a key or timestamp would have another
        type, and no reason is given.
    """
    from sololakehouse.models.users import protected_tables

    columns = {column.name: column.type for column in table.snapshot.fields}
    old = last_definition(table.snapshot) or Definition.of_written(table.contract, columns)
    new = written_definition(table.contract, rows)
    if old.fingerprint == new.fingerprint:
        return None
    found = Redefinition(
        table=table.name,
        place="",
        how=f"write_table(mode={mode!r}, redefine='the reason')",
        version=table.version,
        old=old,
        new=new,
        identity=table.contract.identity_change(columns, table.contract, new.columns),
        users=protected_tables(lake).get(table.name, ()),
        reason=reason,
    )
    if found.is_refused:
        raise RedefinitionError(f"{found.refusal}\nNothing was written.")
    return found


def written_definition(contract: FeatureContract, frame: pl.DataFrame) -> Definition:
    """Return the definition of a table that holds such a frame."""
    return Definition.of_written(contract, column_types(frame.head(0).to_arrow().schema))
