"""Looking up features on an engine: pinned tables are read there, and nothing comes here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.features.asof import AsOf
from sololakehouse.features.defaults import default_value
from sololakehouse.features.join import PlannedLookup
from sololakehouse.features.spark_join import join_as_of, named
from sololakehouse.lake import Snapshot

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql import Column, DataFrame

_ROW = "sololakehouse_row"


def look_up(
    engine: Engine,
    labels: Snapshot | pl.DataFrame,
    lookups: Sequence[tuple[PlannedLookup, AsOf]],
    timestamp: str | None = None,
) -> DataFrame:
    """Return the labels with the features of all lookups, as `join.look_up` does, but lazily.

    Parameters
    ----------
    labels
        A frame, which keeps its order, or a table, which is sorted by `timestamp`, then by all its
        columns.
    lookups
        Each with the rule that chooses its rows.
    """
    if isinstance(labels, Snapshot):
        labels.verify()
        found = engine.read(labels)
        order = list(dict.fromkeys([*([timestamp] if timestamp else []), *labels.columns]))
    else:
        found, order = _numbered(engine, labels), [_ROW]
    return _in_order(joined(engine, found, lookups), order)


def joined(
    engine: Engine, rows: DataFrame, lookups: Sequence[tuple[PlannedLookup, AsOf]]
) -> DataFrame:
    """Return rows with the features of all lookups, lazily and in no order."""
    for plan, rule in lookups:
        plan.table.verify()
        rows = join_as_of(rows, engine.read(plan.table.snapshot), plan.outputs, rule)
        for output, column in _filled(plan).items():
            rows = rows.withColumn(output, column)
    return rows


def sent(session: Any, frame: pl.DataFrame) -> DataFrame:
    """Give a small frame to any session, within the plan; it may be empty."""
    import polars as pl
    from pyspark.sql.pandas.types import from_arrow_schema

    rows = _signed(frame).to_arrow(compat_level=pl.CompatLevel.oldest())
    given: DataFrame = session.createDataFrame(rows, from_arrow_schema(rows.schema))
    return given


def handed_over(engine: Engine, frame: pl.DataFrame) -> DataFrame:
    """Give a frame to an engine, in its order."""
    return _in_order(_numbered(engine, frame), [_ROW])


def _numbered(engine: Engine, frame: pl.DataFrame) -> DataFrame:
    """Write a frame to where the engine reads it: within a plan, it takes ten times as long."""
    file = engine.scratch / f"{uuid.uuid4().hex}.parquet"
    _signed(frame.with_row_index(_ROW)).write_parquet(file)
    return engine.session.read.parquet(str(file))


def _signed(frame: pl.DataFrame) -> pl.DataFrame:
    """Widen unsigned integers: Spark has none, and engines do not agree on how they read them."""
    import polars as pl

    signed: dict[Any, Any] = {pl.UInt8: pl.Int16, pl.UInt16: pl.Int32, pl.UInt32: pl.Int64}
    return frame.cast(signed | {pl.UInt64: pl.Decimal(20, 0)})


def _in_order(rows: DataFrame, order: Sequence[str]) -> DataFrame:
    from pyspark.sql import functions as F

    return rows.orderBy(*(F.asc_nulls_first(named(name)) for name in order)).drop(_ROW)


def _filled(plan: PlannedLookup) -> dict[str, Column]:
    from pyspark.sql import functions as F

    features = {output: name for name, output in plan.outputs.items()}
    types = {field.name: field.type for field in plan.table.snapshot.fields}
    defaults = {}
    for output, value in plan.lookup.default_values.items():
        name = features[output]
        (exact,) = default_value(value, plan.table.schema[name]).to_list()
        defaults[output] = F.coalesce(named(output), F.lit(exact).cast(types[name]))
    return defaults
