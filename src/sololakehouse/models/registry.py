"""Registered models, their stages, and the gate before production.

What was trained and which version is in which stage is read from `system.training_runs` and
`system.model_transitions`, without MLflow. MLflow's registry holds the same as aliases and tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from zipfile import BadZipFile

from sololakehouse.config import Project
from sololakehouse.errors import NotFoundError, RunError, UsageError, shortened
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake.leases import Holder, lease_inputs
from sololakehouse.models.metrics import metric
from sololakehouse.models.model_file import load_model_file
from sololakehouse.models.tracking import LoggedModel, connected, require_store
from sololakehouse.provenance import Change, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl
    from mlflow import MlflowClient

RUNS = "system.training_runs"
TRANSITIONS = "system.model_transitions"
Stage = Literal["staging", "production", "archived"]
ALIASES: tuple[Literal["staging", "production"], ...] = ("staging", "production")
BASELINE = "baseline"
LOGGED = "logged"
_REFERENCE = re.compile(r"^(?:models:/(?P<name>[^@/]+)[@/]|(?P<own>[^@/:]+)@)(?P<wanted>[^@/]+)$")


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model.

    Attributes
    ----------
    role
        `baseline` or `model` in its training run; `logged` if a person fitted it themselves.
    trained_at
        When the command that trained it began, in UTC.
    metrics
        By part and name, as `test_roc_auc`; the first of its experiment is `primary_metric`. Of a
        logged model what its MLflow run held when it was logged, and no primary one.
    recipe
        The training set's recipe, with the feature lookups.
    fingerprint
        Hash of everything that decided the model.
    record
        What training it again needs, such as the resolved `config`; empty for models of versions
        of this package that kept none.
    """

    name: str
    version: int
    stage: Stage | None
    role: str
    run_id: str
    experiment: str
    primary_metric: str
    metrics: Mapping[str, float]
    recipe: Mapping[str, Any]
    feature_columns: tuple[str, ...]
    fingerprint: str
    mlflow_run_id: str
    training_set: str
    training_set_version: int
    trained_at: datetime
    record: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class Promotion:
    """A version in its stage, why, and whether this call changed that."""

    version: int
    reason: str
    changed: bool


def model_versions(lake: Lakehouse) -> list[ModelVersion]:
    """Return all registered versions, by name and version."""
    runs = lake.newest(RUNS)
    if runs is None:
        return []
    stages = _stages(lake)
    rows = runs.to_polars().sort("model_name", "model_version").to_dicts()
    return [_model_version(row, stages) for row in rows]


def resolve(lake: Lakehouse, reference: str) -> ModelVersion:
    """Find the version that a reference means.

    Parameters
    ----------
    reference
        `NAME@production`, `NAME@staging` or `NAME@3`, or MLflow's `models:/NAME@production` and
        `models:/NAME/3`.

    Raises
    ------
    UsageError
        The reference has another form.
    NotFoundError
        There is no such model, or nothing in this stage.
    """
    found = _REFERENCE.match(str(reference))
    if found is None:
        raise UsageError(
            f"{reference!r} is no model. Write NAME@production, NAME@staging or NAME@3, or as "
            "MLflow does models:/NAME@production or models:/NAME/3."
        )
    name, wanted = found["name"] or found["own"], found["wanted"]
    return find_version(_versions_of(lake, name), name, wanted)


def find_version(versions: Sequence[ModelVersion], name: str, wanted: str) -> ModelVersion:
    """Return the version of a model that has a number, as text, or is in a stage.

    Parameters
    ----------
    versions
        All versions of the model `name`, the oldest first.

    Raises
    ------
    NotFoundError
        There is none: says which there are.
    """
    for version in versions:
        if wanted == str(version.version) or (wanted in ALIASES and wanted == version.stage):
            return version
    known = [str(v.version) + (f" ({v.stage})" if v.stage else "") for v in reversed(versions)]
    fix = f" Promote one with 'slh promote {name} --to {wanted}'." if wanted in ALIASES else ""
    raise NotFoundError(f"{name} has no version {wanted!r}. Versions: {shortened(known)}.{fix}")


