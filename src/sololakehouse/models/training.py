"""Training: the baseline and the model of an experiment, logged, registered and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sololakehouse.errors import ConfigError, NotFoundError, UnreachableError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.saved import build_training_set
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.batches import parts_of, rows_at_once
from sololakehouse.models.device import device_for
from sololakehouse.models.environment import code_of, library_versions
from sololakehouse.models.evidence import data_evidence, model_evidence
from sololakehouse.models.experiment import Experiment, ModelSettings
from sololakehouse.models.fitting import Trained, fit_and_measure
from sololakehouse.models.intervals import Interval
from sololakehouse.models.model_store import in_store
from sololakehouse.models.packing import RunReport
from sololakehouse.models.part import AnyPart, BatchedPart
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
from sololakehouse.models.tracking import check_store, store_exists
from sololakehouse.models.trainers import check_settings, decisive_libraries
from sololakehouse.provenance import fingerprint

OPERATION = "TRAINING"
MODEL = "model"
SCRATCH = ".slh"
_STEPS = 5
_OF_THE_TRAINING_SET: Any = {"training_set_version": True, "training_set": {"time_zone"}}
# Part of every fingerprint. Raise it when a change of this code can change a model.
TRAINERS_VERSION = 2


@dataclass(frozen=True)
class TrainingOutcome:
    """The baseline and the model, as registered; `up_to_date`: they were there already.

    `unknown` is how many rows of a part were left out, because their label was not known when the
    part ended, and `embargoed` how many, because they lie within the embargo before the next part;
    both are empty if nothing was trained. `rows_at_once` is the size of the batches that they were
    trained from; None: all rows at once, or nothing was trained.
    """

    runs: tuple[ModelVersion, ...]
    training_set: Snapshot
    up_to_date: bool
    unknown: Mapping[str, int] = field(default_factory=dict)
    embargoed: Mapping[str, int] = field(default_factory=dict)
    rows_at_once: int | None = None

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
        Labels or split do not allow training, or the training set is too large for the memory.
    NotFoundError, ConfigError
        An estimator or parameter does not exist, or refuses its value; or CUDA is asked for and is
        not there.
    UnreachableError
        MLflow cannot be reached: what was trained is kept for 'slh runs sync'.
    RunError
        MLflow refuses what it gets.
    """
    begin = on_step or (lambda _: None)
    if not _trained_before(lake, experiment):
        for settings in (experiment.baseline, experiment.model):
            check_settings(settings)
            device_for(experiment.device, settings)
    begin("training set")
    training_set = training_set_of(lake, writer, experiment)
    _check_slices(experiment, training_set)
    mark = _fingerprint(experiment, training_set)
    waiting = None if force else _waiting(lake, mark)
    if waiting is not None:
        begin("registering what was trained before")
        registered = finish(lake, LakeWriter(lake, waiting.run), waiting, again=True)
        return TrainingOutcome(tuple(registered), training_set, up_to_date=False)
    known = [] if force or not store_exists(lake.project) else _registered(lake, experiment, mark)
    if known and in_store(lake.project, known):
        if not any(version.stage for version in known):  # a run ended before this step
            stage_the_better(lake, writer, known)
            known = _registered(lake, experiment, mark)
        _lease(writer, known, training_set)
        return TrainingOutcome(tuple(known), training_set, up_to_date=True)
    at_once = rows_at_once(training_set, experiment, lake.project.settings.memory_limit)
    rows, columns = training_set.scan(), _feature_columns(training_set)
    place = lake.project.folder / SCRATCH
    with parts_of(rows, experiment, columns, at_once, place) as parts:
        trained = _fitted(lake, experiment, parts, begin)
        registered = register_trained(
            lake, writer, experiment, training_set, mark, trained, parts, begin=begin
        )
    return TrainingOutcome(
        tuple(registered),
        training_set,
        up_to_date=False,
        unknown={name: part.unknown for name, part in parts.items() if part.unknown},
        embargoed={name: part.embargoed for name, part in parts.items() if part.embargoed},
        rows_at_once=at_once,
    )


def _fitted(
    lake: Lakehouse,
    experiment: Experiment,
    parts: Mapping[str, AnyPart],
    begin: Callable[[str], None],
) -> list[Trained]:
    trained = []
    batches = " from batches" if isinstance(parts["train"], BatchedPart) else ""
    # Importing MLflow and making its store takes as long as fitting the baseline.
    with ThreadPoolExecutor(max_workers=1) as beside:
        store = beside.submit(check_store, lake.project, experiment.name)
        for role, settings in ((BASELINE, experiment.baseline), (MODEL, experiment.model)):
            begin(f"fitting the {role}{batches}")
            on_trial = partial(_begin_trial, begin, role, settings)
            trained.append(fit_and_measure(role, settings, parts, experiment, on_trial=on_trial))
            with suppress(UnreachableError):  # what is trained is kept, and said at the end
                store.result()
    return trained


