"""How a model does once the labels are in: metrics of stored predictions, by month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.config import ScoringJob
from sololakehouse.errors import ConfigError, NotFoundError, TrainingError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.metrics import compute_metrics
from sololakehouse.models.registry import resolve
from sololakehouse.provenance import Change, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl

OPERATION = "EVALUATION"
EVALUATIONS = "monitoring.evaluations"
METRICS = ("roc_auc", "average_precision", "brier")


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one prediction table; `months` holds one row per month, as in the table.

    Attributes
    ----------
    months
        `month` (UTC, as 2013-11), `rows`, `unknown` (rows whose label is not known, which are in
        no metric), `share_positive`, and one column per metric, NULL where a month holds only one
        class.
    """

    months: tuple[dict[str, Any], ...]
    snapshot: Snapshot
    up_to_date: bool


def evaluate_job(lake: Lakehouse, writer: LakeWriter, job: ScoringJob) -> Evaluation:
    """Evaluate the output of a scoring job against the job's labels; see `evaluate`.

    Raises
    ------
    ConfigError
        The job names no labels or no keys.
    """
    if job.labels is None or not job.keys:
        raise ConfigError(
            f"The scoring job into {job.output} names no labels to compare with. Add 'labels' (a "
            "table) and 'keys' (the columns that identify a row) in lakehouse.yml."
        )
    recipe = TrainingSetSpec.model_validate(resolve(lake, job.model).recipe)
    if recipe.timestamp is None:
        raise ConfigError(f"{job.model} was trained without a timestamp, so there are no months.")
    return evaluate(
        lake,
        writer,
        job.output,
        job.labels,
        label=recipe.label,
        timestamp=recipe.timestamp,
        keys=job.keys,
    )


def evaluate(
    lake: Lakehouse,
    writer: LakeWriter,
    predictions: str,
    labels: str,
    *,
    label: str,
    timestamp: str,
    keys: Sequence[str],
) -> Evaluation:
    """Compare predictions with the labels that are known by now, into `monitoring.evaluations`.

    Parameters
    ----------
    predictions, labels
        Tables; `keys` identify a row in both, and must be unique in `labels`.
    label
        Column of `labels` with 0, 1, or NULL where the label is not known.
    timestamp
        Column of `predictions` that decides the month.

    Raises
    ------
    NotFoundError
        A table or column does not exist.
    TrainingError
        `keys` are not unique in `labels`.
    """
    predicted, known = lake.read(predictions), lake.read(labels)
    _require(predicted, [*keys, timestamp, "probability"])
    _require(known, [*keys, label])
    inputs = [predicted.table_version, known.table_version]
    mark = fingerprint(OPERATION, [_identity(source) for source in inputs], label, METRICS, keys)
    before = lake.newest(EVALUATIONS)
    if before is not None and before.record_of(mark) is not None:
        return Evaluation(_stored(before, predicted, known), before, up_to_date=True)
    rows = _monthly(_joined(predicted, known, label, timestamp, keys), timestamp, label)
    frame = _table_rows(rows, predicted, known)
    change = Change(OPERATION, mark, inputs)
    snapshot = writer.write_frame(EVALUATIONS, frame, change, mode="append")
    return Evaluation(_stored(snapshot, predicted, known), snapshot, up_to_date=False)


def _identity(source: TableVersion) -> dict[str, Any]:
    table_id, version = source.content
    return {"table": source.table, "version": version, "table_id": table_id}


def _require(snapshot: Snapshot, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in snapshot.columns:
            raise NotFoundError.of("column", column, snapshot.columns, where=snapshot.name)


def _joined(
    predicted: Snapshot, known: Snapshot, label: str, timestamp: str, keys: Sequence[str]
) -> pl.DataFrame:
    answers = known.scan().select(*keys, label).collect()
    if answers.select(keys).is_duplicated().any():
        raise TrainingError(
            f"{known.name}: {', '.join(keys)} is not unique, so a prediction would count twice. "
            "Name the columns that identify a row under 'keys' of the scoring job."
        )
    asked = predicted.scan().select(*keys, timestamp, "probability").collect()
    return asked.join(answers, on=list(keys), how="left", maintain_order="left")


def _monthly(joined: pl.DataFrame, timestamp: str, label: str) -> list[dict[str, Any]]:
    import polars as pl

    month = pl.col(timestamp).dt.convert_time_zone("UTC").dt.strftime("%Y-%m").alias("month")
    parts = joined.with_columns(month).sort("month").partition_by("month", maintain_order=True)
    return [_month_row(part, label) for part in parts]


def _month_row(part: pl.DataFrame, label: str) -> dict[str, Any]:
    known = part.drop_nulls(label)
    truth = known[label].cast(int)
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    if truth.n_unique() > 1:
        metrics |= compute_metrics(METRICS, truth.to_numpy(), known["probability"].to_numpy())
    return {
        "month": part["month"][0],
        "rows": part.height,
        "unknown": part.height - known.height,
        "share_positive": truth.mean(),
        **metrics,
    }


def _table_rows(rows: list[dict[str, Any]], predicted: Snapshot, known: Snapshot) -> pl.DataFrame:
    import polars as pl

    numbers = dict.fromkeys(("share_positive", *METRICS), pl.Float64)
    frame = pl.DataFrame(rows, schema_overrides=numbers)
    details = predicted.record.details if predicted.record else {}
    return frame.select(
        pl.lit(predicted.name).alias("predictions"),
        pl.lit(predicted.data_version, pl.Int64).alias("predictions_version"),
        pl.lit(known.name).alias("labels"),
        pl.lit(known.data_version, pl.Int64).alias("labels_version"),
        pl.lit(details.get("model"), pl.String).alias("model_name"),
        pl.lit(details.get("model_version"), pl.Int32).alias("model_version"),
        pl.all(),
    )


def _stored(snapshot: Snapshot, predicted: Snapshot, known: Snapshot) -> tuple[dict[str, Any], ...]:
    rows = snapshot.scan().filter(
        predictions=predicted.name,
        predictions_version=predicted.data_version,
        labels=known.name,
        labels_version=known.data_version,
    )
    shown = rows.sort("month").select("month", "rows", "unknown", "share_positive", *METRICS)
    return tuple(shown.collect().to_dicts())
