"""The gates before production: what a version must show, each with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sololakehouse.errors import (
    GateError,
    NotFoundError,
    RunError,
    SoloLakehouseError,
    shortened,
)
from sololakehouse.features.certificates import Certificate, certificate_of
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.gate_settings import GateSettings
from sololakehouse.models.metrics import metric
from sololakehouse.models.renumbering import version_meant
from sololakehouse.models.versions import (
    BASELINE,
    LOGGED,
    ModelVersion,
    all_registered,
    by_number,
)
from sololakehouse.provenance import ExpectationResult

REBUILDS = "system.rebuilds"
Verdict = Literal["passed", "failed", "not available"]


@dataclass(frozen=True)
class GateResult:
    """What one gate said, why, and the figures that it said it by."""

    gate: str
    verdict: Verdict
    said: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def gate_error(version: ModelVersion, gates: Sequence[GateResult]) -> GateError:
    """Return the error that says what each gate said, and how to go past those that failed."""
    failed = [one for one in gates if one.verdict == "failed"]
    lines = [
        f"{version} stays out of production: {len(failed)} of {len(gates)} gates failed.",
        *(f"  {one.gate} ({one.verdict}): {one.said}" for one in gates),
        f"To promote it all the same: slh promote {version.name} {version.version} "
        '--to production --force --reason "...". The reason stays visible.',
    ]
    error = GateError("\n".join(lines))
    error.gates = tuple(gates)
    return error


def gate_settings(version: ModelVersion) -> GateSettings:
    """Return the gates that a version's experiment declared; those of a logged model are none."""
    return GateSettings.model_validate(version.record.get("config", {}).get("gates") or {})


def baseline_gate(versions: Sequence[ModelVersion], version: ModelVersion) -> GateResult:
    """Ask whether a version is strictly better than the baseline of its training run.

    Compared is the experiment's first metric on the test part. The baseline is the newest one of
    the same command and fingerprint among `versions`.
    """
    if version.role == BASELINE:
        return GateResult(
            "baseline",
            "failed",
            f"{version} is the baseline of its experiment, and production is for what beats the "
            "baseline. Improve the model in the experiment file and train again.",
        )
    if version.role == LOGGED:
        return GateResult(
            "baseline",
            "failed",
            f"{version} was logged with log_model, so no baseline was trained beside it on the "
            "same split, and there is nothing that it has beaten. It may be in staging; for "
            "production, write an experiment file and use 'slh train'.",
        )
    baselines = [
        other
        for other in versions
        if other.role == BASELINE
        and (other.run_id, other.fingerprint) == (version.run_id, version.fingerprint)
    ]
    if not baselines:
        return GateResult("baseline", "failed", f"The baseline of {version} is not registered.")
    baseline, key = baselines[-1], f"test_{version.primary_metric}"
    mine, theirs = version.metrics[key], baseline.metrics[key]
    compared = f"{key} {mine:.4f} against {theirs:.4f} of the baseline (version {baseline.version})"
    evidence = {"metric": key, "model": mine, "baseline": theirs, "version": baseline.version}
    if metric(version.primary_metric).better(mine, theirs):
        return GateResult("baseline", "passed", f"Beats the baseline: {compared}.", evidence)
    return GateResult("baseline", "failed", f"{compared} is not better.", evidence)


def training_set_of(lake: Lakehouse, version: ModelVersion) -> Snapshot:
    """Return the training set of a version as it was.

    Raises
    ------
    NotFoundError, RunError
        It cannot be read any more.
    """
    return lake.read(version.training_set, version.training_set_version)


def expectations_gate(lake: Lakehouse, version: ModelVersion) -> GateResult:
    """Ask whether the rows of the training set's inputs met all expectations of their tables.

    Rows that an expectation dropped are not in the table any more, and speak against nothing.
    """
    name = "expectations"
    try:
        record = training_set_of(lake, version).record
        inputs = [lake.read(one.table, one.version) for one in record.inputs] if record else []
        checked = [(one, result) for one in inputs for result in _checks(one)]
    except SoloLakehouseError as error:
        return GateResult(name, "failed", f"What {version} was made from cannot be read. {error}")
    if not checked:
        said = "No input of the training set has expectations."
        return GateResult(name, "not available", said)
    violated = [
        f"{table.table_version}: {result.violated_text}"
        for table, result in checked
        if not result.passed and result.action != "drop"
    ]
    tables = sorted({str(table.table_version) for table, _ in checked})
    evidence = {"tables": tables, "checked": len(checked), "violated": violated}
    if violated:
        return GateResult(name, "failed", " ".join(violated), evidence)
    some = f"{len(checked)} expectation{'' if len(checked) == 1 else 's'}"
    said = f"Nothing violates {some} on the training set's inputs: {', '.join(tables)}."
    return GateResult(name, "passed", said, evidence)


def _checks(table: Snapshot) -> Sequence[ExpectationResult]:
    return table.record.expectations if table.record else ()


def rebuild_gate(lake: Lakehouse, version: ModelVersion, *, required: bool) -> GateResult:
    """Ask what the newest rebuild of a version said; none fails only where one is required."""
    mine = _rebuilds_of(lake, version)
    if not mine:
        how = f"Nobody rebuilt it: slh rebuild {version.name}@{version.version}."
        return GateResult("rebuilt", "failed" if required else "not available", how)
    last = mine[-1]
    evidence = {"verdict": last["verdict"], "at": last["at"].isoformat()}
    if last["verdict"] == "diverged":
        said = f"Rebuilt on {last['at']:%Y-%m-%d}, it diverged."
        return GateResult("rebuilt", "failed", said, evidence)
    said = f"Rebuilt on {last['at']:%Y-%m-%d}: {last['verdict']}."
    return GateResult("rebuilt", "passed", said, evidence)


def _rebuilds_of(lake: Lakehouse, version: ModelVersion) -> list[dict[str, Any]]:
    rebuilds = lake.newest(REBUILDS)
    if rebuilds is None:
        return []
    counted = by_number(all_registered(lake))

    def means(row: Mapping[str, Any]) -> bool:
        name, number, run = row["model_name"], row["model_version"], row.get("mlflow_run_id")
        meant = version_meant(counted, name, number, run, row["at"])
        return meant is not None and meant.is_as(version)

    return [row for row in rebuilds.to_polars().sort("at").to_dicts() if means(row)]


def replay_gate(certificate: Certificate | None) -> GateResult:
    """Ask whether the replay of a training set was clean; None if it was not replayed."""
    if certificate is None:
        return GateResult("replay", "not available", "The training set has no replay certificate.")
    evidence = {"verdict": certificate.verdict, "at": certificate.replayed_at.isoformat()}
    said = f"Replayed on {certificate.replayed_at:%Y-%m-%d}: {certificate.verdict}"
    if certificate.verdict == "clean":
        return GateResult("replay", "passed", f"{said}.", evidence)
    if certificate.verdict == "not covered":
        return GateResult("replay", "not available", f"{said}. {certificate.uncovered}", evidence)
    leaking = f" ({shortened(certificate.leaking)})" if certificate.leaking else ""
    return GateResult("replay", "failed", f"{said}{leaking}.", evidence)


def replay_certificate(lake: Lakehouse, version: ModelVersion) -> Certificate | None:
    """Return the certificate that counts for a version's training set; None if there is none."""
    try:
        return certificate_of(lake, training_set_of(lake, version))
    except (NotFoundError, RunError):
        return None
