"""Drift: whether the rows that a model predicts for are still like those that it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import NotFoundError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.registry import ModelVersion
from sololakehouse.monitoring.counted import counted
from sololakehouse.monitoring.judgement import (
    ALARM,
    BEFORE,
    PERFORMANCE,
    PREDICTION,
    TOO_FEW,
    TRAINING,
    judged_rows,
    pairs_of,
    performance_rows,
)
from sololakehouse.monitoring.labelled import zone_of_keys
from sololakehouse.monitoring.predictions import Predictions
from sololakehouse.monitoring.reference import Reference
from sololakehouse.monitoring.stored_rows import append_rows, rows_of
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    import polars as pl

OPERATION = "DRIFT"
DRIFT = "monitoring.drift"
RULES_VERSION = 1
_TEXTS = (
    *("drift", "predictions", "model_name", "period", "against", "against_period", "kind"),
    *("column", "unseen_examples", "state", "why", "bins"),
)
_COUNTS = ("predictions_version", "model_version", "rows", "reference_rows")
COLUMNS = (
    *("drift", "predictions", "predictions_version", "model_name", "model_version"),
    *("period", "against", "against_period", "kind", "column", "rows", "reference_rows"),
    *("value", "reference_value", "psi", "js", "ks", "p_value", "q_value"),
    *("missing", "reference_missing", "missing_q_value", "unseen", "unseen_examples"),
    *("importance", "impact", "state", "why", "bins"),
)


@dataclass(frozen=True)
class Drift:
    """What `monitoring.drift` holds of one look at stored predictions.

    Attributes
    ----------
    rows
        One for each period, what it is held against (`training` rows, or the period `before`), and
        column; the columns are the model's features, its `probability`, and where labels are known
        `roc_auc` (kind `performance`). Of a period the row with the greatest impact comes first.
    """

    rows: tuple[dict[str, Any], ...]
    snapshot: Snapshot
    up_to_date: bool
    model: ModelVersion

    @cached_property
    def newest_period(self) -> str | None:
        """The newest period that has enough rows to be judged; None if none has."""
        judged = [row["period"] for row in self.rows if row["state"] != TOO_FEW]
        return max(judged, default=None)

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """The rows of the newest judged period that are an alarm."""
        newest = self.newest_period
        mine = (row for row in self.rows if row["period"] == newest)
        return [row for row in mine if row["state"] == ALARM]


def drift(lake: Lakehouse, writer: LakeWriter, predictions: Predictions) -> Drift:
    """Hold each period of stored predictions against the training rows and the period before.

    Rows and columns may be of any number: values are counted in one pass, in bins that a sample of
    the training rows gives. What is found goes to `monitoring.drift`; the same predictions, labels
    and settings are looked at once.

    Parameters
    ----------
    predictions
        With the model's features, as `slh score` keeps them. With `labels` and `keys` in their job,
        performance is looked at as well.

    Raises
    ------
    NotFoundError
        A feature is not in the predictions, or the training rows are gone.
    ConfigError
        The model has no timestamp.
    TrainingError
        `keys` are not unique in the labels.
    """
    _require_features(predictions)
    job = predictions.job
    labels = lake.read(job.labels) if job.labels and job.keys else None
    mark = _mark(predictions, labels)
    before = lake.newest(DRIFT)
    if before is not None and before.record_of(mark) is not None:
        return Drift(_decoded(rows_of(before, "drift", mark)), before, True, predictions.model)
    reference = Reference(lake, predictions.model)
    pairs = list(pairs_of(counted(predictions, reference)))
    settings = predictions.job.drift
    rows = [
        *performance_rows(predictions, labels),
        *judged_rows(pairs, reference.importances(), settings),
    ]
    frame = _frame([_about(predictions, mark) | row for row in _in_order(rows)])
    inputs = [predictions.table.table_version, reference.table.table_version]
    inputs += [labels.table_version] if labels else []
    details = {"watched": str(predictions.model)}
    change = Change(OPERATION, mark, inputs, details=details, left_out=("drift",))
    snapshot = append_rows(writer, DRIFT, frame, change)
    return Drift(_decoded(rows_of(snapshot, "drift", mark)), snapshot, False, predictions.model)


def _require_features(predictions: Predictions) -> None:
    missing = [
        name for name in predictions.model.feature_columns if name not in predictions.table.columns
    ]
    if missing:
        raise NotFoundError(
            f"{predictions.table.name} has no column {missing[0]!r}, which {predictions.model} was "
            "given. Score again with the features kept: without --without-features, and without "
            "'features: false' in lakehouse.yml."
        )


def _mark(predictions: Predictions, labels: Snapshot | None) -> str:
    model, job = predictions.model, predictions.job
    return fingerprint(
        OPERATION,
        RULES_VERSION,
        (model.name, model.version, model.fingerprint),
        (predictions.table.name, *predictions.table.table_version.content),
        (labels.name, *labels.table_version.content) if labels else None,
        job.keys if labels else None,
        job.drift.model_dump(mode="json"),
        *zone_of_keys(predictions, labels),
    )


def _about(predictions: Predictions, mark: str) -> dict[str, Any]:
    return {
        "drift": mark,
        "predictions": predictions.table.name,
        "predictions_version": predictions.table.data_version,
        "model_name": predictions.model.name,
        "model_version": predictions.model.version,
    }


def _in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = {PERFORMANCE: 0, PREDICTION: 1}
    against = {TRAINING: 0, BEFORE: 1}
    return sorted(
        rows,
        key=lambda row: (
            row["period"],
            against[row["against"]],
            kinds.get(row["kind"], 2),
            -(row["impact"] or 0.0),
        ),
    )


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    import polars as pl

    schema: dict[str, pl.DataType] = dict.fromkeys(COLUMNS, pl.Float64())
    schema |= dict.fromkeys(_TEXTS, pl.String())
    schema |= dict.fromkeys(_COUNTS, pl.Int64())
    written = [{name: row.get(name) for name in COLUMNS} for row in rows]
    for row in written:
        row |= {name: json.dumps(row[name] or []) for name in ("bins", "unseen_examples")}
    return pl.DataFrame(written, schema=schema)


def _decoded(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    lists = ("bins", "unseen_examples")
    return tuple({**row, **{name: json.loads(row[name]) for name in lists}} for row in rows)
