"""The rows that go into a feature table: the first ones, and those that are merged into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import UsageError
from sololakehouse.features.frames import as_polars, without_rows
from sololakehouse.features.storable import refuse_equal_names
from sololakehouse.features.tables import FeatureTable
from sololakehouse.pipelines.ingested import INGEST

if TYPE_CHECKING:
    import polars as pl

_COMPUTED = ("MATERIALIZED VIEW", "STREAMING TABLE")


def first_rows(name: str, df: Any, schema: Any, zone: str | None) -> pl.DataFrame:
    """Return the rows of a new table: a frame's, or none if there is only a schema.

    Parameters
    ----------
    zone
        The project's time zone, for timestamps that have none.

    Raises
    ------
    UsageError
        There is neither, or they differ.
    """
    what = f"the rows of {name}"
    if df is None and schema is None:
        raise UsageError(f"{name}: create_table needs a frame (df) or a schema.")
    declared = None if schema is None else without_rows(schema, what, zone)
    if declared is None or df is None:
        return as_polars(df, what, zone) if declared is None else declared
    rows = as_polars(df, what, zone)
    if dict(rows.schema) != dict(declared.schema):
        listed = [", ".join(f"{n} {t}" for n, t in one.schema.items()) for one in (declared, rows)]
        raise UsageError(f"{name}: the schema says {listed[0]}; the frame has {listed[1]}.")
    return rows.select(declared.columns)


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
    """Return the table's rows with those of a frame, which go into rows of the same identity.

    Columns that the frame does not have stay as they are, and are NULL in added rows. Columns that
    the table does not have come last.

    Raises
    ------
    UsageError
        A column is of another type than in the table.
    FeatureTableError
        Keys and times of the frame are not set or not unique.
    """
    import polars as pl

    stored = table.snapshot.to_polars()
    given = _in_types(table, stored.schema, frame)
    table.contract.check(given.lazy(), table.name)
    identity = list(table.contract.identity)
    others = [name for name in stored.columns if name not in given.columns]
    added = [name for name in given.columns if name not in stored.columns]
    kept = stored.join(given, on=identity, how="anti")
    beside = stored.select(*identity, *others)
    whole = given.join(beside, on=identity, how="left") if others else given
    return pl.concat([kept, whole], how="diagonal").select(*stored.columns, *added)


def _in_types(
    table: FeatureTable, stored: Mapping[str, pl.DataType], frame: pl.DataFrame
) -> pl.DataFrame:
    """Return a frame in the types of the table; a column of NULL alone may be of any."""
    import polars as pl

    refuse_equal_names([*stored, *frame.columns], f"{table.name} and its new rows")
    nothing = {n: stored[n] for n, kind in frame.schema.items() if kind == pl.Null and n in stored}
    given = frame.cast(nothing) if nothing else frame  # type: ignore[arg-type]
    mistakes = [
        f"{name} is {kind} and not {stored[name]}"
        for name, kind in given.schema.items()
        if name in stored and stored[name] != kind
    ]
    if mistakes:
        raise UsageError(
            f"{table.name}: the rows do not have the types of the table: {', '.join(mistakes)}. "
            "Cast them, or use mode='overwrite' to change the table's types."
        )
    return given
