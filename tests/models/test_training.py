from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sololakehouse.errors import ConfigError, GateError, NotFoundError, RunError, UsageError
from sololakehouse.models import training
from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import load_model, model_versions, move, promote, resolve
from sololakehouse.models.split import split_by_time
from sololakehouse.models.tracking import connected
from sololakehouse.models.trainers import fit
from tests.rain import ModelProject, make_project


def test_both_models_are_registered_and_the_better_one_is_staged(trained):
    project, outcome = trained
    baseline, model = outcome.runs
    assert (baseline.role, model.role, outcome.up_to_date) == ("baseline", "model", False)
    assert (baseline.stage, model.stage) == (None, "staging")
    assert model.metrics["test_roc_auc"] > 0.8 > 0.65 > baseline.metrics["test_roc_auc"]
    (transition,) = project.lake.read("system.model_transitions").to_polars().to_dicts()
    assert transition["to_stage"] == "staging"
    assert transition["reason"].startswith("The better one: validation_roc_auc 0.")


def test_training_again_does_nothing(trained):
    project, outcome = trained
    again = project.train()
    assert again.up_to_date
    assert again.runs == outcome.runs
    assert project.lake.read("system.training_runs").version == 1


def test_nothing_to_train_imports_no_learning_library(trained):
    folder = trained[0].folder
    code = (
        "import sys; from pathlib import Path; from tests.rain import ModelProject; "
        f"print(ModelProject(Path({str(folder)!r})).train().up_to_date, "
        "{'sklearn', 'xgboost', 'mlflow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True set()"


@pytest.mark.parametrize(
    "override", ["model.params={max_dept: 1}", "baseline.estimator=logistic_regresion"]
)
def test_a_mistake_in_the_settings_leaves_no_table_behind(project, override):
    before = project.lake.table_names()
    with pytest.raises((ConfigError, NotFoundError)):
        training.train(project.lake, project.writer(), project.experiment(override))
    assert project.lake.table_names() == before
    assert not (project.folder / "mlflow.db").exists()


def test_training_that_ended_before_the_staging_is_finished_by_the_next(trained, tmp_path):
    copy = ModelProject(Path(shutil.copytree(trained[0].folder, tmp_path / "copy")))
    shutil.rmtree(copy.lake.path("system.model_transitions"))
    assert {version.stage for version in model_versions(copy.lake)} == {None}
    outcome = copy.train()
    assert outcome.up_to_date
    assert outcome.staged == resolve(copy.lake, "rain@staging")
    assert outcome.staged.version == 2


def test_a_lost_store_means_training_again(trained, tmp_path, monkeypatch):
    def fitting(*_):
        raise RunError("it is fitting again")

    copy = ModelProject(Path(shutil.copytree(trained[0].folder, tmp_path / "copy")))
    (copy.folder / "mlflow.db").unlink()
    monkeypatch.setattr(training, "check_store", fitting)
    with pytest.raises(RunError, match="it is fitting again"):
        training.train(copy.lake, copy.writer(), copy.experiment())


def test_mlflow_holds_params_metrics_plots_signature_and_datasets(trained):
    project, outcome = trained
    model = outcome.runs[1]
    with connected(project.lake.project) as client:
        run = client.get_run(model.mlflow_run_id)
        plots = {file.path for file in client.list_artifacts(model.mlflow_run_id, "plots")}
        version = client.get_model_version_by_alias("rain", "staging")
    assert run.data.params["params.max_depth"] == "3"
    assert run.data.params["train_rows"] == str(59 * 24)
    bounds = {
        f"{name}_{end}": value
        for name, both in model.record["intervals"].items()
        for end, value in zip(("low", "high"), both, strict=True)
    }
    assert set(model.record["intervals"]) == {"test_roc_auc", "test_log_loss", "test_f1"}
    assert run.data.metrics == pytest.approx({**model.metrics, **bounds})
    for name, (low, high) in model.record["intervals"].items():
        assert low < model.metrics[name] < high
    drawn = ("roc", "precision_recall", "calibration", "confusion", "importance")
    assert plots == {f"plots/{name}.png" for name in drawn}
    assert int(version.version) == model.version
    datasets = {given.dataset.name: given for given in run.inputs.dataset_inputs}
    assert set(datasets) == {"training.rain", "gold.labels", "features.sky"}
    training = project.lake.read("training.rain")
    assert datasets["training.rain"].dataset.digest == training.record.manifest.digest
    source = json.loads(datasets["features.sky"].dataset.source)
    assert source["delta_table_version"] == 1


def test_the_model_is_saved_in_a_safe_format_with_signature_and_recipe(trained):
    import mlflow

    project, outcome = trained
    model = outcome.runs[1]
    with connected(project.lake.project):
        info = mlflow.models.get_model_info(f"models:/rain/{model.version}")
    assert [column.name for column in info.signature.inputs] == list(model.feature_columns)
    assert info.metadata["sololakehouse"]["recipe"]["label"] == "wet"
    files = {file.name for file in (project.folder / "mlartifacts").rglob("*") if file.is_file()}
    assert "model.skops" in files
    assert not [name for name in files if name.endswith(".pkl")]


def test_the_loaded_model_predicts_as_the_trained_one(trained):
    project, outcome = trained
    experiment = project.experiment()
    frame = project.lake.read("training.rain").to_polars()
    for version, settings in zip(
        outcome.runs, (experiment.baseline, experiment.model), strict=True
    ):
        parts = split_by_time(frame, experiment, version.feature_columns)
        fitted = fit(settings, parts["train"], parts["validation"], experiment.seed)
        inputs = parts["test"].inputs
        loaded = load_model(project.lake.project, version)
        assert np.array_equal(loaded.predict_proba(inputs), fitted.predict_proba(inputs))


def test_two_projects_in_two_processes_give_the_same_and_are_quiet(trained, tmp_path):
    project, outcome = trained
    other = make_project(tmp_path / "other")
    code = (
        "from pathlib import Path; from tests.rain import ModelProject; "
        f"ModelProject(Path({str(other.folder)!r})).train()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    twin = other.train()
    assert twin.up_to_date
    assert [run.metrics for run in twin.runs] == [run.metrics for run in outcome.runs]
    frame = project.lake.read("training.rain").to_polars()
    assert frame.equals(other.lake.read("training.rain").to_polars())
    inputs = model_input(frame, outcome.runs[1].feature_columns)
    ours, theirs = (
        load_model(p.lake.project, o.runs[1]).predict_proba(inputs)
        for p, o in ((project, outcome), (other, twin))
    )
    assert np.array_equal(ours, theirs)


@pytest.fixture(scope="module")
def promoted(tmp_path_factory) -> ModelProject:
    """Train a good model, promote it, then train one that loses against the baseline."""
    project = make_project(tmp_path_factory.mktemp("promoted"))
    project.train()
    promote(project.lake, project.writer(), "rain", None, "production")
    return project


def test_production_asks_to_beat_the_baseline_and_keeps_the_reason(promoted):
    version = resolve(promoted.lake, "rain@production")
    assert (version.version, version.stage) == (2, "production")
    with connected(promoted.lake.project) as client:
        alias = client.get_model_version_by_alias("rain", "production")
        aliases = client.get_registered_model("rain").aliases
    assert alias.tags["stage_reason"].startswith("Beats the baseline: test_roc_auc 0.")
    assert set(aliases) == {"production"}


def test_promoting_what_is_there_commits_nothing(promoted):
    before = promoted.lake.read("system.model_transitions").version
    again = promote(promoted.lake, promoted.writer(), "rain", None, "production")
    assert (again.version, again.changed) == (2, False)
    assert again.reason.startswith("Beats the baseline")
    assert promoted.lake.read("system.model_transitions").version == before


def test_the_gate_refuses_baselines_and_models_that_lose_against_theirs(promoted):
    with pytest.raises(RunError, match="rain version 1 is the baseline of its experiment"):
        promote(promoted.lake, promoted.writer(), "rain", 1, "production")
    worse = promoted.train("model={kind: sklearn, estimator: logistic_regression}")
    assert worse.runs[1].version == 4
    with pytest.raises(GateError) as said:
        promote(promoted.lake, promoted.writer(), "rain", 4, "production")
    verdicts = {gate.gate: gate.verdict for gate in said.value.gates}
    assert verdicts["baseline"] == verdicts["champion"] == "failed"
    assert verdicts["artifacts"] == "passed"
    assert resolve(promoted.lake, "rain@production").version == 2


def test_one_version_per_stage_the_one_before_is_archived(promoted):
    versions = {v.version: v for v in model_versions(promoted.lake)}
    move(promoted.lake, promoted.writer(), versions[1], "production", "Tried by hand.", {})
    stages = {v.version: v.stage for v in model_versions(promoted.lake)}
    assert (stages[1], stages[2]) == ("production", "archived")
    move(promoted.lake, promoted.writer(), versions[2], "production", "Back again.", {})
    assert resolve(promoted.lake, "rain@production").version == 2


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("rain", UsageError, "'rain' is no model. Write NAME@production"),
        ("rian@staging", NotFoundError, "No model 'rian'. Did you mean 'rain'?"),
        ("rain@9", NotFoundError, "rain has no version '9'. Versions: 2 (staging), 1."),
        ("rain@production", NotFoundError, "'slh promote rain --to production'"),
    ],
)
def test_a_reference_that_means_nothing_has_candidates(trained, reference, error, message):
    project, _ = trained
    with pytest.raises(error) as raised:
        resolve(project.lake, reference)
    assert message in str(raised.value)


def test_an_unreachable_store_is_one_sentence(project):
    (project.folder / "lakehouse.yml").write_text(
        "name: rain\nmlflow: {tracking_uri: 'http://127.0.0.1:9'}\n"
    )
    with pytest.raises(RunError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be reached"):
        project.train()
    assert "system.training_runs" not in project.lake.table_names()


def test_slices_that_are_no_columns_are_refused_before_anything_is_trained(project):
    said = r"gates\.slices: No column 'plce'. Did you mean 'place'"
    with pytest.raises(NotFoundError, match=said):
        project.train("gates.slices=[plce]")
    assert "system.training_runs" not in project.lake.table_names()
