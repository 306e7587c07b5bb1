"""One experiment with all that an experiment file can say, from the file to the predictions."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.errors import ConfigError, NotFoundError, TrainingError
from sololakehouse.inference.batch import score
from sololakehouse.models.registry import load_model
from sololakehouse.models.split import split_by_time
from sololakehouse.models.tracking import connected
from sololakehouse.models.training import steps_of, train
from tests.rain import EXPERIMENT, ModelProject, make_project

COST = {"cost": {"false_positive": 1, "false_negative": 4}}
WHOLE = """\
cross_validation: {folds: 2, window: sliding}
device: cpu
threads: 1
baseline:
  kind: lightgbm
  params: {n_estimators: 20}
  class_weight: balanced
  calibration: sigmoid
  threshold: f1
model:
  kind: torch
  params: {epochs: 15, batch_size: 128}
  search:
    trials: 3
    params:
      hidden: {choices: [[8], [32]]}
      learning_rate: {low: 0.001, high: 0.05, log: true}
  early_stopping_rounds: 4
  threshold: {cost: {false_positive: 1, false_negative: 4}}
"""
SAVED = EXPERIMENT[: EXPERIMENT.index("training_set:")] + (
    "training_set: SAVED\n" + EXPERIMENT[EXPERIMENT.index("split:") :]
)


def whole() -> str:
    kept = EXPERIMENT.replace("split:\n", "split:\n  embargo: 3h\n").splitlines(keepends=True)
    return "".join(line for line in kept if not line.startswith(("baseline", "model"))) + WHOLE


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> ModelProject:
    return make_project(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def steps() -> list[str]:
    return []


@pytest.fixture(scope="module")
def outcome(project, steps):
    experiment = project.experiment(text=whole())
    project.prepare_store()
    return train(project.lake, project.writer(), experiment, on_step=steps.append)


def test_each_step_and_trial_is_told(project, outcome, steps):
    assert len(steps) == steps_of(project.experiment(text=whole())) == 8
    assert [step for step in steps if "trial" in step] == [
        f"trial {number} of 3 for the model" for number in (1, 2, 3)
    ]


def test_the_embargo_is_counted(outcome):
    assert outcome.embargoed == {"train": 3, "validation": 3}


def test_the_record_says_what_the_model_depends_on(project, outcome):
    baseline, model = (version.record for version in outcome.runs)
    assert (baseline["thread_dependent"], model["thread_dependent"]) == (False, True)
    environment = model["environment"]
    assert environment["threads"] == 1
    assert (environment["device"], environment["gpu"]) == ("cpu", None)
    assert {"torch", "safetensors", "optuna", "scikit-learn"} <= set(environment["libraries"])
    assert "not installed" not in environment["libraries"].values()
    assert environment["cpu"]
    assert (environment["code_revision"], environment["dirty"]) == (None, None)
    assert baseline["config"]["split"]["embargo"] == "PT3H"


def test_the_best_trial_is_fitted_and_all_are_kept(project, outcome):
    record, metrics = outcome.runs[1].record, outcome.runs[1].metrics
    assert len(record["search"]["trials"]) == 3
    best = max(record["search"]["trials"], key=lambda trial: trial["value"])
    assert record["search"]["params"] == best["params"]
    assert metrics["cross_validation_roc_auc_mean"] == best["value"]
    assert best["value"] == np.mean(
        [metrics[f"cross_validation_roc_auc_fold_{number}"] for number in (1, 2)]
    )
    fitted = load_model(project.lake.project, outcome.runs[1])
    assert list(fitted.named_steps["estimator"].estimator.layout_["hidden"]) == list(
        best["params"]["hidden"]
    )


def test_mlflow_has_parameters_metrics_and_what_to_install(project, outcome):
    model = outcome.runs[1]
    with connected(project.lake.project) as client:
        run = client.get_run(model.mlflow_run_id)
    bounds = {name: [] for name in model.record["intervals"]}
    for end in ("low", "high"):
        for name, found in bounds.items():
            found.append(run.data.metrics.pop(f"{name}_{end}"))
    assert run.data.metrics == pytest.approx(dict(model.metrics))
    assert bounds == model.record["intervals"]
    assert run.data.params["params.learning_rate"] == str(
        model.record["search"]["params"]["learning_rate"]
    )
    assert run.data.params["train_embargoed_rows"] == "3"
    assert run.data.params["outside_rows"] == "0"
    needed = {file.read_text() for file in project.folder.glob("mlartifacts/**/requirements.txt")}
    assert any("torch==2." in text and "safetensors==" in text for text in needed)
    assert any("lightgbm==" in text and "torch" not in text for text in needed)


def test_the_predictions_go_by_the_threshold_and_are_those_of_training(project, outcome):
    experiment = project.experiment(text=whole())
    frame = project.lake.read("training.rain").to_polars()
    for version in outcome.runs:
        parts = split_by_time(frame, experiment, version.feature_columns)
        job = ScoringJob(
            model=f"rain@{version.version}", input="gold.labels", output="inference.rain"
        )
        scored = score(project.lake, project.writer(), job).snapshot.to_polars()
        threshold = version.record["threshold"]
        assert threshold != 0.5
        assert scored["prediction"].to_list() == [
            int(chance >= threshold) for chance in scored["probability"]
        ]
        test = scored.filter(pl.col("at") >= experiment.split.test.begin)
        model = load_model(project.lake.project, version)
        assert np.array_equal(
            test["probability"].to_numpy(), model.predict_proba(parts["test"].inputs)[:, 1]
        )
        assert np.array_equal(test["prediction"], model.predict(parts["test"].inputs))


def test_mlflow_itself_serves_a_network(project, outcome):
    import mlflow

    frame = project.lake.read("training.rain").to_polars()
    version = outcome.runs[1]
    parts = split_by_time(frame, project.experiment(text=whole()), version.feature_columns)
    inputs = parts["test"].inputs
    with connected(project.lake.project):
        served = mlflow.pyfunc.load_model(f"models:/rain/{version.version}")
        found = served.predict(inputs)
    model = load_model(project.lake.project, version)
    assert np.array_equal(found, model.predict_proba(inputs))


def saved(project, name) -> str:
    return SAVED.replace("SAVED", name)


@pytest.mark.parametrize("name", ["training.rain@v1", "training.rain", "rain"])
def test_a_saved_training_set_stands_for_its_recipe(project, outcome, name):
    named = project.experiment(text=saved(project, name))
    assert named.training_set == project.experiment().training_set
    assert named.training_set_version == 1


def test_a_name_and_its_recipe_make_the_same_model(project, outcome):
    experiment = project.experiment(text=saved(project, "training.rain@v1"))
    made = train(project.lake, project.writer(), experiment)
    assert not made.up_to_date
    again = train(project.lake, project.writer(), project.experiment())
    assert again.up_to_date
    assert again.runs == made.runs


def test_a_saved_version_is_trained_on_as_it_is(project, outcome, tmp_path):
    with pytest.raises(NotFoundError, match=r"training\.rain has no version 9"):
        project.experiment(text=saved(project, "training.rain@v9"))
    with pytest.raises(NotFoundError, match=r"No training set 'training\.rian'\. Did you mean"):
        project.experiment(text=saved(project, "rian"))
    experiment = project.experiment(
        "training_set.exclude_columns=[id, wind]", text=saved(project, "rain")
    )
    message = r"training\.rain@v1 was not made from this recipe\. Leave the recipe as it was saved"
    with pytest.raises(ConfigError, match=message):
        train(project.lake, project.writer(), experiment)


def test_a_training_set_that_does_not_fit_into_memory_is_refused(project, outcome, monkeypatch):
    monkeypatch.setattr("sololakehouse.models.batches._COPIES", 10_000)
    with pytest.raises(TrainingError) as said:
        project.train("model.params={n_estimators: 2}")
    rows, columns = 2160, len(project.lake.read("training.rain").columns)
    needed = -(-rows * columns * 8 * 10_000 // 10**6)
    assert str(said.value) == (
        f"training.rain has 2,160 rows of {columns} columns. Training on them takes about "
        f"{needed}MB, more than the 'memory_limit' of 1000MB. Only the kinds xgboost and torch "
        "train from batches, and the baseline is logistic_regression. Set 'memory_limit: "
        f"{needed}MB' in lakehouse.yml if the machine has that much, or take fewer rows or columns."
    )


def test_cuda_that_is_not_there_is_refused_before_anything_is_built(tmp_path):
    project = make_project(tmp_path)
    with pytest.raises(ConfigError, match="device: cuda, but kind xgboost cannot use CUDA here"):
        project.train("device=cuda")
    assert "training.rain" not in project.lake.table_names()


def test_a_function_of_the_project_is_trained_and_its_text_decides(project, outcome):
    text = "from sklearn.naive_bayes import GaussianNB\ndef make(): return GaussianNB()\n"
    (project.folder / "bayes.py").write_text(text.replace("def", "# without names\ndef"))
    settings = (
        "model={kind: python, function: 'bayes:make'}",
        "training_set.exclude_columns=[id, place, wind, cloud]",
    )
    made = project.train(*settings)
    assert made.runs[1].record["thread_dependent"]
    assert json.dumps(made.runs[1].record["config"]).count("without names") == 1
    assert project.train(*settings).up_to_date
    (project.folder / "bayes.py").write_text(text)
    assert not project.train(*settings).up_to_date
