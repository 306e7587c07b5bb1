"""Stages, references and the files of models: moved, refused, rolled back, loaded."""

from __future__ import annotations

import getpass
import hashlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sololakehouse.errors import GateError, NotFoundError, RunError, UsageError
from sololakehouse.lineage.trace import trace
from sololakehouse.models.difference import find_run
from sololakehouse.models.gates import GateResult, baseline_gate
from sololakehouse.models.hashes import file_hashes
from sololakehouse.models.registry import RUNS, in_production, load_model, promote, rollback
from sololakehouse.models.tracking import connected
from sololakehouse.models.versions import (
    ModelVersion,
    Transition,
    model_versions,
    resolve,
    transitions,
    versions_of,
)
from sololakehouse.provenance import Change
from tests.rain import ModelProject


def record(project: ModelProject, *rows: dict[str, Any]) -> None:
    """Append trained models; each row is a version, numbered from 1."""
    whole = [
        {
            "run_id": "r",
            "experiment": "e",
            "role": "model",
            "fingerprint": "f",
            "mlflow_run_id": "m",
            "model_uri": "models:/x",
            "model_name": "rain",
            "model_version": number,
            "training_set": "training.rain",
            "training_set_version": 1,
            "primary_metric": "roc_auc",
            "metrics": json.dumps({f"test_{row.get('primary_metric', 'roc_auc')}": row["score"]}),
            "recipe": "{}",
            "feature_columns": "[]",
            "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        | {name: value for name, value in row.items() if name != "score"}
        for number, row in enumerate(rows, start=1)
    ]
    project.writer().write_frame(RUNS, pl.DataFrame(whole), Change("TEST", "x"), mode="append")


def against_baseline(project: ModelProject, version: int) -> GateResult:
    versions = versions_of(project.lake, "rain")
    return baseline_gate(versions, resolve(project.lake, f"rain@{version}"))


@pytest.mark.parametrize(
    ("metric", "baseline", "model", "passes"),
    [
        ("roc_auc", 0.7, 0.8, True),
        ("roc_auc", 0.8, 0.7, False),
        ("roc_auc", 0.7, 0.7, False),
        ("log_loss", 0.7, 0.6, True),
        ("log_loss", 0.6, 0.7, False),
    ],
)
def test_the_gate_asks_for_strictly_better_in_the_direction_of_the_metric(
    project, metric, baseline, model, passes
):
    common = {"primary_metric": metric}
    record(project, common | {"role": "baseline", "score": baseline}, common | {"score": model})
    gate = against_baseline(project, 2)
    compared = f"test_{metric} {model:.4f} against {baseline:.4f} of the baseline (version 1)"
    if passes:
        assert (gate.verdict, gate.said) == ("passed", f"Beats the baseline: {compared}.")
    else:
        assert (gate.verdict, gate.said) == ("failed", f"{compared} is not better.")


def test_the_baseline_is_the_one_of_the_same_experiment_even_within_one_run(project):
    record(
        project,
        {"role": "baseline", "fingerprint": "hard", "score": 0.9},
        {"fingerprint": "hard", "score": 0.8},
        {"role": "baseline", "fingerprint": "easy", "score": 0.5},
        {"fingerprint": "easy", "score": 0.6},
        {"fingerprint": "lost", "score": 0.6},
    )
    assert "against 0.9000 of the baseline (version 1) is not better" in (
        against_baseline(project, 2).said
    )
    assert against_baseline(project, 4).verdict == "passed"
    assert against_baseline(project, 5).said == (
        "The baseline of rain version 5 is not registered."
    )


def test_an_unknown_stage_has_candidates(project):
    record(project, {"score": 1.0})
    with pytest.raises(NotFoundError, match=r"No stage 'prod'\. .*archived, production, staging\."):
        promote(project.lake, project.writer(), "rain", 1, "prod")


def test_nothing_in_staging_names_the_versions(project):
    record(project, {"score": 1.0}, {"score": 1.0})
    with pytest.raises(NotFoundError, match=r"No version of rain is in staging.*Versions: 1, 2\."):
        promote(project.lake, project.writer(), "rain", None, "production")


def test_a_version_goes_apart_from_the_name(project):
    record(project, {"score": 1.0})
    with pytest.raises(UsageError, match="Write 'rain' without '@1': where a command takes"):
        promote(project.lake, project.writer(), "rain@1", None, "production")
    with pytest.raises(UsageError, match="Write 'rain' without '@1'"):
        rollback(project.lake, project.writer(), "rain@1", "why")


def test_a_rollback_needs_a_reason(project):
    with pytest.raises(UsageError, match="A rollback needs a reason"):
        rollback(project.lake, project.writer(), "rain", " ")


def test_of_a_model_to_compare_the_versions_are_said(project):
    record(project, {"score": 1.0}, {"score": 1.0})
    with pytest.raises(UsageError, match=r"rain is a model\. Say which version: rain@1, rain@2\."):
        find_run(project.lake, "rain")


def test_no_model_at_all(project):
    with pytest.raises(NotFoundError, match=r"No model 'rain'\. There is no model yet"):
        resolve(project.lake, "rain@production")


def test_references_are_resolved_without_mlflow(project):
    record(project, {"score": 1.0})
    code = (
        "import sys; from sololakehouse.lake import Lakehouse; "
        "from sololakehouse.models.registry import resolve; "
        f"lake = Lakehouse.open({str(project.folder)!r}); "
        "print(resolve(lake, 'rain@1'), 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "rain version 1 False"


@pytest.fixture
def copied(trained, tmp_path) -> ModelProject:
    """Give a copy of the trained project; its store still points to the original's artifacts."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0].folder, folder)
    return ModelProject(folder)


def test_production_is_not_left_empty(copied):
    promote(copied.lake, copied.writer(), "rain", None, "production")
    with pytest.raises(UsageError, match="rain version 2 is in production, and would leave it"):
        promote(copied.lake, copied.writer(), "rain", 2, "staging")


def test_a_transition_says_who_from_where_why_and_with_what_evidence(copied):
    promote(copied.lake, copied.writer(), "rain", None, "production")
    snapshot = copied.lake.read("system.model_transitions")
    entered = transitions(copied.lake, "rain")[-1]
    assert (entered.model_version, entered.from_stage) == (2, "staging")
    assert entered.who == f"{getpass.getuser()}@{socket.gethostname()}"
    assert (entered.action, entered.forced) == ("promote", False)
    gates = {gate["gate"]: gate for gate in entered.evidence["gates"]}
    assert list(gates) == ["baseline", "artifacts", "champion", "expectations", "rebuilt", "replay"]
    beaten = gates["baseline"]["evidence"]
    assert f"{beaten['model']:.4f} against {beaten['baseline']:.4f}" in entered.reason
    assert snapshot.record.manifest.left_out == ("at", "mlflow_run_id", "run_id", "who")


def test_force_needs_a_reason_that_stays_visible(copied):
    with pytest.raises(UsageError, match="--force needs a reason"):
        promote(copied.lake, copied.writer(), "rain", 1, "production", force=True, reason=" ")
    with pytest.raises(GateError, match="1 of 6 gates failed") as stopped:
        promote(copied.lake, copied.writer(), "rain", 1, "production", reason="no force")
    assert 'slh promote rain 1 --to production --force --reason "..."' in str(stopped.value)
    assert [gate.gate for gate in stopped.value.gates if gate.verdict == "failed"] == ["baseline"]
    forced = {"force": True, "reason": "the new one is unfair"}
    done = promote(copied.lake, copied.writer(), "rain", 1, "production", **forced)
    assert done.reason == "the new one is unfair"
    version = resolve(copied.lake, "rain@production")
    assert (version.version, version.forced) == (1, "the new one is unfair")
    assert transitions(copied.lake, "rain")[-1].forced
    with connected(copied.lake.project) as client:
        tags = client.get_model_version_by_alias("rain", "production").tags
    assert (tags["stage_forced"], tags["stage_reason"]) == ("true", "the new one is unfair")
    (node,) = [one for one in trace(copied.lake, "rain@1").nodes.values() if one.kind == "model"]
    assert node.notes == ("forced past its gates: the new one is unfair",)


def test_force_without_a_failed_gate_is_no_force(copied):
    promote(copied.lake, copied.writer(), "rain", 2, "production", force=True, reason="why not")
    version = resolve(copied.lake, "rain@production")
    assert (version.version, version.forced) == (2, None)
    reason = transitions(copied.lake, "rain")[-1].reason
    assert reason.startswith("Beats the baseline: ")
    assert reason.endswith(" why not")


def test_one_command_goes_back_to_what_was_in_production_before(copied):
    writer = copied.writer()
    promote(copied.lake, writer, "rain", 2, "production")
    promote(copied.lake, writer, "rain", 1, "production", force=True, reason="try")
    done = rollback(copied.lake, writer, "rain", "it was worse")
    assert (done.version, done.changed) == (2, True)
    stages = {one.version: one.stage for one in model_versions(copied.lake)}
    assert stages == {1: "archived", 2: "production"}
    back = transitions(copied.lake, "rain")[-1]
    assert (back.action, back.from_stage, back.reason) == ("rollback", "archived", "it was worse")
    with connected(copied.lake.project) as client:
        assert client.get_registered_model("rain").aliases == {"production": 2}
    with pytest.raises(NotFoundError, match="Nothing was in production before rain version 2"):
        rollback(copied.lake, writer, "rain", "once more")


@pytest.mark.parametrize(
    ("moves", "left"),
    [
        ("1", [1]),
        ("1 2 3", [1, 2, 3]),
        ("1 2 3 back-2", [1, 2]),
        ("1 2 3 back-2 back-1", [1]),
        ("1 2 1 back-2 back-1", [1]),
        ("1 2 back-1 3 back-1", [1]),
        ("1 2 back-1 2", [1, 2]),
    ],
)
def test_what_was_rolled_back_does_not_come_again(moves, left):
    entered = [
        Transition(
            "m",
            int(one.removeprefix("back-")),
            None,
            "production",
            "",
            {},
            "r",
            datetime(2026, 1, 1, tzinfo=UTC),
            None,
            "rollback" if "back" in one else "promote",
            False,
        )
        for one in moves.split()
    ]
    assert in_production(entered) == left


def test_a_version_is_archived_by_choice_but_not_out_of_production(copied):
    promote(copied.lake, copied.writer(), "rain", None, "archived", reason="too slow")
    assert resolve(copied.lake, "rain@2").stage == "archived"
    with connected(copied.lake.project) as client:
        assert client.get_registered_model("rain").aliases == {}
    promote(copied.lake, copied.writer(), "rain", 2, "production")
    with pytest.raises(UsageError, match="go back with 'slh rollback rain'"):
        promote(copied.lake, copied.writer(), "rain", 2, "archived")


def test_a_model_that_mlflow_lost_is_said_and_no_empty_store_is_made(copied):
    version = resolve(copied.lake, "rain@2")
    store = copied.folder / "mlflow.db"
    store.unlink()
    with pytest.raises(RunError, match=r"The MLflow store .*mlflow\.db is gone"):
        load_model(copied.lake.project, version)
    assert not store.exists()


def test_a_version_that_the_store_does_not_have_is_said(copied):
    version = replace(resolve(copied.lake, "rain@2"), version=99)
    with pytest.raises(RunError, match=r"rain version 99 is gone from MLflow at .*--force"):
        load_model(copied.lake.project, version)


def model_folder(project: ModelProject, version: ModelVersion) -> Path:
    """Return the folder that MLflow keeps a version's files in."""
    wanted = version.record["artifacts"]
    found = [file.parent for file in project.folder.glob("mlartifacts/**/MLmodel")]
    (folder,) = [one for one in found if file_hashes(one) == wanted]
    return folder


@pytest.fixture
def spoiled(trained, tmp_path) -> Iterator[Path]:
    """Give the folder of version 2's files, which are put back after the test."""
    project, outcome = trained
    folder = model_folder(project, outcome.runs[1])
    shutil.copytree(folder, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)


def test_a_model_whose_bytes_changed_is_refused_with_both_hashes(trained, spoiled):
    project, outcome = trained
    file = spoiled / "model.skops"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    assert outcome.runs[1].record["artifacts"]["model.skops"] == before
    file.write_bytes(file.read_bytes() + b"\0")
    after = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(RunError) as refused:
        load_model(project.lake.project, outcome.runs[1])
    assert str(refused.value).startswith(
        f"rain version 2 is refused: model.skops has the SHA-256 {after}, and had {before} when "
        "it was registered."
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "MLmodel").unlink(), "MLmodel is gone (registered: "),
        (lambda folder: (folder / "model.ubj").write_text("x"), "model.ubj was not registered ("),
    ],
    ids=["missing", "added"],
)
def test_a_missing_and_a_foreign_file_are_refused(trained, spoiled, spoil, said):
    project, outcome = trained
    spoil(spoiled)
    with pytest.raises(RunError) as refused:
        load_model(project.lake.project, outcome.runs[1])
    assert said in str(refused.value)