def promote(
    lake: Lakehouse, writer: LakeWriter, name: str, version: int | None, stage: str
) -> Promotion:
    """Move a version to a stage; the version that was there is archived.

    Parameters
    ----------
    version
        Default: the version in staging.
    stage
        `staging`, or `production` if the version is strictly better than the baseline of its
        training run, by the experiment's first metric on the test part.

    Raises
    ------
    NotFoundError
        The model, version or stage does not exist, or nothing is in staging.
    UsageError
        The version is in production, which would be left empty.
    RunError
        The version does not pass the gate, or MLflow does not have it any more.
    """
    target = next((alias for alias in ALIASES if alias == stage), None)
    if target is None:
        raise NotFoundError.of("stage", stage, ALIASES)
    chosen = _chosen(lake, name, version, target)
    if chosen.stage == target:
        return Promotion(chosen.version, _last_reason(lake, chosen, target), changed=False)
    if chosen.stage == "production":
        raise UsageError(
            f"{chosen} is in production, and would leave it empty. Promote another version to "
            "production first."
        )
    reason, evidence = _by_choice(chosen) if target == "staging" else _through_gate(lake, chosen)
    move(lake, writer, chosen, target, reason, evidence)
    return Promotion(chosen.version, reason, changed=True)


def move(
    lake: Lakehouse,
    writer: LakeWriter,
    version: ModelVersion,
    stage: Stage,
    reason: str,
    evidence: Mapping[str, float],
) -> None:
    """Record that a version enters a stage, in MLflow first and then in the lakehouse.

    The lakehouse decides what is in a stage: if its commit fails, nothing has moved, and moving
    again repairs MLflow.

    Raises
    ------
    RunError
        MLflow does not have the version any more.
    """
    leaving = [v for v in _versions_of(lake, version.name) if v.stage == stage]
    require_store(lake.project)
    with connected(lake.project) as client:
        client.get_model_version(version.name, str(version.version))
        for other in leaving:
            why = f"{version} took its place."
            client.set_model_version_tag(other.name, str(other.version), "stage", "archived")
            client.set_model_version_tag(other.name, str(other.version), "stage_reason", why)
        if version.stage in ALIASES:
            client.delete_registered_model_alias(version.name, version.stage)
        client.set_registered_model_alias(version.name, stage, str(version.version))
        client.set_model_version_tag(version.name, str(version.version), "stage", stage)
        client.set_model_version_tag(version.name, str(version.version), "stage_reason", reason)
    rows = [
        _transition(v, "archived", f"{version} took its place.", {}, writer) for v in leaving
    ] + [_transition(version, stage, reason, evidence, writer)]
    mark = fingerprint(TRANSITIONS, writer.run.run_id, version.name, version.version, stage)
    change = Change(
        "MODEL TRANSITION", mark, details={"model": version.name}, left_out=("run_id", "at")
    )
    writer.write_frame(TRANSITIONS, _transitions_frame(rows), change, mode="append")


def lease_model(writer: LakeWriter, version: ModelVersion, training_set: TableVersion) -> None:
    """Lease what building a version again needs: its training set and all that that was made from.

    The leases outlive the version's stage: also an archived version can be built again, until a
    person drops them. If the version has, or had, leases, nothing is done.
    """
    holder = Holder("model", f"{version.name}@{version.version}")
    lease_inputs(writer, holder, training_set, f"Building {version} again.")


