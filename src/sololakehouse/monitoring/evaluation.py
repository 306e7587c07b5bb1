"""How a model does once the labels are in: its stored predictions against what happened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.config import ScoringJob
from sololakehouse.config.evaluation import EvaluationSettings
from sololakehouse.errors import ConfigError, RunError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.registry import ModelVersion, resolve
from sololakehouse.monitoring.challenger import challenge
from sololakehouse.monitoring.labelled import CHALLENGER, known_rows, labelled, zone_of_keys
from sololakehouse.monitoring.measures import (
    METRICS,
    NUMBERS,
    THRESHOLDS,
    costs,
    differences,
    measured,
)
from sololakehouse.monitoring.periods import period_of
from sololakehouse.monitoring.predictions import Predictions
from sololakehouse.monitoring.stored_rows import append_rows, rows_of
from sololakehouse.provenance import Change, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl

OPERATION = "EVALUATION"
EVALUATIONS = "monitoring.evaluations"
MEASURES_VERSION = 1
CHAMPION, DIFFERENCE = "champion", "difference"
_TEXTS = (
    *("evaluation", "predictions", "labels", "model_name", "against", "role", "period", "slice"),
    "value",
)
_COUNTS = ("predictions_version", "labels_version", "model_version", "rows", "unknown")
COLUMNS = (
    *("evaluation", "predictions", "predictions_version", "labels", "labels_version"),
    *("model_name", "model_version", "against", "role", "period", "slice", "value"),
    *("rows", "unknown", *NUMBERS, "calibration", "costs"),
)


@dataclass(frozen=True)
class Evaluation:
    """What `monitoring.evaluations` holds of one evaluation.

    Attributes
    ----------
    rows
        One for each part of the predictions and each role. The part is all of them (`period` and
        `slice` are None), a `period`, or a `slice` (a column) with its `value`. The role is
        `champion`, `challenger`, or `difference`: champion minus challenger on the same rows.
        `unknown` counts rows whose label is not known, which are in no metric. Metrics are None
        where a part holds one class only; `_low` and `_high` are the limits of 95 % intervals.
    not_logged
        Why MLflow did not take it; None if it did, or nothing was to do.
    """

    rows: tuple[dict[str, Any], ...]
    snapshot: Snapshot
    up_to_date: bool
    model: ModelVersion
    against: ModelVersion | None = None
    not_logged: str | None = None

    @property
    def periods(self) -> list[dict[str, Any]]:
        """The champion's metrics by period, in the order of time."""
        mine = (row for row in self.rows if row["role"] == CHAMPION and row["period"])
        shown = ("period", "rows", "unknown", "share_positive", *METRICS, "calibration_error")
        return [{name: row[name] for name in shown} for row in mine]


def evaluate_job(
    lake: Lakehouse, writer: LakeWriter, job: ScoringJob, against: str | None = None
) -> Evaluation:
    """Evaluate the output of a scoring job against the job's labels; see `evaluate`.

    Raises
    ------
    ConfigError
        The job names no labels or no keys.
    """
    return evaluate(lake, writer, Predictions.of_job(lake, job), against)


def evaluate(
    lake: Lakehouse, writer: LakeWriter, predictions: Predictions, against: str | None = None
) -> Evaluation:
    """Compare predictions with the labels that are known by now, into `monitoring.evaluations`.

    A row whose label is not there or NULL is counted and not guessed; when its label comes, the
    next evaluation has it. The same predictions, labels and settings are evaluated once. What is
    new also becomes a run in MLflow.

    Parameters
    ----------
    predictions
        With `labels` and `keys` in their job.
    against
        Another model, as `NAME@staging`, that predicts the same rows now.

    Raises
    ------
    ConfigError
        The job names no labels or no keys, or the model has no timestamp.
    NotFoundError
        A table or column does not exist.
    TrainingError
        `keys` are not unique in the labels, or a label is neither 0 nor 1.
    """
    job = predictions.job
    if job.labels is None or not job.keys:
        raise ConfigError(
            f"The predictions in {job.output} have no labels to compare with. Add 'labels' (a "
            "table) and 'keys' (the columns that identify a row) to the scoring job in "
            "lakehouse.yml, or say --labels and --keys."
        )
    labels = lake.read(job.labels)
    predictions.require(*job.evaluation.slices, "probability")
    challenger = resolve(lake, against) if against else None
    mark = _mark(predictions, labels, challenger)
    before = lake.newest(EVALUATIONS)
    if before is not None and before.record_of(mark) is not None:
        stored = _decoded(rows_of(before, "evaluation", mark))
        return Evaluation(stored, before, True, predictions.model, challenger)
    frame = _labelled(lake, writer, predictions, labels, challenger)
    about = _about(predictions, labels, challenger, mark)
    found = [about | row for row in _measured(frame, predictions, challenger)]
    inputs = [predictions.table.table_version, labels.table_version]
    details = {"evaluated": str(predictions.model), "against": str(challenger or "")}
    change = Change(OPERATION, mark, inputs, details=details, left_out=("evaluation",))
    snapshot = append_rows(writer, EVALUATIONS, _frame(found), change)
    rows = _decoded(rows_of(snapshot, "evaluation", mark))
    not_logged = _logged(lake, predictions, labels, rows)
    return Evaluation(rows, snapshot, False, predictions.model, challenger, not_logged)


def _mark(predictions: Predictions, labels: Snapshot, challenger: ModelVersion | None) -> str:
    sources = [_identity(one.table_version) for one in (predictions.table, labels)]
    job = predictions.job
    settings = job.evaluation.model_dump(mode="json")
    rival = (challenger.name, challenger.version, challenger.fingerprint) if challenger else None
    zone = zone_of_keys(predictions, labels)
    return fingerprint(OPERATION, MEASURES_VERSION, sources, settings, job.keys, rival, *zone)


