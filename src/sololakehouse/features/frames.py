"""Frames that people hand in: Polars, pandas, Arrow or Spark, all as Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sololakehouse.errors import UsageError
from sololakehouse.features.asof import instants
from sololakehouse.features.storable import storable
from sololakehouse.local_time import in_utc, naive_columns

if TYPE_CHECKING:
    import polars as pl


def as_polars(frame: Any, what: str, zone: str | None = None) -> pl.DataFrame:
    """Return a frame as Polars, in types that Delta has: every timestamp in UTC microseconds.

    Unsigned integers become signed ones that hold them, categories text, and arrays lists.

    Parameters
    ----------
    frame
        A Polars frame (lazy or not), a pandas frame (its index is not a column), an Arrow table,
        a Spark DataFrame, or anything else that exports an Arrow stream.
    what
        Name for the messages, such as `the labels`.
    zone
        Where clocks show the timestamps that have no time zone; None: they are refused.

    Raises
    ------
    UsageError
        The object is no frame, cannot be read, has two columns of one name, or a column whose
        values Delta cannot hold.
    FeatureLookupError
        A timestamp column has no time zone, or times that are not one moment there, or values that
        microseconds cannot hold.

    Examples
    --------
    >>> import pandas as pd
    >>> as_polars(pd.DataFrame({"shop": ["n", "s"]}), "the labels")["shop"].to_list()
    ['n', 's']
    """
    import polars as pl

    converted = storable(_converted(frame, what), what)
    naive = naive_columns(converted.schema) if zone else ()
    if naive:
        converted = in_utc(converted.lazy(), naive, zone, what).collect()
    times = [name for name, kind in converted.schema.items() if isinstance(kind, pl.Datetime)]
    return converted.with_columns(instants(converted[name], what) for name in times)


def without_rows(schema: Any, what: str, zone: str | None = None) -> pl.DataFrame:
    """Return a frame of no rows.

    Parameters
    ----------
    schema
        A Spark StructType, an Arrow schema, or column names with Polars types.
    what
        Name for the messages, such as `the rows of features.shops`.
    zone
        See `as_polars`: what has no time zone becomes UTC.

    Raises
    ------
    UsageError
        The object is no schema.
    FeatureLookupError
        A timestamp column has no time zone.

    Examples
    --------
    >>> import polars as pl
    >>> without_rows({"shop": pl.String, "sales": pl.Int64}, "the rows").shape
    (0, 2)
    """
    import polars as pl
    import pyarrow as pa

    if hasattr(schema, "fieldNames"):
        from pyspark.sql.pandas.types import to_arrow_schema

        schema = to_arrow_schema(schema, timezone="UTC")
    if isinstance(schema, pa.Schema):
        return as_polars(schema.empty_table(), what, zone)
    try:
        return as_polars(pl.DataFrame(schema=dict(schema)), what, zone)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{type(schema).__name__} cannot be read as the schema of {what}. Give a Spark "
            "StructType, an Arrow schema, or a dict of names and Polars types."
        ) from error


def _converted(frame: Any, what: str) -> pl.DataFrame:
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    if hasattr(frame, "toArrow"):
        return pl.DataFrame(frame.toArrow())
    try:
        found = _read(frame)
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UsageError(
            f"The {type(frame).__name__} cannot be read as {what}: {reason}."
        ) from error
    if found is None:
        raise UsageError(
            f"{type(frame).__name__} cannot be read as {what}. Give a Polars, pandas, Arrow or "
            "Spark frame."
        )
    return found


def _read(frame: Any) -> pl.DataFrame | None:
    import polars as pl

    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if type(frame).__module__.split(".")[0] == "pandas" and hasattr(frame, "columns"):
        from_pandas: pl.DataFrame = pl.from_pandas(frame)
        return from_pandas
    return pl.DataFrame(frame) if hasattr(frame, "__arrow_c_stream__") else None
