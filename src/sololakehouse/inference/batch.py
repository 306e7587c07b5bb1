"""Batch inference: score the rows of a table or a query with a registered model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.config import ScoringJob
from sololakehouse.errors import UsageError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.spine import in_order
from sololakehouse.inference.predictor import Prediction, Predictor, feature_versions
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.registry import ModelVersion, resolve
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.query import run_query
from sololakehouse.provenance import Change, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl

OPERATION = "BATCH INFERENCE"
MOMENT_COLUMNS = ("scored_at",)


@dataclass(frozen=True)
class ScoreResult:
    """What a batch inference did: the output at its version, and whether it was up to date."""

    model: ModelVersion
    snapshot: Snapshot
    up_to_date: bool


def score(lake: Lakehouse, writer: LakeWriter, job: ScoringJob) -> ScoreResult:
    """Score the job's input into its output table, which then holds exactly these rows.

    The output has the input's columns, `probability`, `prediction`, `model_name`,
    `model_version`, `feature_versions` (JSON: table to Delta version) and `scored_at` (UTC).
    Rows are ordered by the model's timestamp, then by all columns. If model version, input,
    input versions and feature versions are those of an output that is there, nothing is done.

    Raises
    ------
    NotFoundError
        The model, its alias, or an input table does not exist.
    UsageError
        The input is neither a table nor a query.
    """
    version = resolve(lake, job.model)
    spec = TrainingSetSpec.model_validate(version.recipe)
    sources = [lake.read(name).table_version for name in sorted(_input_tables(job.input))]
    features = feature_versions(lake, spec)
    mark = _fingerprint(version, job, [*sources, *features])
    before = lake.newest(job.output)
    if before is not None and before.record and before.record.fingerprint == mark:
        return ScoreResult(version, before, up_to_date=True)
    request = _request(lake, job.input, spec, sources)
    prediction = Predictor(lake, version, spec).predict(request)
    change = Change(
        operation=OPERATION,
        fingerprint=mark,
        inputs=[*sources, *prediction.features],
        details={"model": version.name, "model_version": version.version, "input": job.input},
        left_out=MOMENT_COLUMNS,
    )
    rows = _output_rows(request.hstack(prediction.outputs), prediction, version, writer)
    return ScoreResult(version, writer.write_frame(job.output, rows, change), up_to_date=False)


def _input_tables(source: str) -> set[str]:
    if not source.strip():
        raise UsageError("The input is empty. Name a table or write a SELECT.")
    return sql.tables_in_query(source) if sql.is_select(source) else {source}


def _request(
    lake: Lakehouse, source: str, spec: TrainingSetSpec, tables: list[TableVersion]
) -> pl.DataFrame:
    import polars as pl

    versions = {table.table: table.version for table in tables}
    if sql.is_select(source):
        answer = pl.from_arrow(run_query(lake, source, versions=versions))
        rows = answer if isinstance(answer, pl.DataFrame) else answer.to_frame()
    else:
        rows = lake.read(source, versions[source]).to_polars()
    return in_order(rows, spec.timestamp if spec.timestamp in rows.columns else None)


def _output_rows(
    rows: pl.DataFrame, prediction: Prediction, version: ModelVersion, writer: LakeWriter
) -> pl.DataFrame:
    import polars as pl

    used = {source.table: source.version for source in prediction.features}
    return rows.with_columns(
        pl.lit(version.name).alias("model_name"),
        pl.lit(version.version, pl.Int32).alias("model_version"),
        pl.lit(json.dumps(used, sort_keys=True)).alias("feature_versions"),
        pl.lit(writer.run.started_at).cast(pl.Datetime("us", "UTC")).alias("scored_at"),
    )


def _fingerprint(version: ModelVersion, job: ScoringJob, inputs: list[TableVersion]) -> str:
    source = sql.normal_form(job.input) if sql.is_select(job.input) else job.input
    return fingerprint(
        (version.name, version.version, version.fingerprint),
        source,
        [(table.table, *table.content) for table in inputs],
    )
