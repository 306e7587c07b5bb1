"""Rows of the tables of the schema `monitoring`: added to those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sololakehouse.lake import LakeWriter, Snapshot
from sololakehouse.provenance import Change

if TYPE_CHECKING:
    import polars as pl

_NUMBER = "number"


def append_rows(writer: LakeWriter, table: str, rows: pl.DataFrame, change: Change) -> Snapshot:
    """Append rows with their `number`, from 0.

    A table that an earlier version of this package made with other columns is written anew, with
    its rows and the columns of both.
    """
    import polars as pl

    numbered = rows.with_row_index(_NUMBER).cast({_NUMBER: pl.Int64})
    before = writer.lake.newest(table)
    if before is None or list(before.columns) == numbered.columns:
        return writer.write_frame(table, numbered, change, mode="append")
    both = pl.concat([before.to_polars(), numbered], how="diagonal_relaxed")
    others = [name for name in both.columns if name not in numbered.columns]
    return writer.write_frame(table, both.select(*numbered.columns, *others), change)


def rows_of(snapshot: Snapshot, column: str, value: str) -> list[dict[str, Any]]:
    """Return the rows that have a value in a column, in their order."""
    import polars as pl

    rows = snapshot.scan().filter(pl.col(column) == value).sort(_NUMBER)
    return rows.drop(_NUMBER).collect().to_dicts()
