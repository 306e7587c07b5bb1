"""Trained models in the project's folder until MLflow and the lakehouse have all of them.

Everything that is to be registered is packed below `.slh/pending_runs` first, and removed when it
is registered. What stays there was trained and is not registered: the MLflow server did not answer,
the disk was full, the process was killed. `slh runs sync` sends it, or the same `slh train`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config import Project
from sololakehouse.config.validation import validate
from sololakehouse.errors import RunError, UnreachableError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.failures import disk_errors
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.model_store import register
from sololakehouse.models.packing import PackedRun, RunReport, pack
from sololakehouse.models.registry import (
    BASELINE,
    ModelVersion,
    lease_model,
    model_versions,
    move,
)
from sololakehouse.models.sending import LoggedModel, send
from sololakehouse.models.tracking import connected
from sololakehouse.models.training_runs import record_runs, run_row
from sololakehouse.models.versions import all_registered
from sololakehouse.provenance import Run, TableVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

_FOLDER = ".slh/pending_runs"
_ABOUT = "training.json"
_DIGITS = 8


@dataclass(frozen=True)
class PendingRuns:
    """What one command trained of one experiment: packed runs, and the rows that they become.

    Attributes
    ----------
    about
        `operation`, `fingerprint`, `experiment`, `register_as` (None: only logged), the `run` of
        the command, the `training_set` as a table version, for each packed run its `rows` with
        `about` and `record`, and `stages`: whether the better one is staged.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def runs(self) -> list[PackedRun]:
        """The packed runs in the order in which they are registered."""
        count = len(self.about["rows"])
        return [PackedRun.open(self.folder / str(number)) for number in range(count)]

    @property
    def run(self) -> Run:
        """The run of the command that trained them."""
        known = self.about["run"]
        return Run(**known | {"started_at": datetime.fromisoformat(known["started_at"])})

    @property
    def training_set(self) -> TableVersion:
        """The training set at the version that they learned from."""
        return TableVersion.model_validate(self.about["training_set"])

    def place(self, project: Project) -> str:
        """Return its folder, relative to the project's."""
        return self.folder.relative_to(project.folder).as_posix()


@dataclass(frozen=True)
class TrainedModel:
    """One model to be registered: its report, and what its row says of it.

    `about` holds columns of `system.training_runs`, `record` what training it again needs.
    """

    report: RunReport
    about: Mapping[str, Any]
    record: Mapping[str, Any]


def pack_runs(
    writer: LakeWriter,
    training_set: Snapshot,
    models: Sequence[TrainedModel],
    *,
    operation: str,
    fingerprint: str,
    register_as: str | None,
    stages: bool = False,
) -> PendingRuns:
    """Pack what was trained, all of it or nothing; the training set must be saved.

    Raises
    ------
    RunError
        The disk is full, or the project's folder cannot be written to.
    """
    project, run = writer.lake.project, writer.run
    place = project.folder / _FOLDER
    about = {
        "operation": operation,
        "fingerprint": fingerprint,
        "experiment": models[0].report.experiment,
        "register_as": register_as,
        "run": asdict(run) | {"started_at": run.started_at.isoformat()},
        "training_set": training_set.table_version.model_dump(mode="json"),
        "rows": [{"about": dict(one.about), "record": dict(one.record)} for one in models],
        "stages": stages,
    }
    name = f"{run.run_id}-{fingerprint[:_DIGITS]}"
    with disk_errors(place), _whole_folder(place / name) as folder:
        for number, one in enumerate(models):
            pack(one.report, folder / str(number), key=f"{name}-{number}")
        (folder / _ABOUT).write_text(json.dumps(about), "utf-8")
    return PendingRuns(place / name, about)