def register_trained(
    lake: Lakehouse,
    writer: LakeWriter,
    experiment: Experiment,
    training_set: Snapshot,
    mark: str,
    trained: Sequence[Trained],
    parts: Mapping[str, AnyPart],
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

    Raises
    ------
    UnreachableError, RunError
        MLflow does not answer, or refuses: what was trained is kept for 'slh runs sync'.
    """
    begin("packing")
    data = data_evidence(lake, training_set)
    found = notes or [model_evidence(one.model, parts) for one in trained]
    models = []
    each = zip(trained, found, intervals_on_test(experiment, trained, parts["test"]), strict=True)
    for one, evidence, intervals in each:
        where = {**one.record["environment"], **code_of(writer.run.code_revision)}
        about = {**one.record, "environment": where, **data, **evidence}
        report = run_report(
            lake,
            writer,
            experiment,
            training_set,
            mark,
            one,
            parts,
            intervals,
            where,
        )
        models.append(_pending(experiment, training_set, mark, one, report, intervals, about))
    pending = pack_runs(
        writer,
        training_set,
        models,
        operation=OPERATION,
        fingerprint=mark,
        register_as=experiment.register_as,
        stages=True,
    )
    begin("registering")
    return finish(lake, writer, pending)


def steps_of(experiment: Experiment) -> int:
    """Return how often `train` calls `on_step`, if nothing is up to date."""
    searches = [one.search for one in (experiment.baseline, experiment.model) if one.search]
    return _STEPS + sum(search.trials for search in searches)


def _begin_trial(
    begin: Callable[[str], None], role: str, settings: ModelSettings, number: int
) -> None:
    trials = settings.search.trials if settings.search else 0
    begin(f"trial {number} of {trials} for the {role}")


def training_set_of(lake: Lakehouse, writer: LakeWriter, experiment: Experiment) -> Snapshot:
    """Build the training set, or read the saved version that the experiment names."""
    spec, number = experiment.training_set, experiment.training_set_version
    if number is None:
        return build_training_set(lake, writer, spec)[0]
    saved = lake.read(spec.name, number)
    recipe = saved.record.details.get("recipe") if saved.record else None
    made_by = None if recipe is None else TrainingSetSpec.model_validate(recipe)
    if made_by and None in (made_by.time_zone, spec.time_zone):
        spec = spec.model_copy(update={"time_zone": made_by.time_zone})
    if made_by != spec:
        raise ConfigError(
            f"training_set: {saved.name}@v{saved.version} was not made from this recipe. Leave "
            "the recipe as it was saved, or leave out 'training_set_version' to build it anew."
        )
    return saved


def _check_slices(experiment: Experiment, training_set: Snapshot) -> None:
    """Refuse slices that the gates could never judge, before time goes into training."""
    for name in experiment.gates.slices:
        if name not in training_set.columns:
            known = training_set.columns
            raise NotFoundError.of("column", name, known, where="gates.slices")


def _lease(writer: LakeWriter, versions: Sequence[ModelVersion], training_set: Snapshot) -> None:
    for version in versions:
        lease_model(writer, version, training_set.table_version)


def _waiting(lake: Lakehouse, mark: str) -> PendingRuns | None:
    """Return what was trained by the same fingerprint and is not registered yet."""
    found = [one for one in pending_runs(lake.project) if one.about["fingerprint"] == mark]
    return found[-1] if found else None


def _trained_before(lake: Lakehouse, experiment: Experiment) -> bool:
    """Whether the settings have led to a model; checking them would import the libraries."""
    number = experiment.training_set_version
    newest = lake.newest(experiment.training_set.name)
    if newest is None:
        return False
    saved = newest if number is None else lake.read(experiment.training_set.name, number)
    return bool(_registered(lake, experiment, _fingerprint(experiment, saved)))


def _fingerprint(experiment: Experiment, training_set: Snapshot) -> str:
    table = training_set.table_version
    models = (experiment.baseline, experiment.model)
    libraries = library_versions(name for one in models for name in decisive_libraries(one))
    return fingerprint(
        OPERATION,
        TRAINERS_VERSION,
        # A saved training set decides by what it holds, not by how the experiment calls it.
        experiment.model_dump(mode="json", exclude=_OF_THE_TRAINING_SET),
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


def _feature_columns(training_set: Snapshot) -> tuple[str, ...]:
    record = training_set.record
    if record is None:
        raise NotFoundError(
            f"{training_set.name} has no recipe: another writer changed it. Bring back the version "
            "before with 'slh restore', or name another table in 'training_set'."
        )
    return tuple(record.details["feature_columns"])


def _pending(
    experiment: Experiment,
    training_set: Snapshot,
    mark: str,
    trained: Trained,
    report: RunReport,
    intervals: Mapping[str, Interval],
    evidence: Mapping[str, Any],
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
        **evidence,
    }
    return TrainedModel(report, about, record)
