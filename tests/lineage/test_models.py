from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.features.saved import build_training_set
from sololakehouse.inference.batch import score
from sololakehouse.lineage.graph import ModelNode, RunNode
from sololakehouse.lineage.impact import impact
from sololakehouse.lineage.trace import trace
from sololakehouse.models.registry import RUNS, model_versions
from sololakehouse.monitoring import evaluate_job
from tests.inference.test_batch import JOB
from tests.rain import ModelProject

BELOW = {"training.rain@v1", "gold.labels@v1", "features.sky@v1"}


@pytest.fixture(scope="module")
def lake(trained, tmp_path_factory):
    """Give the lake of two trained models, one of which has scored; tests must not change it."""
    folder = tmp_path_factory.mktemp("traced") / "rain"
    shutil.copytree(trained[0].folder, folder)
    project = ModelProject(folder)
    score(project.lake, project.writer(), JOB)
    evaluate_job(project.lake, project.writer(), JOB)
    return project.lake


@pytest.fixture(scope="module")
def runs(lake):
    """The identifiers of MLflow's runs, by version."""
    return {model.version: model.mlflow_run_id for model in model_versions(lake)}


def test_a_model_is_traced_over_its_run_to_the_tables(lake, runs):
    graph = trace(lake, "rain@staging")
    assert graph.roots == ("rain@2",)
    assert set(graph.nodes) == {"rain@2", f"run {runs[2]}", *BELOW}
    assert trace(lake, "rain@2").nodes == graph.nodes
    model = graph.nodes["rain@2"]
    assert isinstance(model, ModelNode)
    assert (model.stage, model.title, model.what) == ("staging", "rain@2 (staging)", "model")
    assert trace(lake, "rain@1").nodes["rain@1"].title == "rain@1"


def test_a_run_of_mlflow_says_what_it_trained(lake, runs):
    graph = trace(lake, runs[2])
    node = graph.nodes[f"run {runs[2]}"]
    assert set(graph.nodes) == {node.id, *BELOW}
    assert isinstance(node, RunNode)
    assert (node.experiment, node.role, node.what) == ("rain", "model", "training, model")
    version = model_versions(lake)[1]
    assert (node.fingerprint, node.metrics) == (version.fingerprint, version.metrics)
    commit = lake.history(RUNS, 1)[0]
    assert (node.at, node.code_revision) == (commit.timestamp, commit.record.code_revision)
    assert node.training_set == lake.read("training.rain").table_version


def test_a_command_s_run_made_its_models_and_their_training_set(lake, runs):
    run_id = model_versions(lake)[0].run_id
    graph = trace(lake, run_id)
    assert graph.roots == ("rain@1", "rain@2")
    assert set(graph.nodes) == {
        "rain@1",
        "rain@2",
        *(f"run {run}" for run in runs.values()),
        *BELOW,
    }


def test_predictions_are_made_from_model_and_features(lake):
    graph = trace(lake, "inference.rain")
    made_from = {edge.source: edge.role for edge in graph.sources["inference.rain@v1"]}
    assert made_from == {"gold.labels@v1": "input", "features.sky@v1": "input", "rain@2": "model"}
    assert "training.rain@v1" in graph.nodes


def test_models_with_their_stages_are_built_on_a_feature_table(lake, runs):
    found = impact(lake, "features.sky")
    assert {node.title for node in found.built} == {
        "training.rain@v1",
        *(f"run {run}" for run in runs.values()),
        "rain@1",
        "rain@2 (staging)",
        "inference.rain@v1",
        "monitoring.evaluations@v1",
    }
    counts = "3 tables, 2 training runs, 2 models"
    assert found.summary == f"Built on features.sky: {counts}."


def test_predictions_and_their_evaluation_are_built_on_a_model(lake):
    titles = {node.title for node in impact(lake, "rain@2").built}
    assert titles == {"inference.rain@v1", "monitoring.evaluations@v1"}
    assert impact(lake, "rain@1").built == []
    assert impact(lake, "rain@1").reads == {}


MISTAKES = {
    "rain": (UsageError, "rain is a model. Say which version: rain@2 (staging), rain@1."),
    "rain@production": (NotFoundError, "rain has no version 'production'. Versions: 2 (staging)"),
    "rain@7": (NotFoundError, "rain has no version '7'. Versions: 2 (staging), 1."),
    "rian@2": (NotFoundError, "No table, model or run 'rian@2'. Did you mean 'rain@2'?"),
    "training.rane": (NotFoundError, "Did you mean 'training.rain'?"),
}


@pytest.mark.parametrize("reference", MISTAKES)
def test_a_mistake_is_told_with_the_candidates(lake, reference):
    kind, said = MISTAKES[reference]
    with pytest.raises(kind) as error:
        trace(lake, reference)
    assert said in str(error.value)


def test_a_model_that_the_registry_has_lost_is_named(lake, tmp_path):
    shutil.copytree(lake.project.folder, tmp_path / "rain")
    project = ModelProject(tmp_path / "rain")
    shutil.rmtree(project.lake.path(RUNS))
    graph = trace(project.lake, "inference.rain")
    assert graph.nodes["rain@2"].notes == (f"{RUNS} does not know it",)
    assert graph.nodes["rain@2"].at is None


def test_a_training_set_dropped_since_is_not_the_one_of_its_name(lake, tmp_path):
    shutil.copytree(lake.project.folder, tmp_path / "rain")
    project = ModelProject(tmp_path / "rain")
    old = project.lake.read("training.rain").table_id
    shutil.rmtree(project.lake.path("training.rain"))
    build_training_set(project.lake, project.writer(), project.experiment().training_set)
    assert f"training.rain@v1 of {old[:8]}" in trace(project.lake, "rain@2").nodes
    assert "training.rain@v1" in trace(project.lake, "training.rain").nodes
    assert {node.title for node in impact(project.lake, "training.rain").built} == set()


def test_neither_mlflow_nor_spark_nor_the_trainers_are_imported(lake):
    code = """
import sys
from sololakehouse.cli import slh
slh.main(["impact", "gold.labels", "--json"], standalone_mode=False)
print(sorted({"mlflow", "pandas", "pyspark", "sklearn"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=lake.project.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rain@2" in done.stdout
    assert done.stderr.strip() == "[]"
