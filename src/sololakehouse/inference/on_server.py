"""Scoring on a Spark server: it looks the features up, and its workers predict.

The lookups are the Spark form of the join. The workers load the model from its files and predict by
the code that predicts here; that is the same only if their Python has the same libraries, so they
are asked first.
"""

from __future__ import annotations

import json
import platform
import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine, engine_message
from sololakehouse.errors import EngineError, RunError, SoloLakehouseError
from sololakehouse.features.requests import FeatureRequest
from sololakehouse.features.spark_join import named
from sololakehouse.features.spark_lookup import joined
from sololakehouse.inference.predictor import ModelPredictor
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.environment import library_versions
from sololakehouse.models.model_file import load_model_file
from sololakehouse.models.model_store import fetch_model
from sololakehouse.models.registry import ModelVersion

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

_OURS = ("sololakehouse", "polars", "pyarrow", "numpy", "pandas", "scikit-learn", "skops")
_SAMPLE = 8
_RAISED = re.compile(r"sololakehouse\.errors\.\w+: (.+)")
_ANY = re.compile(r"^[\w.]+(?:Error|Exception): .+$", re.MULTILINE)


def can_compute(request: FeatureRequest) -> bool:
    """Whether a server can do all that a request needs.

    A person's functions run in this process, where their code is; so does the check of features
    that the rows bring themselves, and of times without a zone.
    """
    return not (request.functions or request.given_types or request.local_times)


def write_predictions(
    lake: Lakehouse,
    rows: Snapshot | pl.LazyFrame,
    request: FeatureRequest,
    version: ModelVersion,
    left_out: Collection[str],
    constants: Mapping[str, Any],
    folder: Path,
) -> str:
    """Let the project's server score rows into Parquet files; return the server's name.

    Parameters
    ----------
    rows
        A table, which the server reads itself, or rows that are handed over.
    left_out
        Looked-up features that are not kept.
    constants
        Further columns, with the value that all rows have.
    folder
        An empty folder that the server sees as well.

    Raises
    ------
    EngineError
        The server's Python lacks a library or has another version of one, or the server failed.
    RunError
        The model refuses the values of a row, MLflow does not have it any more, or a table is
        damaged.
    """
    with lake.engine() as engine:
        given = _given(engine, rows)
        predicted = predicted_on_server(engine, lake, given, request, version)
        columns = [name for name in predicted.columns if name not in left_out]
        try:
            engine.write_parquet(_selected(predicted, columns, constants), folder)
        except SoloLakehouseError:
            raise
        except Exception as error:
            raise _said(engine, error) from error
        return engine.name


def _given(engine: Engine, rows: Snapshot | pl.LazyFrame) -> DataFrame:
    if isinstance(rows, Snapshot):
        rows.verify()
        return engine.read(rows)
    file = engine.scratch / f"rows_{uuid.uuid4().hex}.parquet"
    rows.sink_parquet(file)
    return engine.session.read.parquet(str(file))


def predicted_on_server(
    engine: Engine,
    lake: Lakehouse,
    rows: DataFrame,
    request: FeatureRequest,
    version: ModelVersion,
) -> DataFrame:
    """Return rows with looked-up features and predictions, lazily and in no order.

    Raises
    ------
    EngineError
        The server's Python lacks a library, or has another version of one.
    RunError
        MLflow does not have the model any more, or a feature table is damaged.
    """
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructType

    refuse_other_python(engine, version)
    place = engine.scratch / f"model_{uuid.uuid4().hex}"
    place.mkdir()
    folder = fetch_model(lake.project, version, place)
    outputs = _outputs_schema(lake, version, folder)
    exact = request.allow_exact_match
    rules = [
        (plan, plan.rule(allow_exact_match=exact, known_as_of=None)) for plan in request.lookups
    ]
    found = joined(engine, rows, rules)
    predicted = [*found.schema.fields, *from_arrow_schema(outputs).fields]
    return found.mapInArrow(PredictInWorker(version, str(folder), outputs), StructType(predicted))


