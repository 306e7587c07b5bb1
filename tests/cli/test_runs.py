from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sololakehouse.models.versions import model_versions
from tests.rain import ModelProject


@pytest.fixture(scope="module")
def twice(trained, tmp_path_factory) -> ModelProject:
    """Give a project that was trained with two settings; tests must not change it."""
    folder = tmp_path_factory.mktemp("twice") / "rain"
    project = ModelProject(Path(shutil.copytree(trained[0].folder, folder)))
    text = (project.folder / "lakehouse.yml").read_text()
    (project.folder / "lakehouse.yml").write_text(
        text + f"mlflow: {{artifacts: '{(trained[0].folder / 'mlartifacts').as_uri()}'}}\n"
    )
    project.train("model.params={n_estimators: 10, max_depth: 2}")
    return project


def test_runs_are_listed_the_newest_first_with_what_was_measured(twice, slh):
    rows = json.loads(slh("runs", "--json", folder=twice.folder).out)
    assert [row["model"] for row in rows] == ["rain@4", "rain@3", "rain@2", "rain@1"]
    newest = rows[0]
    version = model_versions(twice.lake)[3]
    assert newest["run"] == version.mlflow_run_id
    assert newest["metrics"] == pytest.approx(dict(version.metrics))
    assert newest["params"]["params.max_depth"] == 2
    assert newest["training_set"] == "training.rain@v1"
    assert [row["stage"] for row in rows] == ["staging", None, "archived", None]
    low, high = newest["intervals"]["test_roc_auc"]
    assert low < newest["metrics"]["test_roc_auc"] < high
    lines = slh("runs", folder=twice.folder).out.splitlines()
    assert lines[0].split()[:4] == ["run", "model", "stage", "state"]
    assert "train_roc_auc" not in lines[0]
    assert lines[1].startswith(newest["run"][:10])
    assert len(lines) == 5


def test_compare_shows_only_what_differs(twice, slh):
    found = json.loads(slh("compare", "rain@2", "rain@4", "--json", folder=twice.folder).out)
    assert [run["model"] for run in found["runs"]] == ["rain@2", "rain@4"]
    rows = {row["what"]: (row["one"], row["other"]) for row in found["differences"]}
    assert rows["config.model.params.max_depth"] == (3, 2)
    assert rows["config.model.params.n_estimators"] == (40, 10)
    one, other = rows["metrics.test_roc_auc"]
    assert one["low"] < one["value"] < one["high"]
    assert one != other
    kinds = {what.split(".")[0] for what in rows}
    assert kinds == {"config", "model", "metrics", "confusion"}
    assert rows["model.params.max_depth"] == (3, 2)
    text = slh("compare", "rain@2", "rain@4", folder=twice.folder).out
    assert f"{one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]" in text


def test_runs_are_named_by_the_beginning_of_their_identifier(twice, slh):
    runs = [version.mlflow_run_id for version in model_versions(twice.lake)]
    said = slh("compare", runs[0][:12], runs[2], folder=twice.folder)
    whats = [line.split()[0] for line in said.out.splitlines()[1:]]
    assert whats == ["config.model.params.max_depth", "config.model.params.n_estimators"]
    again = slh("compare", runs[0], "rain@1", folder=twice.folder)
    assert again.out == "Nothing differs.\n"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("zzz", "No run 'zzz'."),
        ("", "Several runs begin with ''"),
        ("rain@9", "rain has no version '9'."),
    ],
)
def test_a_run_that_is_not_there_has_candidates(twice, slh, reference, said):
    result = slh("compare", "rain@1", reference, folder=twice.folder)
    assert result.code == 2
    assert said in result.err


def test_promote_shows_every_gate_and_rollback_goes_back(trained, tmp_path, slh):
    folder = Path(shutil.copytree(trained[0].folder, tmp_path / "p"))
    refused = slh("promote", "rain", "1", "--to", "production", "--json", folder=folder)
    assert refused.code == 1
    gates = {gate["gate"]: gate["verdict"] for gate in json.loads(refused.out)["gates"]}
    assert gates["baseline"] == "failed"
    assert "baseline (failed): rain version 1 is the baseline of its experiment" in refused.err
    done = slh("promote", "rain", "--to", "production", folder=folder)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("passed         baseline: Beats the baseline: test_roc_auc 0.")
    assert lines[2] == "not available  champion: Nothing is in production yet."
    assert lines[-1].startswith("rain version 2: production. Beats the baseline")
    forced = ("--force", "--reason", "unfair")
    assert slh("promote", "rain", "1", "--to", "production", *forced, folder=folder).code == 0
    rows = json.loads(slh("models", "--json", folder=folder).out)
    assert [(row["stage"], row["forced"]) for row in rows] == [
        ("production", "unfair"),
        ("archived", None),
    ]
    assert "forced past its gates: unfair" in slh("trace", "rain@production", folder=folder).out
    back = slh("rollback", "rain", "--reason", "worse", "--json", folder=folder)
    assert json.loads(back.out)["version"] == 2
    assert slh("rollback", "rain", folder=folder).code == 2
