"""MLflow stores that were replaced: numbers come again, and nothing is inherited by a number."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.errors import GateError, NotFoundError, RunError, UsageError
from sololakehouse.inference.batch import score
from sololakehouse.lake.leases import active_leases
from sololakehouse.lineage.trace import trace
from sololakehouse.models.difference import find_run
from sololakehouse.models.gates import rebuild_gate
from sololakehouse.models.registry import RUNS, TRANSITIONS, load_model, promote, rollback
from sololakehouse.models.renumbering import version_meant, versions_there
from sololakehouse.models.tracking import connected
from sololakehouse.models.versions import (
    ModelVersion,
    all_registered,
    by_number,
    model_versions,
    resolve,
    transitions,
)
from sololakehouse.monitoring.predictions import Predictions
from sololakehouse.provenance import Change
from sololakehouse.rebuild.rebuilds import REBUILDS
from sololakehouse.serving.limits import Access, Limits
from sololakehouse.serving.served_model import ServedModel
from sololakehouse.serving.state import ServingState
from sololakehouse.serving.watcher import Watcher
from tests.rain import ModelProject

ELSEWHERE = "name: rain\nmlflow: {tracking_uri: 'sqlite:///other.db', artifacts: other}\n"
HERE = "name: rain\n"
JOB = ScoringJob(model="rain@2", input="gold.labels", output="inference.rain")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HERE_ONLY = Access("127.0.0.1", local=True, token=None)


@pytest.fixture(scope="module")
def old(trained, tmp_path_factory) -> ModelProject:
    """Give a project with versions 1 to 3, of which 2 was in production; it must not be changed."""
    folder = tmp_path_factory.mktemp("replaced") / "old"
    shutil.copytree(trained[0].folder, folder)
    project = ModelProject(folder)
    promote(project.lake, project.writer(), "rain", 2, "production")
    score(project.lake, project.writer(), JOB)
    return project


@pytest.fixture(scope="module")
def replaced(old, tmp_path_factory) -> ModelProject:
    """Give the same project after training in another store; it must not be changed."""
    folder = tmp_path_factory.mktemp("replaced") / "new"
    shutil.copytree(old.folder, folder)
    project = ModelProject(folder)
    (folder / "lakehouse.yml").write_text(ELSEWHERE)
    outcome = project.train("model.params.n_estimators=20")
    assert [run.version for run in outcome.runs] == [1, 2]
    return project


@pytest.fixture
def copied(replaced, tmp_path) -> ModelProject:
    return ModelProject(Path(shutil.copytree(replaced.folder, tmp_path / "copied")))


def stages(project: ModelProject) -> dict[int, str | None]:
    return {one.version: one.stage for one in model_versions(project.lake)}


def test_a_number_that_comes_again_inherits_no_stage(old, replaced):
    assert stages(old) == {1: None, 2: "production"}
    assert stages(replaced) == {1: None, 2: "staging"}
    with pytest.raises(NotFoundError, match="rain has no version 'production'"):
        resolve(replaced.lake, "rain@production")


def test_all_gates_are_asked_again(copied):
    with pytest.raises(GateError, match="baseline"):
        promote(copied.lake, copied.writer(), "rain", 1, "production")
    done = promote(copied.lake, copied.writer(), "rain", None, "production")
    assert (done.version, done.changed) == (2, True)
    assert {one.gate: one.verdict for one in done.gates}["champion"] == "not available"
    last = transitions(copied.lake, "rain")[-1]
    assert (last.from_stage, last.mlflow_run_id) == (
        "staging",
        resolve(copied.lake, "rain@2").mlflow_run_id,
    )


def test_a_rollback_goes_back_to_no_version_of_the_old_store(copied):
    promote(copied.lake, copied.writer(), "rain", 2, "production")
    with pytest.raises(NotFoundError, match="Nothing was in production before rain version 2"):
        rollback(copied.lake, copied.writer(), "rain", "worse")


def test_what_was_registered_stays_known_by_its_run(old, replaced):
    before = resolve(old.lake, "rain@2")
    (found,) = [one for one in all_registered(replaced.lake) if one.replaced and one.version == 2]
    assert found == replace(before, replaced=True, stage=None, forced=None)
    assert find_run(replaced.lake, before.mlflow_run_id[:12]) == found
    graph = trace(replaced.lake, before.mlflow_run_id)
    assert graph.nodes[f"run {before.mlflow_run_id}"].role == "model"


def test_predictions_are_those_of_the_version_that_made_them(old, replaced):
    before, now = resolve(old.lake, "rain@2"), resolve(replaced.lake, "rain@2")
    graph = trace(replaced.lake, "inference.rain")
    models = {node.id: node.notes for node in graph.nodes.values() if node.kind == "model"}
    node_id = f"rain@2 of {before.mlflow_run_id[:8]}"
    assert models == {node_id: ("the MLflow store that counted it was replaced",)}
    assert now.mlflow_run_id not in "".join(graph.nodes)
    with pytest.raises(UsageError, match="rain version 2 of then, and rain@2 is version 2"):
        Predictions.of_job(replaced.lake, JOB)
    with pytest.raises(NotFoundError, match="No table holds predictions of rain version 2"):
        Predictions.of_model(replaced.lake, "rain@2")
    assert Predictions.of_model(old.lake, "rain@2").table.name == JOB.output


def test_scoring_again_makes_them_those_of_the_new_version(copied):
    done = score(copied.lake, copied.writer(), JOB)
    assert (done.up_to_date, done.kept) == (False, 0)
    assert Predictions.of_job(copied.lake, JOB).model == resolve(copied.lake, "rain@2")
    nodes = trace(copied.lake, JOB.output).nodes.values()
    assert [node.id for node in nodes if node.kind == "model"] == ["rain@2"]


def test_a_rebuild_counts_for_the_version_that_was_rebuilt(copied):
    now = resolve(copied.lake, "rain@2")
    before = next(one for one in all_registered(copied.lake) if one.replaced and one.version == 2)

    def note(verdict: str, run: str | None, at: datetime) -> None:
        row = {"model_name": "rain", "model_version": 2, "verdict": verdict, "at": at}
        row |= {"mlflow_run_id": run} if copied.lake.exists(REBUILDS) else {}
        change = Change("TEST", f"{verdict} {run} {at}")
        rows = pl.DataFrame([row])
        if "mlflow_run_id" in rows.columns:
            rows = rows.cast({"mlflow_run_id": pl.String})
        copied.writer().write_frame(REBUILDS, rows, change, mode="append", evolve=True)

    def verdict() -> str:
        return rebuild_gate(copied.lake, now, required=True).said

    note("diverged", None, before.registered_at + timedelta(microseconds=1))  # an older release
    note("diverged", before.mlflow_run_id, now.registered_at + timedelta(days=1))
    assert verdict() == "Nobody rebuilt it: slh rebuild rain@2."
    note("metric-identical", None, now.registered_at + timedelta(days=2))
    assert "metric-identical" in verdict()
    note("bit-identical", now.mlflow_run_id, now.registered_at + timedelta(days=3))
    assert "bit-identical" in verdict()


def test_the_training_set_of_the_new_version_is_leased_too(copied):
    """A lease names its holder by the number, so another training set needs leases of its own."""
    (copied.folder / "lakehouse.yml").write_text(ELSEWHERE.replace("other", "third"))
    outcome = copied.train("training_set.name=training.third")
    assert [run.version for run in outcome.runs] == [1, 2]
    held = {one.table for one in active_leases(copied.lake) if one.holder == "rain@2"}
    assert {"training.rain", "training.third"} <= held


def test_a_store_that_has_something_else_is_said_before_files_are_compared(old, replaced):
    before, now = resolve(old.lake, "rain@2"), resolve(replaced.lake, "rain@2")
    with pytest.raises(RunError) as other:
        load_model(replaced.lake.project, before)
    assert str(other.value) == (
        "rain version 2 is gone from MLflow at sqlite:///other.db, which has the model of the run "
        f"{now.mlflow_run_id} under that name and number: it was deleted, or the store replaced. "
        f"Bring the store back that had the run {before.mlflow_run_id}, or train again with "
        "'slh train FILE --force'."
    )
    assert load_model(replaced.lake.project, now) is not None


def test_nothing_is_moved_in_a_store_that_has_another_model(old, tmp_path):
    project = ModelProject(Path(shutil.copytree(old.folder, tmp_path / "moved")))
    (project.folder / "lakehouse.yml").write_text(ELSEWHERE)
    with connected(project.lake.project) as client:
        client.create_registered_model("rain")
    with pytest.raises(RunError, match=r"rain version 1 is gone from MLflow .* has nothing under"):
        promote(project.lake, project.writer(), "rain", 1, "staging")
    assert stages(project) == {1: None, 2: "production"}


def test_back_at_the_old_store_its_versions_and_stages_are_back(copied, old):
    (copied.folder / "lakehouse.yml").write_text(HERE)
    assert model_versions(copied.lake) == model_versions(old.lake)


def test_training_again_asks_a_store_of_another_address_whether_it_has_the_models(old, tmp_path):
    project = ModelProject(Path(shutil.copytree(old.folder, tmp_path / "asked")))
    assert project.train().up_to_date
    (project.folder / "lakehouse.yml").write_text(ELSEWHERE)
    assert not project.train().up_to_date
    assert stages(project) == {1: None, 2: "staging"}
    shutil.copy(project.folder / "other.db", project.folder / "same.db")
    (project.folder / "lakehouse.yml").write_text(ELSEWHERE.replace("other.db", "same.db"))
    assert project.train().up_to_date
    assert stages(project) == {1: None, 2: "staging"}


def test_a_server_takes_another_version_of_the_same_number_over(old, tmp_path):
    project = ModelProject(Path(shutil.copytree(old.folder, tmp_path / "served")))
    before = resolve(project.lake, "rain@2")
    served = ServedModel(project.lake, before)
    (project.folder / "lakehouse.yml").write_text(ELSEWHERE)
    state = ServingState(project.lake, "rain@2", served, Limits(), HERE_ONLY)
    watcher = Watcher(state, 60)
    after = project.train("model.params.n_estimators=20").runs[1]
    watcher.look()
    now = state.served.version
    assert (now.version, now.mlflow_run_id) == (before.version, after.mlflow_run_id)
    assert after.mlflow_run_id != before.mlflow_run_id


def test_tables_of_an_older_release_name_versions_by_number_and_moment(old, tmp_path):
    """Their rows know neither store nor run: the number meant what had it at that moment."""
    project = ModelProject(Path(shutil.copytree(old.folder, tmp_path / "older")))
    for table, new in ((RUNS, ["registered_at", "store"]), (TRANSITIONS, ["mlflow_run_id"])):
        rows = project.lake.read(table).to_polars().drop(new)
        shutil.rmtree(project.lake.path(table))
        project.writer().write_frame(table, rows, Change("TEST", table))
    assert stages(project) == {1: None, 2: "production"}
    (project.folder / "lakehouse.yml").write_text(ELSEWHERE)
    project.train("model.params.n_estimators=20")
    assert stages(project) == {1: None, 2: "staging"}
    promote(project.lake, project.writer(), "rain", 2, "production")
    assert stages(project) == {1: None, 2: "production"}


def version(number: int, day: int, store: str | None = "a", run: str | None = None) -> ModelVersion:
    moment = BEGIN + timedelta(days=day)
    return ModelVersion(
        name="m",
        version=number,
        stage=None,
        role="model",
        run_id="r",
        experiment="e",
        primary_metric="f1",
        metrics={},
        recipe={},
        feature_columns=(),
        fingerprint="f",
        mlflow_run_id=run or f"{store}{number}/{day}",
        training_set="training.m",
        training_set_version=1,
        trained_at=moment,
        registered_at=moment,
        store=store,
    )


def several(spec: str) -> list[ModelVersion]:
    """Read 'store+number/day', such as 'a1/0 a2/0 b1/3'; the store '-' is not known."""
    found = []
    for one in spec.split():
        number, day = one[1:].split("/")
        found.append(version(int(number), int(day), None if one[0] == "-" else one[0], one))
    return found


@pytest.mark.parametrize(
    ("registered", "store", "there"),
    [
        ("a1/0 a2/0 a3/1", "a", "a1/0 a2/0 a3/1"),
        ("a1/0 a2/0 a3/1 b1/3 b2/3", "b", "b1/3 b2/3"),  # another store
        ("a1/0 a2/0 a3/1 b1/3 b2/3", "a", "a1/0 a2/0 a3/1"),  # and back
        ("a1/0 a2/0 a3/1 b1/3 b2/3 a4/4", "a", "a1/0 a2/0 a3/1 a4/4"),
        ("a1/0 a2/0 b3/3", "b", "a1/0 a2/0 b3/3"),  # the same store by another address
        ("a1/0 a2/0 b3/3", "a", "a1/0 a2/0 b3/3"),
        ("a1/0 a2/0", "b", "a1/0 a2/0"),  # nothing was registered in the new one yet
        ("a1/0 a2/0 a3/1 a1/5", "a", "a1/5"),  # deleted and made anew
        ("a1/0 a2/0 a3/1 a4/1 a3/5", "a", "a1/0 a2/0 a3/5"),  # put back from a backup of 1 and 2
        ("a1/0 a2/0 a6/1 a5/2", "a", "a1/0 a2/0 a5/2 a6/1"),  # registered side by side
        ("-1/0 -2/0 -3/1 a1/5", "a", "a1/5"),  # registered by an older release
        ("-1/0 -2/0 a3/5", "a", "-1/0 -2/0 a3/5"),
        ("a1/0 b1/1 c1/2", "d", "c1/2"),
    ],
)
def test_which_versions_are_there(registered, store, there):
    found = versions_there(several(registered), store)
    assert " ".join(one.mlflow_run_id for one in found) == there


@pytest.mark.parametrize(
    ("run", "day", "meant"),
    [
        ("a1/1", 9, "a1/1"),
        ("x", 9, None),
        (None, 3, "a1/1"),
        (None, 5, "a1/5"),
        (None, 0, "a1/1"),  # a clock was wrong: the oldest is nearest
    ],
)
def test_which_version_a_row_means(run, day, meant):
    known = by_number(several("a1/1 a2/1 a1/5"))
    found = version_meant(known, "m", 1, run, BEGIN + timedelta(days=day))
    assert (found and found.mlflow_run_id) == meant
    assert version_meant(known, "m", 7, run, BEGIN) is None


def test_commands_tell_of_what_was_replaced(replaced, slh):
    runs = json.loads(slh("runs", "--json", folder=replaced.folder).out)
    assert sorted((run["state"], run["model"]) for run in runs) == [
        ("registered", "rain@1"),
        ("registered", "rain@2"),
        ("replaced", "rain@1"),
        ("replaced", "rain@2"),
    ]
    models = json.loads(slh("models", "--json", folder=replaced.folder).out)
    assert [(one["version"], one["stage"]) for one in models] == [(1, None), (2, "staging")]