def refuse_other_python(engine: Engine, version: ModelVersion) -> None:
    """Refuse a server whose workers would not predict as this process does.

    Raises
    ------
    EngineError
        Names the first libraries that differ.
    """
    needed = _needed(version)
    found = _libraries_of_workers(engine, list(needed))
    differing = [
        f"{name} {wanted} ({found.get(name) or 'not there'})"
        for name, wanted in needed.items()
        if found.get(name) != wanted
    ]
    if differing:
        raise EngineError(
            f"{version} cannot predict on {engine.name}: its Python needs {', '.join(differing)}. "
            "Install them where its workers run, or score with 'engine: embedded'"
        )


def _needed(version: ModelVersion) -> dict[str, str]:
    """Return what predicting takes, in the versions that are here."""
    known: Mapping[str, str] = version.record.get("environment", {}).get("libraries", {})
    return library_versions([*_OURS, *known])


def _libraries_of_workers(engine: Engine, names: Sequence[str]) -> dict[str, str | None]:
    """Ask a worker for the versions of distributions; the question needs nothing but Python."""
    from pyspark.sql import functions as F

    def versions(_: int) -> str:
        from importlib.metadata import PackageNotFoundError, version

        said: dict[str, str | None] = {}
        for name in names:
            try:
                said[name] = version(name)
            except PackageNotFoundError:
                said[name] = None
        return json.dumps(said)

    try:
        ask = F.udf(versions, "string", useArrow=False)
        (row,) = engine.session.range(1).select(ask("id").alias("said")).collect()
    except Exception as error:
        raise EngineError(
            f"{engine.name} runs no Python functions from here, where Python is "
            f"{platform.python_version()}: {engine_message(error)}"
        ) from error
    answer: dict[str, str | None] = json.loads(row["said"])
    return answer


def _outputs_schema(lake: Lakehouse, version: ModelVersion, folder: Path) -> pa.Schema:
    """Return what the model gives for rows of its training set."""
    training_set = lake.read(version.training_set, version.training_set_version)
    sample = training_set.scan().select(version.feature_columns).head(_SAMPLE).collect()
    return _as_spark_has_it(ModelPredictor(version, load_model_file(folder)).outputs(sample)).schema


def _as_spark_has_it(frame: pl.DataFrame) -> pa.Table:
    import polars as pl
    import pyarrow as pa

    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    texts = {name: pa.string() for name in table.column_names if frame.schema[name] == pl.String}
    fields = [field.with_type(texts.get(field.name, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


@dataclass
class PredictInWorker:
    """Adds predictions to batches of rows, in a worker of the server.

    Attributes
    ----------
    folder
        The model's files; the worker sees this machine's file system.
    """

    version: ModelVersion
    folder: str
    outputs: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give each batch with its predictions."""
        import polars as pl
        import pyarrow as pa

        predictor = ModelPredictor(self.version, load_model_file(Path(self.folder)))
        for batch in batches:
            rows = pl.DataFrame(batch.select(list(self.version.feature_columns)))
            made = _as_spark_has_it(predictor.outputs(rows)).cast(self.outputs)
            columns = [one.combine_chunks() for one in made.columns]
            names = [*batch.schema.names, *made.column_names]
            yield pa.RecordBatch.from_arrays([*batch.columns, *columns], names=names)


def _said(engine: Engine, error: Exception) -> SoloLakehouseError:
    """Return what our code raised in a worker, or what the server says of itself."""
    ours, others = _RAISED.search(str(error)), _ANY.findall(str(error))
    if ours:
        return RunError(ours[1].strip())
    said = others[-1] if others else engine_message(error)
    return EngineError(f"{engine.name} could not score the rows: {said}")


def _selected(frame: DataFrame, columns: Sequence[str], constants: Mapping[str, Any]) -> DataFrame:
    from pyspark.sql import functions as F

    added = (F.lit(value).alias(name) for name, value in constants.items())
    return frame.select(*map(named, columns), *added)