def test_not_even_force_promotes_changed_files_and_rollback_does_not_go_to_them(copied, spoiled):
    promote(copied.lake, copied.writer(), "rain", 2, "production")
    promote(copied.lake, copied.writer(), "rain", 1, "production", force=True, reason="try")
    (spoiled / "model.skops").write_bytes(b"something else")
    with pytest.raises(GateError, match=r"artifacts \(failed\): rain version 2 is refused"):
        promote(copied.lake, copied.writer(), "rain", 2, "production", force=True, reason="x")
    with pytest.raises(RunError, match="rain version 2 is refused"):
        rollback(copied.lake, copied.writer(), "rain", "x")
    assert resolve(copied.lake, "rain@production").version == 1


def test_mlflow_has_the_hashes_too(trained):
    project, outcome = trained
    with connected(project.lake.project) as client:
        tags = client.get_model_version("rain", "2").tags
    assert json.loads(tags["artifacts"]) == outcome.runs[1].record["artifacts"]


@pytest.mark.parametrize("damage", ["foreign type", "no archive"])
def test_only_known_types_are_loaded_whatever_the_artifact_says(trained, spoiled, damage):
    """Also of a model that was registered when files were not hashed yet."""
    from skops.io import dump

    project, outcome = trained
    file, about = spoiled / "model.skops", spoiled / "MLmodel"
    listed = about.read_text()
    if damage == "foreign type":
        dump(pl.Series, file)
        about.write_text(listed.replace("- numpy.dtype", "- numpy.dtype\n    - polars.Series"))
    else:
        file.write_bytes(b"no archive")
    old = replace(outcome.runs[1], record={})
    with pytest.raises(RunError, match="rain version 2 cannot be loaded from MLflow: "):
        load_model(project.lake.project, old)
