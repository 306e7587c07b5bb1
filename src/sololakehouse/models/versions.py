"""The versions of registered models and their stages, read without MLflow.

What was trained and which version is in which stage is read from `system.training_runs` and
`system.model_transitions`. MLflow's registry holds the same as aliases and tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sololakehouse.errors import NotFoundError, UsageError, shortened
from sololakehouse.lake import Lakehouse

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
        What training it again needs, such as the resolved `config`, and the SHA-256 of its files in
        `artifacts`; empty for models of versions of this package that kept none.
    forced
        The reason of the person who put it into its stage although a gate said no; else None.
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
    forced: str | None = None

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class Transition:
    """A version that entered a stage: when in UTC, by whom (`user@host`), why, on what evidence.

    Attributes
    ----------
    action
        `promote`, `rollback`, or `archive` for what another version took the place of.
    forced
        Whether a gate said no. `reason` is then what the person said.
    """

    model_name: str
    model_version: int
    from_stage: str | None
    to_stage: Stage
    reason: str
    evidence: Mapping[str, Any]
    run_id: str
    at: datetime
    who: str | None
    action: str
    forced: bool


def model_versions(lake: Lakehouse) -> list[ModelVersion]:
    """Return all registered versions, by name and version."""
    runs = lake.newest(RUNS)
    if runs is None:
        return []
    stages = {(one.model_name, one.model_version): one for one in transitions(lake)}
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
    return find_version(versions_of(lake, name), name, wanted)


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


def versions_of(lake: Lakehouse, name: str) -> list[ModelVersion]:
    """Return the versions of one model, the oldest first.

    Raises
    ------
    NotFoundError
        There is none.
    """
    versions = model_versions(lake)
    mine = [version for version in versions if version.name == name]
    if not mine:
        raise NotFoundError.of("model", name, {version.name for version in versions})
    return mine


def transitions(lake: Lakehouse, name: str | None = None) -> list[Transition]:
    """Return what has entered a stage, the oldest first; `name` limits it to one model."""
    newest = lake.newest(TRANSITIONS)
    if newest is None:
        return []
    rows = newest.to_polars().sort("at", "number").to_dicts()
    return [_transition(row) for row in rows if name in (None, row["model_name"])]


def _transition(row: Mapping[str, Any]) -> Transition:
    return Transition(
        model_name=row["model_name"],
        model_version=row["model_version"],
        from_stage=row["from_stage"],
        to_stage=row["to_stage"],
        reason=row["reason"],
        evidence=json.loads(row["evidence"]),
        run_id=row["run_id"],
        at=row["at"].astimezone(UTC),
        who=row.get("who"),
        action=row.get("action") or "promote",
        forced=bool(row.get("forced")),
    )


def _model_version(
    row: Mapping[str, Any], entered: Mapping[tuple[str, int], Transition]
) -> ModelVersion:
    last = entered.get((row["model_name"], row["model_version"]))
    return ModelVersion(
        name=row["model_name"],
        version=row["model_version"],
        stage=last.to_stage if last else None,
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
        forced=last.reason if last and last.forced else None,
    )
