"""Scoring a frame: the rows that were given, in their kind, with features and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.features.frames import as_polars
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import FeatureRequest
from sololakehouse.inference.on_server import can_compute, predicted_on_server
from sololakehouse.inference.predictor import Predictor
from sololakehouse.lake import Lakehouse
from sololakehouse.models.registry import ModelVersion, resolve

if TYPE_CHECKING:
    import polars as pl

RESULT_TYPES: Mapping[str, str] = {
    "boolean": "Boolean",
    "int": "Int32",
    "integer": "Int32",
    "bigint": "Int64",
    "long": "Int64",
    "float": "Float32",
    "double": "Float64",
    "string": "String",
}


def score_frame(lake: Lakehouse, model: str, frame: Any, result_type: str | None = None) -> Any:
    """Score the rows of a frame with a registered model.

    Parameters
    ----------
    model
        `NAME@production`, `models:/NAME@production`, `models:/NAME/3`: see `resolve`.
    frame
        A Polars, pandas, Arrow or Spark frame. One of a session of `Lakehouse.engine()` on a server
        is scored there, when the result is asked for its rows, which are in no order; see
        `on_server.can_compute` for what is scored here all the same.
    result_type
        Type of the predictions; None: as the model gives them.

    Returns
    -------
    A frame of the same kind and order: its columns, the features that it did not have, the
    probability if the model has one, and the prediction.

    Raises
    ------
    NotFoundError
        The model, a version, a feature table or a result type does not exist.
    UsageError
        The object is no frame, has a column named as a result, or the predictions are of another
        type.
    FeatureLookupError, FeatureFunctionError, FunctionFailedError
        The rows lack what a feature needs, or a function failed on one of them.
    """
    if result_type is not None and result_type not in RESULT_TYPES:
        raise NotFoundError.of("result type", result_type, RESULT_TYPES, where="score_batch")
    version = resolve(lake, model)
    on_server = _scored_on_server(lake, version, frame, result_type)
    if on_server is not None:
        return on_server
    predictor = Predictor(lake, version, TrainingSetSpec.model_validate(version.recipe))

    def further(rows: pl.DataFrame) -> pl.DataFrame:
        prediction = predictor.predict(rows)
        outputs = _of_type(prediction.outputs, result_type)
        return prediction.found.drop(rows.columns).hstack(outputs)

    return with_further_columns(frame, further, lake.project.settings.time_zone)


def _scored_on_server(
    lake: Lakehouse, version: ModelVersion, frame: Any, result_type: str | None
) -> Any:
    """Return a frame of a server with its predictions; None if it is to be scored here."""
    session = getattr(frame, "sparkSession", None)
    engine = None if session is None else Engine.of(session)
    if engine is None or engine.is_embedded:
        return None
    import polars as pl

    schema = pl.DataFrame(frame.limit(0).toArrow()).schema
    spec = TrainingSetSpec.model_validate(version.recipe)
    request = FeatureRequest.plan(lake, schema, spec)
    if not can_compute(request):
        return None
    scored = predicted_on_server(engine, lake, frame, request, version)
    if result_type is None:
        return scored
    return scored.withColumn("prediction", scored["prediction"].cast(result_type))


def _of_type(outputs: pl.DataFrame, result_type: str | None) -> pl.DataFrame:
    import polars as pl

    if result_type is None:
        return outputs
    try:
        return outputs.cast({"prediction": getattr(pl, RESULT_TYPES[result_type])})
    except pl.exceptions.PolarsError as error:
        kind = outputs.schema["prediction"]
        raise UsageError(
            f"score_batch: the predictions are {kind}, and cannot be given as {result_type!r}."
        ) from error


def with_further_columns(
    frame: Any, further: Callable[[pl.DataFrame], pl.DataFrame], zone: str | None = None
) -> Any:
    """Return a frame of the kind that was given, with further columns behind its own.

    Parameters
    ----------
    frame
        A Polars frame (lazy or not), a pandas frame (its index stays), a Spark DataFrame (the
        result is one of its session), or anything else that exports an Arrow stream, which gives
        an Arrow table. It is computed once.
    further
        Gives one row for each row of the frame, in its order.
    zone
        Where clocks show the timestamps that have no time zone, for `further`; the frame's own
        columns stay as they are. None: they are refused.

    Examples
    --------
    >>> import pandas as pd
    >>> shops = pd.DataFrame({"shop": ["n", "s"], "sales": [1, 2]}, index=[7, 8])
    >>> double = with_further_columns(shops, lambda rows: rows.select(double=rows["sales"] * 2))
    >>> double.loc[8].to_dict() == {"shop": "s", "sales": 2, "double": 4}
    True
    """
    import polars as pl
    import pyarrow as pa

    if isinstance(frame, pl.LazyFrame):
        return with_further_columns(frame.collect(), further, zone).lazy()
    if hasattr(frame, "toArrow"):
        table = with_further_columns(frame.toArrow(), further, zone)
        return frame.sparkSession.createDataFrame(table, _spark_schema(table))
    is_polars = isinstance(frame, pl.DataFrame)
    if not is_polars and not hasattr(frame, "columns") and hasattr(frame, "__arrow_c_stream__"):
        frame = pa.table(frame)
    rows = as_polars(frame, "the rows to score", zone)
    found = further(rows)
    if is_polars:
        return frame.hstack(found)
    if isinstance(frame, pa.Table):
        more = found.to_arrow(compat_level=pl.CompatLevel.oldest())
        return _appended(frame, more)
    import pandas as pd

    return pd.concat([frame, found.to_pandas().set_axis(frame.index)], axis=1)


def _spark_schema(table: Any) -> Any:
    """Return the columns as Spark has them: without a schema, times without a zone become UTC."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(table.schema, prefer_timestamp_ntz=True)


def _appended(table: Any, more: Any) -> Any:
    for name, column in zip(more.column_names, more.columns, strict=True):
        table = table.append_column(name, column)
    return table