@contextmanager
def _whole_folder(place: Path) -> Iterator[Path]:
    """Give a folder that has its name only when it is complete."""
    unfinished = place.with_name(f".{place.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def pending_runs(project: Project) -> list[PendingRuns]:
    """Return what is trained and not registered, the oldest first."""
    files = sorted((project.folder / _FOLDER).glob(f"[!.]*/{_ABOUT}"))
    return [PendingRuns(file.parent, json.loads(file.read_text("utf-8"))) for file in files]


def finish(
    lake: Lakehouse, writer: LakeWriter, pending: PendingRuns, *, again: bool = False
) -> list[ModelVersion]:
    """Send packed runs to MLflow, register their models, stage the better one; then forget them.

    Parameters
    ----------
    writer
        Of the run that trained them: rows, leases and transitions name it.
    again
        Whether this was tried before: then what is done already is not done twice.

    Raises
    ------
    UnreachableError
        MLflow does not answer; everything is kept.
    RunError
        MLflow refuses, the training set is gone, or the disk is full; everything is kept.
    """
    kept = (
        f"What was trained is kept in {pending.place(lake.project)}. Send it with 'slh runs sync' "
    )
    try:
        registered = _registered(lake, writer, pending, again)
    except UnreachableError as error:
        raise UnreachableError(f"{error} {kept}when the server answers.") from error
    except RunError as error:
        error.add_note(f"{kept}when that is mended.")
        raise
    shutil.rmtree(pending.folder)
    return registered


def sync(lake: Lakehouse, pending: PendingRuns) -> list[ModelVersion]:
    """Finish what another command began, under the lineage of that command; see `finish`."""
    return finish(lake, LakeWriter(lake, pending.run), pending, again=True)


def _registered(
    lake: Lakehouse, writer: LakeWriter, pending: PendingRuns, again: bool
) -> list[ModelVersion]:
    name = pending.about["register_as"]
    training_set = _training_set(lake, pending)
    with connected(lake.project) as client:
        logged = [send(client, lake.project, one, again=again) for one in pending.runs]
        if name is None:
            return []
        numbers = [register(client, name, one, again=again) for one in logged]
        with _undone_if_it_fails(client, name, numbers):
            _record(writer, pending, training_set, logged, numbers)
    versions = _numbered(lake, name, numbers)
    for version in versions:
        lease_model(writer, version, training_set.table_version)
    if pending.about["stages"] and not any(version.stage for version in versions):
        stage_the_better(lake, writer, versions)
    return _numbered(lake, name, numbers)


def _training_set(lake: Lakehouse, pending: PendingRuns) -> Snapshot:
    wanted = pending.training_set
    found = lake.read(wanted.table, wanted.version)
    if found.table_id != wanted.table_id:
        raise RunError(
            f"{wanted} is not the training set of {pending.place(lake.project)}: the table was "
            "made anew since. Train again, and remove that folder."
        )
    return found


@contextmanager
def _undone_if_it_fails(client: MlflowClient, name: str, numbers: Sequence[int]) -> Iterator[None]:
    """Take versions back from MLflow's registry that the lakehouse cannot note."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except Exception as error:
        for number in numbers:
            try:
                client.delete_model_version(name, str(number))
            except MlflowException:
                error.add_note(f"MLflow still has {name} version {number}.")
        raise


def _record(
    writer: LakeWriter,
    pending: PendingRuns,
    training_set: Snapshot,
    logged: Sequence[LoggedModel],
    numbers: Sequence[int],
) -> None:
    name, about = pending.about["register_as"], pending.about
    known = {(one.name, one.mlflow_run_id) for one in all_registered(writer.lake)}
    rows = [
        run_row(
            writer,
            training_set,
            one,
            row["about"] | {"model_name": name, "model_version": number},
            row["record"] | {"artifacts": dict(one.hashes)},
        )
        for one, number, row in zip(logged, numbers, about["rows"], strict=True)
        if (name, one.run_id) not in known
    ]
    if rows:
        record_runs(writer, rows, training_set, about["operation"], about["fingerprint"])


def _numbered(lake: Lakehouse, name: str, numbers: Sequence[int]) -> list[ModelVersion]:
    known = {one.version: one for one in model_versions(lake) if one.name == name}
    return [known[number] for number in numbers]


def stage_the_better(lake: Lakehouse, writer: LakeWriter, versions: Sequence[ModelVersion]) -> None:
    """Put the baseline or the model of a training run into staging: what the validation part says.

    The experiment's first metric decides. An equal model stays behind the baseline.
    """
    baseline, model = sorted(versions, key=lambda version: version.role != BASELINE)
    experiment = validate(dict(model.record["config"]), Experiment, f"the record of {model}")
    key = f"validation_{experiment.primary_metric.name}"
    mine, theirs = model.metrics[key], baseline.metrics[key]
    better = experiment.primary_metric.better(mine, theirs)
    winner, other = (model, baseline) if better else (baseline, model)
    reason = (
        f"The better one: {key} {winner.metrics[key]:.4f} against {other.metrics[key]:.4f} of "
        f"version {other.version} ({other.role})."
    )
    move(lake, writer, winner, "staging", reason, {"model": mine, "baseline": theirs})