def _identity(source: TableVersion) -> dict[str, Any]:
    table_id, version = source.content
    return {"table": source.table, "version": version, "table_id": table_id}


def _labelled(
    lake: Lakehouse,
    writer: LakeWriter,
    predictions: Predictions,
    labels: Snapshot,
    challenger: ModelVersion | None,
) -> pl.DataFrame:
    job = predictions.job
    if challenger is None:
        return labelled(predictions, labels, job.keys, job.evaluation.slices)
    with writer.staging() as folder:
        theirs = challenge(lake, predictions, challenger, folder)
    return labelled(predictions, labels, job.keys, job.evaluation.slices, theirs)


def _measured(
    frame: pl.DataFrame, predictions: Predictions, challenger: ModelVersion | None
) -> Iterator[dict[str, Any]]:
    settings = predictions.job.evaluation
    for part, rows in _parts(frame, predictions.timestamp, settings):
        mine = known_rows(rows)
        counts = {"rows": rows.height, "unknown": rows.height - len(mine.truth)}
        whole = part["period"] is None and part["slice"] is None
        yield part | counts | _of_one(CHAMPION, mine, settings, with_costs=whole)
        if challenger is not None:
            theirs = known_rows(rows, CHALLENGER)
            other = _of_one(CHALLENGER, theirs, settings, with_costs=whole)
            yield part | counts | other
            yield part | counts | {"role": DIFFERENCE, **differences(mine, theirs)}


def _of_one(
    role: str, rows: Any, settings: EvaluationSettings, *, with_costs: bool
) -> dict[str, Any]:
    curve = costs(rows, settings, THRESHOLDS) if with_costs and len(rows.truth) else []
    return {"role": role, **measured(rows, settings), "costs": curve}


def _parts(
    frame: pl.DataFrame, timestamp: str, settings: EvaluationSettings
) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    """Give all rows, those of each period, and those of each value of each slice."""
    import polars as pl

    nothing: dict[str, Any] = {"period": None, "slice": None, "value": None}
    yield nothing, frame
    period = period_of(timestamp, settings.period).alias("period of the row")
    for name, rows in _split(frame.with_columns(period), "period of the row"):
        yield nothing | {"period": name}, rows
    for column in settings.slices:
        texts = frame.with_columns(pl.col(column).cast(pl.String).alias("value of the slice"))
        for value, rows in _split(texts, "value of the slice"):
            yield nothing | {"slice": column, "value": value}, rows


def _split(frame: pl.DataFrame, column: str) -> Iterator[tuple[str | None, pl.DataFrame]]:
    parts = frame.partition_by(column, maintain_order=True, as_dict=True)
    for key in sorted(parts, key=lambda one: (one[0] is None, one[0] or "")):
        yield (None if key[0] is None else str(key[0])), parts[key]


def _about(
    predictions: Predictions, labels: Snapshot, challenger: ModelVersion | None, mark: str
) -> dict[str, Any]:
    return {
        "evaluation": mark,
        "predictions": predictions.table.name,
        "predictions_version": predictions.table.data_version,
        "labels": labels.name,
        "labels_version": labels.data_version,
        "model_name": predictions.model.name,
        "model_version": predictions.model.version,
        "against": f"{challenger.name}@{challenger.version}" if challenger else None,
    }


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    import polars as pl

    schema: dict[str, pl.DataType] = dict.fromkeys(_TEXTS, pl.String())
    schema |= dict.fromkeys(_COUNTS, pl.Int64())
    schema |= dict.fromkeys(NUMBERS, pl.Float64())
    schema |= {"calibration": pl.String(), "costs": pl.String()}
    lists = ("calibration", "costs")
    written = [
        {name: row.get(name) for name in COLUMNS}
        | {name: json.dumps(row[name]) for name in lists if row.get(name)}
        | {name: None for name in lists if not row.get(name)}
        for row in rows
    ]
    return pl.DataFrame(written, schema={name: schema[name] for name in COLUMNS})


def _decoded(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {**row, **{name: json.loads(row[name] or "[]") for name in ("calibration", "costs")}}
        for row in rows
    )


def _logged(
    lake: Lakehouse, predictions: Predictions, labels: Snapshot, rows: Sequence[dict[str, Any]]
) -> str | None:
    from sololakehouse.models.sending import log_numbers
    from sololakehouse.monitoring.evaluation_report import evaluation_html

    model = predictions.model
    tags = {
        "role": "evaluation",
        "model": f"{model.name}@{model.version}",
        "trained_by": model.mlflow_run_id,
        "predictions": str(predictions.table.table_version),
        "labels": str(labels.table_version),
    }
    try:
        log_numbers(
            lake.project,
            model.experiment,
            f"evaluation of {model.name}@{model.version}",
            tags,
            _numbers_of(rows),
            {"evaluation.html": evaluation_html(rows)},
            [(predictions.table, "predictions"), (labels, "labels")],
        )
    except RunError as error:
        return str(error)
    return None


def _numbers_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    """Return name, value and step: 0 for all rows, then a period each."""
    found = []
    step: dict[str | None, int] = {None: 0}
    for row in rows:
        if row["slice"] is not None:
            continue
        number = step.setdefault(row["period"], len(step))
        prefix = "" if row["role"] == CHAMPION else f"{row['role']}_"
        kind = "" if row["period"] is None else "_by_period"
        found += [
            (f"{prefix}{name}{kind}", row[name], number)
            for name in (*METRICS, "calibration_error", "cost")
            if row[name] is not None
        ]
    return found
