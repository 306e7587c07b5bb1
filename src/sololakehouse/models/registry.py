"""Registered models and their stages: what is moved to a stage, by whom, and through which gates.

The lakehouse decides what is in a stage: `system.model_transitions`. MLflow's registry holds the
same as aliases and tags.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake.leases import Holder, lease_inputs
from sololakehouse.models.gates import (
    GateResult,
    baseline_gate,
    expectations_gate,
    gate_error,
    gate_settings,
    rebuild_gate,
    replay_certificate,
    replay_gate,
)
from sololakehouse.models.model_store import GONE, load_model, refuse_another, register
from sololakehouse.models.tracking import connected, require_store
from sololakehouse.models.versions import (
    ALIASES,
    BASELINE,
    LOGGED,
    RUNS,
    TRANSITIONS,
    ModelVersion,
    Stage,
    Transition,
    current_transitions,
    find_version,
    model_versions,
    resolve,
    transitions,
    versions_of,
)
from sololakehouse.provenance import Change, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ALIASES",
    "BASELINE",
    "LOGGED",
    "RUNS",
    "TRANSITIONS",
    "ModelVersion",
    "Promotion",
    "Stage",
    "Transition",
    "evaluate_gates",
    "find_version",
    "in_production",
    "lease_model",
    "load_model",
    "model_versions",
    "move",
    "promote",
    "register",
    "resolve",
    "rollback",
    "transitions",
]
_NOT_FORCED = "artifacts"


@dataclass(frozen=True)
class Promotion:
    """A version in its stage, why, what the gates said, and whether this call changed that."""

    version: int
    reason: str
    changed: bool
    gates: Sequence[GateResult] = ()


def evaluate_gates(lake: Lakehouse, version: ModelVersion) -> list[GateResult]:
    """Ask all gates before production about a version; nothing is written."""
    from sololakehouse.models.comparison import compared_gates

    settings = gate_settings(version)
    return [
        baseline_gate(versions_of(lake, version.name), version),
        *compared_gates(lake, version, settings),
        expectations_gate(lake, version),
        rebuild_gate(lake, version, required=settings.require_rebuild),
        replay_gate(replay_certificate(lake, version)),
    ]


def promote(
    lake: Lakehouse,
    writer: LakeWriter,
    name: str,
    version: int | None,
    stage: str,
    *,
    reason: str | None = None,
    force: bool = False,
) -> Promotion:
    """Move a version to a stage; the version that was in staging or production is archived.

    Parameters
    ----------
    version
        Default: the version in staging.
    stage
        `staging`, `archived`, or `production` if no gate fails; see `evaluate_gates`.
    reason
        Why, in a person's words; it is kept.
    force
        Go to production past failed gates, all but that of the model's files. Needs a reason.

    Raises
    ------
    NotFoundError
        The model, version or stage does not exist, or nothing is in staging.
    UsageError
        The version is in production, which would be left empty, or `force` has no reason.
    GateError
        A gate failed.
    RunError
        MLflow does not have the version any more.
    """
    target: Stage | None = next((one for one in get_args(Stage) if one == stage), None)
    if target is None:
        raise NotFoundError.of("stage", stage, get_args(Stage))
    if force and not (reason or "").strip():
        raise UsageError("--force needs a reason, which stays visible: --reason TEXT.")
    chosen = _chosen(lake, name, version, target)
    if chosen.stage == target:
        return Promotion(chosen.version, _last(lake, chosen, target).reason, changed=False)
    if chosen.stage == "production":
        raise UsageError(
            f"{chosen} is in production, and would leave it empty. Promote another version to "
            f"production first, or go back with 'slh rollback {name}'."
        )
    if target != "production":
        said = reason or "Chosen by hand."
        move(lake, writer, chosen, target, said, chosen.metrics)
        return Promotion(chosen.version, said, changed=True)
    gates = evaluate_gates(lake, chosen)
    failed = [one for one in gates if one.verdict == "failed"]
    if failed and (not force or any(one.gate == _NOT_FORCED for one in failed)):
        raise gate_error(chosen, gates)
    said = reason if failed and reason else _earned(gates, reason)
    evidence = {"gates": [asdict(one) for one in gates]}
    move(lake, writer, chosen, target, said, evidence, forced=bool(failed))
    return Promotion(chosen.version, said, changed=True, gates=gates)


def rollback(lake: Lakehouse, writer: LakeWriter, name: str, reason: str) -> Promotion:
    """Put the version into production that was there before the one that is.

    Rolled back twice, it is the one before that: a version that was rolled back does not come
    again. No gate is asked but whether the model's files are intact.

    Raises
    ------
    NotFoundError
        The model does not exist, nothing is in production, or nothing was before.
    UsageError
        The reason is empty, or the name has a version with it.
    RunError
        The version that was there before cannot be loaded.
    """
    if not reason.strip():
        raise UsageError("A rollback needs a reason, which stays visible: --reason TEXT.")
    current = find_version(versions_of(lake, name), name, "production")
    before = in_production(current_transitions(lake, name))[:-1]
    if not before:
        raise NotFoundError(
            f"Nothing was in production before {current}. Promote another version: "
            f"slh promote {name} VERSION --to production."
        )
    version = resolve(lake, f"{name}@{before[-1]}")
    load_model(lake.project, version)
    move(lake, writer, version, "production", reason, {"from": current.version}, action="rollback")
    return Promotion(version.version, reason, changed=True)


def in_production(moves: Sequence[Transition]) -> list[int]:
    """Return the versions that a rollback goes back over, the current one last."""
    stack: list[int] = []
    for one in moves:
        if one.to_stage != "production":
            continue
        if one.action == "rollback" and one.model_version in stack[:-1]:
            del stack[len(stack) - 1 - stack[-2::-1].index(one.model_version) :]
        else:
            stack.append(one.model_version)
    return stack


def move(
    lake: Lakehouse,
    writer: LakeWriter,
    version: ModelVersion,
    stage: Stage,
    reason: str,
    evidence: Mapping[str, Any],
    *,
    action: str = "promote",
    forced: bool = False,
) -> None:
    """Record that a version enters a stage, in MLflow first and then in the lakehouse.

    The lakehouse decides what is in a stage: if its commit fails, nothing has moved, and moving
    again repairs MLflow. Only one version is in staging, and one in production.

    Raises
    ------
    RunError
        MLflow does not have the version any more, or counts another one by its number.
    """
    others = versions_of(lake, version.name) if stage in ALIASES else []
    leaving = [one for one in others if one.stage == stage and one.version != version.version]
    took = f"{version} took its place."
    require_store(lake.project)
    with connected(lake.project) as client:
        refuse_another(lake.project, client, version)
        for other in leaving:
            _tag_if_there(client, other, {"stage": "archived", "stage_reason": took})
        if version.stage in ALIASES:
            client.delete_registered_model_alias(version.name, version.stage)
        if stage in ALIASES:
            client.set_registered_model_alias(version.name, stage, str(version.version))
        tags = {"stage": stage, "stage_reason": reason, "stage_forced": str(forced).lower()}
        _tag(client, version, tags)
    rows = [_row(one, "archived", took, {}, writer, "archive", False) for one in leaving]
    rows.append(_row(version, stage, reason, evidence, writer, action, forced))
    mark = fingerprint(TRANSITIONS, writer.run.run_id, version.name, version.version, stage)
    change = Change(
        "MODEL TRANSITION",
        mark,
        details={"model": version.name},
        left_out=("run_id", "at", "who", "mlflow_run_id"),
    )
    frame = _transitions_frame(rows)
    writer.write_frame(TRANSITIONS, frame, change, mode="append", evolve=True)


def lease_model(writer: LakeWriter, version: ModelVersion, training_set: TableVersion) -> None:
    """Lease what building a version again needs: its training set and all that that was made from.

    The leases outlive the version's stage: also an archived version can be built again, until a
    person drops them. If the version has, or had, leases, nothing is done.
    """
    holder = Holder("model", f"{version.name}@{version.version}")
    lease_inputs(writer, holder, training_set, f"Building {version} again.")


def _earned(gates: Sequence[GateResult], reason: str | None) -> str:
    """Return why a version is in production that passed its gates: what it beats, then words."""
    beaten = (one for one in gates if one.gate in ("baseline", "champion"))
    return " ".join(
        [*(one.said for one in beaten if one.verdict == "passed"), *filter(None, [reason])]
    )


def _tag(client: Any, version: ModelVersion, tags: Mapping[str, str]) -> None:
    for key, text in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, text)


def _tag_if_there(client: Any, version: ModelVersion, tags: Mapping[str, str]) -> None:
    from mlflow.exceptions import MlflowException

    try:
        _tag(client, version, tags)
    except MlflowException as error:
        if error.error_code != GONE:
            raise


def _chosen(lake: Lakehouse, name: str, version: int | None, stage: str) -> ModelVersion:
    versions = versions_of(lake, name)
    if version is not None:
        return resolve(lake, f"{name}@{version}")
    for wanted in ("staging", stage if stage in ALIASES else "staging"):
        for candidate in versions:
            if candidate.stage == wanted:
                return candidate
    numbers = ", ".join(str(one.version) for one in versions)
    raise NotFoundError(
        f"No version of {name} is in staging. Name one: slh promote {name} VERSION --to {stage}. "
        f"Versions: {numbers}."
    )


def _last(lake: Lakehouse, version: ModelVersion, stage: str) -> Transition:
    return [
        one
        for one in current_transitions(lake, version.name)
        if (one.model_version, one.to_stage) == (version.version, stage)
    ][-1]


def _row(
    version: ModelVersion,
    stage: Stage,
    reason: str,
    evidence: Mapping[str, Any],
    writer: LakeWriter,
    action: str,
    forced: bool,
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
        "who": f"{writer.run.user}@{socket.gethostname()}",
        "action": action,
        "forced": forced,
        "mlflow_run_id": version.mlflow_run_id,
    }


def _transitions_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    import polars as pl

    text = ("model_name", "from_stage", "to_stage", "reason", "evidence", "run_id", "who")
    names = (*text, "action", "mlflow_run_id")
    schema: dict[str, pl.DataType] = {name: pl.String() for name in names}
    schema |= {"model_version": pl.Int64(), "at": pl.Datetime("us", "UTC")}
    schema |= {"forced": pl.Boolean()}
    return pl.DataFrame(rows, schema=schema).with_row_index("number").cast({"number": pl.Int64})
