"""The versions of registered models and their stages, read without MLflow.

What was trained and which version is in which stage is read from `system.training_runs` and
`system.model_transitions`. MLflow's registry holds the same as aliases and tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sololakehouse.errors import NotFoundError, UsageError, shortened
from sololakehouse.lake import Lakehouse
from sololakehouse.models.renumbering import version_meant, versions_there
from sololakehouse.models.tracking import shown_uri

RUNS = "system.training_runs"
TRANSITIONS = "system.model_transitions"
Stage = Literal["staging", "production", "archived"]
ALIASES: tuple[Literal["staging", "production"], ...] = ("staging", "production")
BASELINE = "baseline"
LOGGED = "logged"
_Identity = tuple[str, int, str]
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
    registered_at
        When it was registered, in UTC; of what an older release registered `trained_at`.
    store
        Address of the MLflow store that counted it, without a password; None: not known.
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
    replaced
        Whether the store that counted it was replaced, so that its number may mean another version
        by now. It is in no stage then.
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
    registered_at: datetime
    store: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    forced: str | None = None
    replaced: bool = False

    def is_as(self, other: ModelVersion) -> bool:
        """Whether both are one version, in whatever stage it was when they were read."""
        return _identity(self) == _identity(other)

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
    mlflow_run_id
        The run that trained the version; None: an older release noted the number alone.
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
    mlflow_run_id: str | None = None


def model_versions(lake: Lakehouse) -> list[ModelVersion]:
    """Return the registered versions that the MLflow store counts, by name and version."""
    return [version for version in all_registered(lake) if not version.replaced]


def all_registered(lake: Lakehouse) -> list[ModelVersion]:
    """Return what was ever registered, by name and version, the newest of a number last.

    Only here are versions of MLflow stores that were replaced.
    """
    runs = lake.newest(RUNS)
    if runs is None:
        return []
    rows = runs.to_polars().sort("model_name", "model_version").to_dicts()
    known = sorted(map(_model_version, rows), key=_by_number)
    counted = by_number(known)
    store = shown_uri(lake.project)
    names = {version.name for version in known}
    there = {
        _identity(version)
        for name in names
        for version in versions_there([one for one in known if one.name == name], store)
    }
    entered = _entered(counted, transitions(lake))
    return [
        _staged(version, entered.get(_identity(version)))
        if _identity(version) in there
        else replace(version, replaced=True)
        for version in known
    ]


def by_number(registered: Iterable[ModelVersion]) -> dict[tuple[str, int], list[ModelVersion]]:
    """Return registered versions by name and number, in their order."""
    found: dict[tuple[str, int], list[ModelVersion]] = {}
    for version in registered:
        found.setdefault((version.name, version.version), []).append(version)
    return found


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
    UsageError
        The name has a version with it.
    """
    versions = model_versions(lake)
    mine = [version for version in versions if version.name == name]
    if not mine:
        known = {version.name for version in versions}
        alone, at, wanted = name.partition("@")
        if at and alone in known:
            raise UsageError(
                f"Write {alone!r} without '@{wanted}': where a command takes a version, it is an "
                "argument of its own."
            )
        raise NotFoundError.of("model", name, known)
    return mine


def transitions(lake: Lakehouse, name: str | None = None) -> list[Transition]:
    """Return what has entered a stage, the oldest first; `name` limits it to one model."""
    newest = lake.newest(TRANSITIONS)
    if newest is None:
        return []
    rows = newest.to_polars().sort("at", "number").to_dicts()
    return [_transition(row) for row in rows if name in (None, row["model_name"])]


def current_transitions(lake: Lakehouse, name: str) -> list[Transition]:
    """Return what of a model's versions that are there entered a stage, the oldest first."""
    counted = by_number(all_registered(lake))
    meant = ((one, _meant(counted, one)) for one in transitions(lake, name))
    return [one for one, version in meant if version is not None and not version.replaced]


def _entered(
    counted: Mapping[tuple[str, int], Sequence[ModelVersion]], moves: Iterable[Transition]
) -> dict[_Identity, Transition]:
    meant = ((one, _meant(counted, one)) for one in moves)
    return {_identity(version): one for one, version in meant if version is not None}


def _meant(
    counted: Mapping[tuple[str, int], Sequence[ModelVersion]], one: Transition
) -> ModelVersion | None:
    return version_meant(counted, one.model_name, one.model_version, one.mlflow_run_id, one.at)


def _identity(version: ModelVersion) -> _Identity:
    return version.name, version.version, version.mlflow_run_id


def _by_number(version: ModelVersion) -> tuple[str, int, datetime]:
    return version.name, version.version, version.registered_at


def _staged(version: ModelVersion, last: Transition | None) -> ModelVersion:
    if last is None:
        return version
    return replace(version, stage=last.to_stage, forced=last.reason if last.forced else None)


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
        mlflow_run_id=row.get("mlflow_run_id"),
    )


def _model_version(row: Mapping[str, Any]) -> ModelVersion:
    trained_at = row["started_at"].astimezone(UTC)
    registered_at = row.get("registered_at")
    return ModelVersion(
        name=row["model_name"],
        version=row["model_version"],
        stage=None,
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
        trained_at=trained_at,
        registered_at=registered_at.astimezone(UTC) if registered_at else trained_at,
        store=row.get("store"),
        record=json.loads(row.get("record") or "{}"),
    )
