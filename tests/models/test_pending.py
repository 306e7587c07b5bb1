"""What was trained while MLflow did not answer: kept, sent later, nothing lost, nothing twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sololakehouse.errors import RunError, UnreachableError
from sololakehouse.lake.leases import active_leases
from sololakehouse.models import pending as pending_module
from sololakehouse.models.pending import pending_runs, sync
from sololakehouse.models.registry import RUNS, load_model, model_versions, transitions
from sololakehouse.models.tracking import connected
from tests.rain import EXPERIMENT, ModelProject, make_project

AWAY = "name: rain\nmlflow: {tracking_uri: 'http://127.0.0.1:9'}\n"
HERE = "name: rain\n"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> ModelProject:
    """Give a project that was trained while its server was away; tests must not change it."""
    project = make_project(tmp_path_factory.mktemp("kept"))
    (project.folder / "lakehouse.yml").write_text(AWAY)
    with pytest.raises(UnreachableError):
        project.train()
    return project


@pytest.fixture
def waiting(kept, tmp_path) -> ModelProject:
    """Give a copy of it, whose MLflow is there again."""
    folder = Path(shutil.copytree(kept.folder, tmp_path / "waiting"))
    (folder / "lakehouse.yml").write_text(HERE)
    project = ModelProject(folder)
    project.prepare_store()
    return project


def in_mlflow(project: ModelProject) -> dict[str, Any]:
    """Return how much of everything MLflow has."""
    with connected(project.lake.project) as client:
        experiment = client.get_experiment_by_name("rain").experiment_id
        runs = client.search_runs([experiment])
        models = client.search_logged_models([experiment])
        versions = client.search_model_versions("name = 'rain'")
        history = [client.get_metric_history(run.info.run_id, "test_roc_auc") for run in runs]
        plots = [len(client.list_artifacts(run.info.run_id, "plots")) for run in runs]
    return {
        "runs": sorted((run.info.run_name, run.info.status) for run in runs),
        "outputs": [len(run.outputs.model_outputs) for run in runs],
        "datasets": [len(run.inputs.dataset_inputs) for run in runs],
        "measured": [len(values) for values in history],
        "plots": plots,
        "models": [model.status for model in models],
        "versions": sorted(int(version.version) for version in versions),
    }


WHOLE = {
    "runs": [("baseline", "FINISHED"), ("model", "FINISHED")],
    "outputs": [1, 1],
    "datasets": [3, 3],
    "measured": [1, 1],
    "plots": [5, 5],
    "models": ["READY", "READY"],
    "versions": [1, 2],
}


def check_all_is_registered_once(project: ModelProject) -> None:
    assert pending_runs(project.lake.project) == []
    found = in_mlflow(project)
    assert found == WHOLE
    versions = model_versions(project.lake)
    assert [(v.version, v.role, v.stage) for v in versions] == [
        (1, "baseline", None),
        (2, "model", "staging"),
    ]
    assert len(transitions(project.lake)) == 1
    holders = {lease.holder for lease in active_leases(project.lake)}
    assert {"rain@1", "rain@2"} <= holders


def test_the_error_says_what_is_kept_and_what_to_do(kept):
    (pending,) = pending_runs(kept.lake.project)
    with pytest.raises(UnreachableError) as said:
        sync(kept.lake, pending)
    place = f".slh/pending_runs/{pending.run.run_id}-{pending.about['fingerprint'][:8]}"
    assert str(said.value) == (
        f"MLflow at http://127.0.0.1:9 cannot be reached: Connection refused. What was trained is "
        f"kept in {place}. Send it with 'slh runs sync' when the server answers."
    )
    assert RUNS not in kept.lake.table_names()
    files = {file.name for file in pending.folder.rglob("*") if file.is_file()}
    assert {"model.skops", "MLmodel", "roc.png", "experiment.yml", "training.json"} <= files


def test_sync_registers_with_the_lineage_of_the_command_that_trained(waiting, trained):
    (pending,) = pending_runs(waiting.lake.project)
    versions = sync(waiting.lake, pending)
    check_all_is_registered_once(waiting)
    entry = waiting.lake.history(RUNS, 1)[0]
    assert {version.run_id for version in versions} == {pending.run.run_id, entry.record.run_id}
    assert versions[1].trained_at == pending.run.started_at
    assert [str(one) for one in entry.record.inputs] == ["training.rain@v1"]
    direct = trained[1].runs
    assert [v.metrics for v in versions] == [v.metrics for v in direct]
    load_model(waiting.lake.project, versions[1])


def test_the_same_training_sends_what_is_kept_instead_of_fitting_again(waiting, monkeypatch):
    def fitting(*_: object) -> None:
        raise AssertionError("it fits again")

    monkeypatch.setattr("sololakehouse.models.training.fit_and_measure", fitting)
    outcome = waiting.train()
    assert [version.version for version in outcome.runs] == [1, 2]
    check_all_is_registered_once(waiting)


STEPS = {
    "create_run": MlflowClient,
    "log_batch": MlflowClient,
    "log_artifacts": MlflowClient,
    "log_inputs": MlflowClient,
    "create_logged_model": MlflowClient,
    "log_outputs": MlflowClient,
    "log_model_artifacts": MlflowClient,
    "finalize_logged_model": MlflowClient,
    "create_model_version": MlflowClient,
    "_record": pending_module,
    "stage_the_better": pending_module,
}


@pytest.mark.parametrize(
    ("step", "time"),
    [*((step, 1) for step in STEPS), ("create_run", 2), ("create_model_version", 2)],
)
def test_interrupted_after_any_step_and_repeated_nothing_is_lost_or_twice(
    waiting, monkeypatch, step, time
):
    original: Callable[..., Any] = getattr(STEPS[step], step)
    calls = []

    def interrupted(*given: Any, **more: Any) -> Any:
        done = original(*given, **more)
        calls.append(step)
        if len(calls) == time:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(STEPS[step], step, interrupted)
    (pending,) = pending_runs(waiting.lake.project)
    try:
        sync(waiting.lake, pending)
    except KeyboardInterrupt:
        assert pending_runs(waiting.lake.project) == [pending]
        sync(waiting.lake, pending)
    check_all_is_registered_once(waiting)


def test_a_commit_that_fails_leaves_no_version_in_mlflow(waiting, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise RunError("the disk is full.")

    monkeypatch.setattr(pending_module, "record_runs", full)
    (pending,) = pending_runs(waiting.lake.project)
    with pytest.raises(RunError, match="the disk is full") as said:
        sync(waiting.lake, pending)
    assert said.value.__notes__[-1].endswith("Send it with 'slh runs sync' when that is mended.")
    assert in_mlflow(waiting)["versions"] == []
    assert RUNS not in waiting.lake.table_names()
    monkeypatch.undo()
    sync(waiting.lake, pending)
    assert in_mlflow(waiting) == WHOLE | {"versions": [3, 4]}  # MLflow gives no number twice
    assert [version.version for version in model_versions(waiting.lake)] == [3, 4]


def test_a_training_set_that_was_made_anew_is_said(waiting):
    shutil.rmtree(waiting.lake.path("training.rain"))
    waiting.train("model.params={n_estimators: 1}")
    (pending,) = pending_runs(waiting.lake.project)
    with pytest.raises(RunError, match=r"training\.rain@v1 is not the training set of \.slh/pend"):
        sync(waiting.lake, pending)


def test_a_run_that_was_packed_only_in_part_is_not_pending(waiting):
    place = waiting.folder / ".slh/pending_runs"
    (whole,) = place.iterdir()
    whole.rename(whole.with_name(f".{whole.name}"))
    assert pending_runs(waiting.lake.project) == []


def test_the_commands_tell_of_it_and_send_it(kept, tmp_path, slh, mlflow_server):
    folder = Path(shutil.copytree(kept.folder, tmp_path / "p"))
    (folder / "rain.yml").write_text(EXPERIMENT)
    said = slh("train", "rain.yml", "--force", folder=folder)
    assert said.code == 1
    assert "Send it with 'slh runs sync' when the server answers." in said.err
    shutil.rmtree(sorted((folder / ".slh/pending_runs").iterdir())[0])
    listed = json.loads(slh("runs", "--json", folder=folder).out)
    assert [(row["state"], row["role"]) for row in listed] == [
        ("pending", "baseline"),
        ("pending", "model"),
    ]
    assert "2 pending: send them to MLflow with 'slh runs sync'." in slh("runs", folder=folder).out
    assert slh("runs", "sync", folder=folder).code == 1
    (folder / "lakehouse.yml").write_text(AWAY.replace("http://127.0.0.1:9", mlflow_server.uri))
    sent = slh("runs", "sync", "--json", folder=folder)
    assert sent.code == 0
    rows = json.loads(sent.out)
    assert [row["stage"] for row in rows] == [None, "staging"]
    listed = json.loads(slh("runs", "--json", folder=folder).out)
    assert [row["state"] for row in listed] == ["registered", "registered"]
    assert {row["run"] for row in listed} == {row["run"] for row in rows}
    assert slh("runs", "sync", folder=folder).out == "Nothing is pending.\n"


@pytest.mark.faults
def test_a_server_that_goes_away_in_the_middle_is_no_loss(waiting, monkeypatch, mlflow_server):
    """The server is killed when the first run is there; what it lost is nothing."""
    (waiting.folder / "lakehouse.yml").write_text(
        AWAY.replace("http://127.0.0.1:9", mlflow_server.uri)
    )
    original = MlflowClient.log_inputs

    def killed(*given: Any, **more: Any) -> None:
        original(*given, **more)
        mlflow_server.stop()

    monkeypatch.setattr(MlflowClient, "log_inputs", killed)
    (pending,) = pending_runs(waiting.lake.project)
    try:
        with pytest.raises(UnreachableError, match="Send it with 'slh runs sync'"):
            sync(waiting.lake, pending)
        monkeypatch.undo()
    finally:
        mlflow_server.start()
    versions = sync(waiting.lake, pending)
    assert len(versions) == 2
    assert len({version.mlflow_run_id for version in versions}) == 2
    with connected(waiting.lake.project) as client:
        found = client.search_runs(
            [client.get_experiment_by_name("rain").experiment_id],
            f"tags.run_id = '{pending.run.run_id}'",
        )
    assert sorted(run.info.status for run in found) == ["FINISHED", "FINISHED"]


@pytest.mark.skipif(find_spec("boto3") is not None, reason="boto3 is installed")
def test_s3_without_its_library_says_which_and_keeps_what_was_trained(waiting):
    (waiting.folder / "lakehouse.yml").write_text(
        "name: rain\nmlflow: {artifacts: 's3://models/rain'}\n"
    )
    (pending,) = pending_runs(waiting.lake.project)
    with pytest.raises(
        RunError, match=r"No module named 'boto3': pip install 'sololakehouse\[s3\]'"
    ):
        sync(waiting.lake, pending)
    assert pending_runs(waiting.lake.project) == [pending]
    with connected(waiting.lake.project) as client:
        location = client.get_experiment_by_name("rain").artifact_location
        assert client.search_model_versions("name = 'rain'") == []
    assert location == "s3://models/rain"
