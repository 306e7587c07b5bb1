"""The rows that go into a feature table: the first ones, and those that are merged into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sololakehouse.errors import UsageError
from sololakehouse.features.frames import as_polars, without_rows
from sololakehouse.features.tables import FeatureTable
from sololakehouse.pipelines.ingested import INGEST

if TYPE_CHECKING:
    import polars as pl

_COMPUTED = ("MATERIALIZED VIEW", "STREAMING TABLE")


def first_rows(name: str, df: Any, schema: Any) -> pl.DataFrame:
    """Return the rows of a new table: a frame's, or none if there is only a schema.

    Raises
    ------
    UsageError
        There is neither, or they differ.
    """
    what = f"the rows of {name}"
    if df is None and schema is None:
        raise UsageError(f"{name}: create_table needs a frame (df) or a schema.")
    declared = None if schema is None else without_rows(schema, what)
    if declared is None or df is None:
        return as_polars(df, what) if declared is None else declared
    rows = as_polars(df, what)
    if rows.schema != declared.schema:
        listed = [", ".join(f"{n} {t}" for n, t in one.schema.items()) for one in (declared, rows)]
        raise UsageError(f"{name}: the schema says {listed[0]}; the frame has {listed[1]}.")
    return rows


def refuse_filled(table: FeatureTable) -> None:
    """Refuse to write to a table that a pipeline computes or ingestion fills.

    Raises
    ------
    UsageError
        Says what fills it.
    """
    record = table.snapshot.record
    operation = record.content_operation if record else None
    if record is not None and operation in _COMPUTED:
        place = record.details.get("place", "its pipeline")
        raise UsageError(
            f"{table.name} is computed by the pipeline: change its definition ({place}) instead of "
            "writing to it."
        )
    if record is not None and operation == INGEST:
        source = record.details.get("source", "its source")
        raise UsageError(
            f"{table.name} is filled by 'slh ingest {source}': deliver the rows as a landing file "
            "instead of writing to it."
        )


def merged(table: FeatureTable, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the table's rows with those of a frame, which replace rows of the same identity.

    Raises
    ------
    UsageError
        The frame does not have the table's columns.
    FeatureTableError
        Keys and times of the frame are not set or not unique.
    """
    stored = table.snapshot.to_polars()
    _require_same_columns(table, stored, frame)
    table.contract.check(frame.lazy(), table.name)
    identity = list(table.contract.identity)
    kept = stored.join(frame, on=identity, how="anti")
    return kept.vstack(frame.select(stored.columns))


def _require_same_columns(table: FeatureTable, stored: pl.DataFrame, frame: pl.DataFrame) -> None:
    known, given = stored.schema, frame.schema
    mistakes = [f"{name} is missing" for name in known if name not in given]
    mistakes += [f"{name} is not in the table" for name in given if name not in known]
    mistakes += [
        f"{name} is {given[name]} and not {kind}"
        for name, kind in known.items()
        if name in given and given[name] != kind and not _are_instants(given[name], kind)
    ]
    if mistakes:
        raise UsageError(
            f"{table.name}: the rows do not have the table's columns: {', '.join(mistakes)}. "
            "Use mode='overwrite' to change the table's columns."
        )


def _are_instants(*kinds: pl.DataType) -> bool:
    import polars as pl

    return all(isinstance(kind, pl.Datetime) and kind.time_zone for kind in kinds)
