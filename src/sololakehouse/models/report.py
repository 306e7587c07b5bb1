"""What is logged of a trained model: parameters, metrics, plots, datasets, tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models import plots
from sololakehouse.models.evidence import predict
from sololakehouse.models.experiment import PARTS, Experiment
from sololakehouse.models.fitting import Trained
from sololakehouse.models.intervals import Interval, Measure, resampled
from sololakehouse.models.metrics import metric
from sololakehouse.models.packing import RunReport
from sololakehouse.models.part import AnyPart, BatchedPart
from sololakehouse.models.split import LEARNED_FROM
from sololakehouse.models.trainers import decisive_libraries, importances, used_params


def run_report(
    lake: Lakehouse,
    writer: LakeWriter,
    experiment: Experiment,
    training_set: Snapshot,
    mark: str,
    trained: Trained,
    parts: Mapping[str, AnyPart],
    intervals: Mapping[str, Interval],
    environment: Mapping[str, Any],
) -> RunReport:
    """Return the report of one trained model; `mark` is the fingerprint of its training."""
    test = parts["test"]
    probability = predict(trained.model, test)
    confusion = confusion_at(trained.threshold, test.labels, probability)
    rows = _rows(experiment, training_set, parts)
    low = {f"{name}_low": found.low for name, found in intervals.items()}
    high = {f"{name}_high": found.high for name, found in intervals.items()}
    return RunReport(
        experiment=experiment.name,
        config=experiment.model_dump(mode="json", by_alias=True),
        name=trained.role,
        params=_params(experiment, trained) | rows,
        metrics={**trained.metrics, **low, **high},
        tags={
            "role": trained.role,
            "fingerprint": mark,
            "run_id": writer.run.run_id,
            "code_revision": writer.run.code_revision or "none",
            "training_set": str(training_set.table_version),
        },
        figures=_figures(trained, test.labels, probability, confusion),
        datasets=tables_of(lake, training_set),
        metadata=carried(training_set),
        model=trained.model,
        inputs=parts["train"].example,
        documents={"confusion": confusion, "environment": dict(environment)},
        libraries=decisive_libraries(trained.settings),
    )


def _rows(
    experiment: Experiment, training_set: Snapshot, parts: Mapping[str, AnyPart]
) -> dict[str, int]:
    """Return how many rows of the training set went where."""
    rows = {f"{name}_rows": len(part.labels) for name, part in parts.items()}
    if experiment.training_set.label_known_at:
        rows |= {f"{name}_unknown_rows": parts[name].unknown for name in LEARNED_FROM}
    if experiment.split.embargo:
        rows |= {f"{name}_embargoed_rows": parts[name].embargoed for name in LEARNED_FROM}
    rows["outside_rows"] = training_set.rows - sum(rows.values())
    test = parts["test"]
    if isinstance(test, BatchedPart):
        rows["rows_at_once"] = test.rows_at_once
    return rows


def _figures(
    trained: Trained, labels: Any, probability: Any, confusion: Mapping[str, Any]
) -> dict[str, Any]:
    figures = {
        "roc": plots.roc(labels, probability),
        "precision_recall": plots.precision_recall(labels, probability),
        "calibration": plots.calibration(labels, probability),
        "confusion": plots.confusion(confusion),
    }
    weights = importances(trained.model)
    return figures | ({"importance": plots.importance(weights)} if weights else {})


def intervals_on_test(
    experiment: Experiment, trained: Sequence[Trained], test: AnyPart
) -> list[dict[str, Interval]]:
    """Return for each model the 95 % intervals of its metrics, by names such as `test_roc_auc`.

    Only of the test part: nothing was fitted to it and nothing chosen by it. All models are
    measured on the same resamples.
    """
    measures = []
    for one in trained:
        probability = predict(one.model, test)
        measures += [
            Measure(metric(name), probability, one.threshold) for name in experiment.metrics
        ]
    values = iter(resampled(test.labels, measures, experiment.seed))
    names = [f"test_{name}" for name in experiment.metrics]
    return [{name: Interval.of(next(values)) for name in names} for _ in trained]


def confusion_at(threshold: float, truth: Any, probability: Any) -> dict[str, Any]:
    """Count the test rows that a threshold tells right and wrong, by class.

    Examples
    --------
    >>> import numpy as np
    >>> confusion_at(0.5, np.array([0, 0, 1]), np.array([0.1, 0.5, 0.9]))
    {'part': 'test', 'threshold': 0.5, 'true_negatives': 1, 'false_positives': 1, \
'false_negatives': 0, 'true_positives': 1}
    """
    said = probability >= threshold
    return {
        "part": "test",
        "threshold": threshold,
        "true_negatives": int(((truth == 0) & ~said).sum()),
        "false_positives": int(((truth == 0) & said).sum()),
        "false_negatives": int(((truth == 1) & ~said).sum()),
        "true_positives": int(((truth == 1) & said).sum()),
    }


def _params(experiment: Experiment, trained: Trained) -> dict[str, Any]:
    settings = trained.settings.model_dump(exclude={"params", "source"}, exclude_none=True)
    used = used_params(trained.model)
    split = {name: getattr(experiment.split, name).until.isoformat() for name in PARTS}
    return (
        settings
        | {f"params.{name}": value for name, value in used.items()}
        | {f"split.{name}.until": until for name, until in split.items()}
        | {"seed": experiment.seed}
    )


def tables_of(lake: Lakehouse, training_set: Snapshot) -> list[tuple[Snapshot, str]]:
    """Return a training set and the tables that it was made from, each with its role."""
    inputs = training_set.record.inputs if training_set.record else ()
    sources = [(lake.read(source.table, source.version), "input") for source in inputs]
    return [(training_set, "training"), *sources]


def carried(training_set: Snapshot) -> dict[str, Any]:
    """Return what the model in MLflow says of its training set."""
    record = training_set.record
    said = {
        "training_set": str(training_set.table_version),
        "recipe": record.details["recipe"] if record else None,
        "inputs": [str(source) for source in record.inputs] if record else [],
    }
    return {"sololakehouse": said}
