"""Training: the baseline and the model of an experiment, logged, registered and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version as library_version
from typing import Any

from sololakehouse.errors import NotFoundError
from sololakehouse.features.saved import build_training_set
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.evidence import data_evidence, model_evidence
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.fitting import Trained, fit_and_measure
from sololakehouse.models.registry import (
    BASELINE,
    ModelVersion,
    lease_model,
    model_versions,
    move,
    register,
)
from sololakehouse.models.report import run_report
from sololakehouse.models.split import Part, split_by_time
from sololakehouse.models.tracking import (
    LoggedModel,
    check_store,
    connected,
    log_run,
    store_exists,
)
from sololakehouse.models.trainers import check_settings
from sololakehouse.models.training_runs import record_runs, run_row
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
    RunError
        MLflow cannot be reached.
    """
    begin = on_step or (lambda _: None)
    if not _trained_before(lake, experiment):
        for settings in (experiment.baseline, experiment.model):
            check_settings(settings)
    begin("training set")
    training_set, _ = build_training_set(lake, writer, experiment.training_set)
    mark = _fingerprint(experiment, training_set)
    known = [] if force or not store_exists(lake.project) else _registered(lake, experiment, mark)
    if known:
        if not any(version.stage for version in known):  # a run ended before this step
            _stage_the_better(lake, writer, experiment, known)
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
            store.result()
    registered = register_trained(
        lake, writer, experiment, training_set, mark, trained, parts, begin=begin
    )
    unknown = {name: part.unknown for name, part in parts.items() if part.unknown}
    return TrainingOutcome(tuple(registered), training_set, up_to_date=False, unknown=unknown)


def register_trained(
    lake: Lakehouse,
    writer: LakeWriter,
    experiment: Experiment,
    training_set: Snapshot,
    mark: str,
    trained: Sequence[Trained],
    parts: Mapping[str, Part],
    *,
    notes: Sequence[Mapping[str, Any]] = (),
    begin: Callable[[str], None],
) -> list[ModelVersion]:
    """Log the baseline and the model, register them, lease their data, and stage the better one.

    Parameters
    ----------
    mark
        The fingerprint of the training.
    notes
        For each model what its record says besides, in place of what would be noted of it here.
    begin
        Called with a few words when a step begins.
    """
    logged = []
    with connected(lake.project) as client:
        for one in trained:
            begin(f"logging the {one.role}")
            report = run_report(lake, writer, experiment, training_set, mark, one, parts)
            logged.append(log_run(client, lake.project, report))
        begin("registering")
        numbers = [register(client, experiment.register_as, entry) for entry in logged]
    data = data_evidence(lake, training_set)
    found = notes or [model_evidence(one.model, parts) for one in trained]
    evidence = [{**data, **one} for one in found]
    rows = [
        _row(writer, experiment, training_set, mark, *entry)
        for entry in zip(trained, logged, numbers, evidence, strict=True)
    ]
    record_runs(writer, rows, training_set, OPERATION, mark)
    registered = _registered(lake, experiment, mark)
    _lease(writer, registered, training_set)
    _stage_the_better(lake, writer, experiment, registered)
    return _registered(lake, experiment, mark)


def _lease(writer: LakeWriter, versions: Sequence[ModelVersion], training_set: Snapshot) -> None:
    for version in versions:
        lease_model(writer, version, training_set.table_version)


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


def _row(
    writer: LakeWriter,
    experiment: Experiment,
    training_set: Snapshot,
    mark: str,
    trained: Trained,
    logged: LoggedModel,
    number: int,
    evidence: Mapping[str, Any],
) -> dict[str, Any]:
    about = {
        "experiment": experiment.name,
        "role": trained.role,
        "fingerprint": mark,
        "model_name": experiment.register_as,
        "model_version": number,
        "primary_metric": experiment.primary_metric.name,
        "metrics": json.dumps(trained.metrics),
        "feature_columns": json.dumps(list(_feature_columns(training_set))),
    }
    record = {"config": experiment.model_dump(mode="json", by_alias=True), **evidence}
    return run_row(writer, training_set, logged, about, record)


def _stage_the_better(
    lake: Lakehouse, writer: LakeWriter, experiment: Experiment, versions: list[ModelVersion]
) -> None:
    baseline, model = versions
    key = f"validation_{experiment.primary_metric.name}"
    mine, theirs = model.metrics[key], baseline.metrics[key]
    better = experiment.primary_metric.better(mine, theirs)
    winner, other = (model, baseline) if better else (baseline, model)
    reason = (
        f"The better one: {key} {winner.metrics[key]:.4f} against {other.metrics[key]:.4f} of "
        f"version {other.version} ({other.role})."
    )
    move(lake, writer, winner, "staging", reason, {"model": mine, "baseline": theirs})