def register(client: MlflowClient, name: str, logged: LoggedModel) -> int:
    """Register a logged model as the next version of `name`."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    created = client.create_model_version(name, logged.model_uri, run_id=logged.run_id)
    return int(created.version)


def load_model(project: Project, version: ModelVersion) -> Any:
    """Load a version's model, which has `predict` and, if it is a classifier, `predict_proba`.

    Raises
    ------
    RunError
        MLflow does not have the version any more, or its file is damaged or holds other types.
    """
    require_store(project)
    with connected(project), TemporaryDirectory() as folder:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        uri = f"models:/{version.name}/{version.version}"
        try:
            return load_model_file(Path(download_artifacts(artifact_uri=uri, dst_path=folder)))
        except (MlflowException, OSError, TypeError, ValueError, KeyError, BadZipFile) as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise RunError(
                f"{version} cannot be loaded from MLflow: {said}. Train again with "
                "'slh train FILE --force'."
            ) from error


def _versions_of(lake: Lakehouse, name: str) -> list[ModelVersion]:
    versions = model_versions(lake)
    mine = [version for version in versions if version.name == name]
    if not mine:
        raise NotFoundError.of("model", name, {version.name for version in versions})
    return mine


def _chosen(lake: Lakehouse, name: str, version: int | None, stage: str) -> ModelVersion:
    versions = _versions_of(lake, name)
    if version is not None:
        return resolve(lake, f"{name}@{version}")
    for wanted in ("staging", stage):
        for candidate in versions:
            if candidate.stage == wanted:
                return candidate
    raise NotFoundError(
        f"No version of {name} is in staging. Name one with --version: "
        f"{', '.join(str(v.version) for v in versions)}."
    )


def _by_choice(version: ModelVersion) -> tuple[str, Mapping[str, float]]:
    return "Chosen by hand.", version.metrics


def _through_gate(lake: Lakehouse, version: ModelVersion) -> tuple[str, Mapping[str, float]]:
    if version.role == BASELINE:
        raise RunError(
            f"{version} is the baseline of its experiment, and production is for what beats the "
            "baseline. Improve the model in the experiment file and train again."
        )
    if version.role == LOGGED:
        raise RunError(
            f"{version} stays out of production: it was logged with log_model, so no baseline was "
            "trained beside it on the same split, and there is nothing that it has beaten. It may "
            "be in staging; for production, write an experiment file and use 'slh train'."
        )
    baselines = [
        other
        for other in _versions_of(lake, version.name)
        if other.role == BASELINE
        and (other.run_id, other.fingerprint) == (version.run_id, version.fingerprint)
    ]
    baseline = baselines[-1]
    key = f"test_{version.primary_metric}"
    mine, theirs = version.metrics[key], baseline.metrics[key]
    compared = f"{key} {mine:.4f} against {theirs:.4f} of the baseline (version {baseline.version})"
    if not metric(version.primary_metric).better(mine, theirs):
        raise RunError(f"{version} stays out of production: {compared} is not better.")
    return f"Beats the baseline: {compared}.", {"model": mine, "baseline": theirs}


def _stages(lake: Lakehouse) -> dict[tuple[str, int], Stage]:
    transitions = lake.newest(TRANSITIONS)
    if transitions is None:
        return {}
    rows = transitions.to_polars().sort("at", "number").to_dicts()
    return {(row["model_name"], row["model_version"]): row["to_stage"] for row in rows}


def _last_reason(lake: Lakehouse, version: ModelVersion, stage: str) -> str:
    rows = lake.read(TRANSITIONS).to_polars().sort("at", "number").to_dicts()
    mine = [
        row["reason"]
        for row in rows
        if (row["model_name"], row["model_version"], row["to_stage"])
        == (version.name, version.version, stage)
    ]
    return str(mine[-1])


def _model_version(row: Mapping[str, Any], stages: Mapping[tuple[str, int], Stage]) -> ModelVersion:
    return ModelVersion(
        name=row["model_name"],
        version=row["model_version"],
        stage=stages.get((row["model_name"], row["model_version"])),
        role=row["role"],
        run_id=row["run_id"],
        experiment=row["experiment"],
        primary_metric=row["primary_metric"],
        metrics=json.loads(row["metrics"]),
        recipe=json.loads(row["recipe"]),
        feature_columns=tuple(json.loads(row["feature_columns"])),
        fingerprint=row["fingerprint"],
        mlflow_run_id=row["mlflow_run_id"],
        training_set=row["training_set"],
        training_set_version=row["training_set_version"],
        trained_at=row["started_at"].astimezone(UTC),
        record=json.loads(row.get("record") or "{}"),
    )


def _transition(
    version: ModelVersion,
    stage: Stage,
    reason: str,
    evidence: Mapping[str, float],
    writer: LakeWriter,
) -> dict[str, Any]:
    return {
        "model_name": version.name,
        "model_version": version.version,
        "from_stage": version.stage,
        "to_stage": stage,
        "reason": reason,
        "evidence": json.dumps(evidence, sort_keys=True),
        "run_id": writer.run.run_id,
        "at": datetime.now(writer.run.started_at.tzinfo),
    }


def _transitions_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    import polars as pl

    text = ("model_name", "from_stage", "to_stage", "reason", "evidence", "run_id")
    schema: dict[str, pl.DataType] = {name: pl.String() for name in text}
    schema |= {"model_version": pl.Int64(), "at": pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema=schema).with_row_index("number").cast({"number": pl.Int64})
