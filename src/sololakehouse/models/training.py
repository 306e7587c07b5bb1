"""Training: the baseline and the model of an experiment, logged, registered and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version as library_version

from sololakehouse.errors import NotFoundError, UnreachableError
from sololakehouse.features.saved import build_training_set
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.fitting import Trained, fit_and_measure
from sololakehouse.models.intervals import Interval
from sololakehouse.models.packing import RunReport
from sololakehouse.models.pending import (
    PendingRuns,
    TrainedModel,
    finish,
    pack_runs,
    pending_runs,
    stage_the_better,
)
from sololakehouse.models.registry import BASELINE, ModelVersion, lease_model, model_versions
from sololakehouse.models.report import intervals_on_test, run_report
from sololakehouse.models.split import Part, split_by_time
from sololakehouse.models.tracking import check_store, store_exists
from sololakehouse.models.trainers import check_settings
from sololakehouse.provenance import fingerprint

OPERATION = "TRAINING"
MODEL = "model"
# Part of every fingerprint. Raise it when a change of this code can change a model.
TRAINERS_VERSION = 1
_LIBRARIES = ("scikit-learn", "xgboost-cpu", "numpy")


@dataclass(frozen=True)
class TrainingOutcome:
    """The baseline and the model, as registered; `up_to_date`: they were there already.

    `unknown` is how many rows of a part were left out, because their label was not known when the
    part ended; empty if nothing was trained.
    """

    runs: tuple[ModelVersion, ...]
    training_set: Snapshot
    up_to_date: bool
    unknown: Mapping[str, int] = field(default_factory=dict)

    @property
    def staged(self) -> ModelVersion | None:
        """The one of them that is in staging; None if both have left it."""
        return next((run for run in self.runs if run.stage == "staging"), None)


def train(
    lake: Lakehouse,
    writer: LakeWriter,
    experiment: Experiment,
    *,
    force: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> TrainingOutcome:
    """Train the baseline and the model of an experiment, unless both are up to date.

    The training set is built first. Both models are fitted on its `train` part, logged to MLflow
    and registered; the better one on the `validation` part becomes staging. Models that are up to
    date stay in the stages that they are in.

    Parameters
    ----------
    force
        Train even if experiment, training set and libraries are those of registered models.
    on_step
        Called with a few words when a step begins.

    Raises
    ------
    TrainingError
        Labels or split do not allow training.
    NotFoundError, ConfigError
        An estimator or parameter does not exist, or refuses its value.
    UnreachableError
        MLflow cannot be reached: what was trained is kept for 'slh runs sync'.
    RunError
        MLflow refuses what it gets.
    """
    begin = on_step or (lambda _: None)
    if not _trained_before(lake, experiment):
        for settings in (experiment.baseline, experiment.model):
            check_settings(settings)
    begin("training set")
    training_set, _ = build_training_set(lake, writer, experiment.training_set)
    mark = _fingerprint(experiment, training_set)
    waiting = None if force else _waiting(lake, mark)
    if waiting is not None:
        begin("registering what was trained before")
        registered = finish(lake, LakeWriter(lake, waiting.run), waiting, again=True)
        return TrainingOutcome(tuple(registered), training_set, up_to_date=False)
    known = [] if force or not store_exists(lake.project) else _registered(lake, experiment, mark)
    if known:
        if not any(version.stage for version in known):  # a run ended before this step
            stage_the_better(lake, writer, known)
            known = _registered(lake, experiment, mark)
        _lease(writer, known, training_set)
        return TrainingOutcome(tuple(known), training_set, up_to_date=True)
    parts = _parts(training_set, experiment)
    trained = []
    # Importing MLflow and making its store takes as long as fitting the baseline.
    with ThreadPoolExecutor(max_workers=1) as beside:
        store = beside.submit(check_store, lake.project, experiment.name)
        for role, settings in ((BASELINE, experiment.baseline), (MODEL, experiment.model)):
            begin(f"fitting the {role}")
            trained.append(fit_and_measure(role, settings, parts, experiment))
            with suppress(UnreachableError):  # what is trained is kept, and said at the end
                store.result()
    begin("packing")
    pending = _packed(lake, writer, experiment, training_set, mark, trained, parts)
    begin("registering")
    registered = finish(lake, writer, pending)
    unknown = {name: part.unknown for name, part in parts.items() if part.unknown}
    return TrainingOutcome(tuple(registered), training_set, up_to_date=False, unknown=unknown)


def _packed(
    lake: Lakehouse,
    writer: LakeWriter,
    experiment: Experiment,
    training_set: Snapshot,
    mark: str,
    trained: Sequence[Trained],
    parts: Mapping[str, Part],
) -> PendingRuns:
    models = []
    for one in trained:
        intervals = intervals_on_test(experiment, one, parts["test"])
        report = run_report(lake, writer, experiment, training_set, mark, one, parts, intervals)
        models.append(_pending(experiment, training_set, mark, one, report, intervals))
    return pack_runs(
        writer,
        training_set,
        models,
        operation=OPERATION,
        fingerprint=mark,
        register_as=experiment.register_as,
        stages=True,
    )


def _lease(writer: LakeWriter, versions: Sequence[ModelVersion], training_set: Snapshot) -> None:
    for version in versions:
        lease_model(writer, version, training_set.table_version)


def _waiting(lake: Lakehouse, mark: str) -> PendingRuns | None:
    """Return what was trained by the same fingerprint and is not registered yet."""
    found = [one for one in pending_runs(lake.project) if one.about["fingerprint"] == mark]
    return found[-1] if found else None


def _trained_before(lake: Lakehouse, experiment: Experiment) -> bool:
    """Whether the settings have led to a model; checking them would import the libraries."""
    newest = lake.newest(experiment.training_set.name)
    if newest is None:
        return False
    return bool(_registered(lake, experiment, _fingerprint(experiment, newest)))


def _fingerprint(experiment: Experiment, training_set: Snapshot) -> str:
    table = training_set.table_version
    libraries = {name: library_version(name) for name in _LIBRARIES}
    return fingerprint(
        OPERATION,
        TRAINERS_VERSION,
        experiment.model_dump(mode="json"),
        (table.table, *table.content),
        libraries,
    )


def _registered(lake: Lakehouse, experiment: Experiment, mark: str) -> list[ModelVersion]:
    found = [
        version
        for version in model_versions(lake)
        if version.name == experiment.register_as and version.fingerprint == mark
    ]
    newest = {version.role: version for version in found}
    return [newest[role] for role in (BASELINE, MODEL)] if len(newest) == 2 else []


def _parts(training_set: Snapshot, experiment: Experiment) -> dict[str, Part]:
    frame = training_set.to_polars()
    return split_by_time(frame, experiment, _feature_columns(training_set))


def _feature_columns(training_set: Snapshot) -> tuple[str, ...]:
    record = training_set.record
    if record is None:
        raise NotFoundError(f"{training_set.name} has no recipe: another writer changed it.")
    return tuple(record.details["feature_columns"])


def _pending(
    experiment: Experiment,
    training_set: Snapshot,
    mark: str,
    trained: Trained,
    report: RunReport,
    intervals: Mapping[str, Interval],
) -> TrainedModel:
    about = {
        "experiment": experiment.name,
        "role": trained.role,
        "fingerprint": mark,
        "primary_metric": experiment.primary_metric.name,
        "metrics": json.dumps(trained.metrics),
        "feature_columns": json.dumps(list(_feature_columns(training_set))),
    }
    record = {
        "config": experiment.model_dump(mode="json", by_alias=True),
        "intervals": {name: [found.low, found.high] for name, found in intervals.items()},
        "params": dict(report.params),
        **report.documents,
    }
    return TrainedModel(report, about, record)
