from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from importlib.metadata import version

import pytest
import yaml

from sololakehouse.config import Project, ProjectSettings
from sololakehouse.config.mlflow_settings import MlflowSettings
from sololakehouse.errors import RunError, UnreachableError
from sololakehouse.models.model_file import TRUSTED_TYPES
from sololakehouse.models.split import split_by_time
from sololakehouse.models.tracking import artifact_location, check_store, connected
from sololakehouse.models.trainers import fit
from tests.rain import ModelProject, labels

from .test_trainers import COLUMNS, KINDS


def project_with(folder, uri: str) -> Project:
    folder.mkdir(exist_ok=True)
    settings = ProjectSettings(name="x", mlflow=MlflowSettings(tracking_uri=uri))
    return Project(folder=folder, settings=settings)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("foo://bar", "MLflow at foo://bar failed: Model registry functionality is unavailable"),
        ("sqlite:////proc/none/mlflow.db", "failed: [Errno 2] No such file or directory"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_sentence(tmp_path, uri, message):
    with pytest.raises(RunError) as raised:
        check_store(project_with(tmp_path, uri), "e")
    assert message in str(raised.value)
    assert str(raised.value).endswith(". Check 'mlflow' in lakehouse.yml.")


@pytest.mark.parametrize(
    "uri", ["http://me:secret@127.0.0.1:9", "postgresql://me:secret@127.0.0.1:9/x"]
)
def test_a_server_that_does_not_answer_is_said_at_once_and_without_its_password(tmp_path, uri):
    shown = uri.replace("secret", "***")
    with pytest.raises(UnreachableError) as raised:
        check_store(project_with(tmp_path, uri), "e")
    assert str(raised.value) == f"MLflow at {shown} cannot be reached: Connection refused."


def test_a_damaged_store_is_one_sentence(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database" * 1000)
    with pytest.raises(
        RunError, match=r"file is not a database\. Check 'mlflow' in lakehouse\.yml"
    ):
        check_store(project_with(tmp_path, "sqlite:///mlflow.db"), "e")


def test_a_store_of_another_mlflow_says_how_to_upgrade_it(tmp_path):
    check_store(project_with(tmp_path / "made", "sqlite:///mlflow.db"), "e")
    # MLflow looks at the schema of a store once in a process.
    project = project_with(tmp_path / "older", "sqlite:///mlflow.db")
    shutil.copy(tmp_path / "made" / "mlflow.db", project.folder)
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '84291f40a231'")
    with pytest.raises(RunError) as raised:
        check_store(project, "e")
    assert str(raised.value) == (
        "The MLflow store sqlite:///mlflow.db was made by another release of MLflow than the one "
        f"that is installed, {version('mlflow')}. If it was an older one: copy the store, and run "
        f"'mlflow db upgrade sqlite:///mlflow.db' in {project.folder}. If it was a newer one, "
        "install that again, or put back the copy from before it. Nothing was changed."
    )


def test_store_and_files_are_in_the_project_whatever_its_folder_is_called(tmp_path):
    project = project_with(tmp_path / "a b#1 %20 é?x=1", "sqlite:///mlflow.db")
    check_store(project, "e")
    assert (project.folder / "mlflow.db").is_file()
    with connected(project) as client:
        location = client.get_experiment_by_name("e").artifact_location
    assert location == (project.folder / "mlartifacts").as_uri()


def test_a_copied_project_does_not_write_into_the_original(trained, tmp_path):
    original = trained[0].folder
    before = sorted((original / "mlartifacts").rglob("*"))
    copy = ModelProject(shutil.copytree(original, tmp_path / "copy"))
    with pytest.raises(RunError, match="the project was moved or copied"):
        copy.train(force=True)
    assert sorted((original / "mlartifacts").rglob("*")) == before


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_model_needs_only_types_of_the_list(project, kind):
    from skops.io import dumps, get_untrusted_types

    parts = split_by_time(labels(), project.experiment(), COLUMNS)
    model = fit(KINDS[kind], parts["train"], parts["validation"], seed=1)
    assert set(get_untrusted_types(data=dumps(model))) <= set(TRUSTED_TYPES)


def test_the_resolved_experiment_and_the_requirements_are_logged(trained):
    from mlflow.artifacts import load_text

    project, outcome = trained
    model = outcome.runs[1]
    with connected(project.lake.project) as client:
        run = client.get_run(model.mlflow_run_id)
        config = yaml.safe_load(load_text(f"{run.info.artifact_uri}/experiment.yml"))
        models = [client.get_run(one.mlflow_run_id).outputs.model_outputs for one in outcome.runs]
    assert config["split"]["validation"]["until"] == "2026-03-15T00:00:00Z"
    assert config["model"]["early_stopping_rounds"] == 5
    assert run.data.params["outside_rows"] == "0"
    assert run.data.tags["fingerprint"] == model.fingerprint
    assert len(models) == 2
    for [logged] in models:
        [file] = project.folder.glob(f"mlartifacts/**/{logged.model_id}/**/requirements.txt")
        assert "scikit-learn==" in file.read_text()
        assert "xgboost-cpu==" in file.read_text()


@pytest.mark.parametrize(
    ("settings", "location"),
    [
        ({}, "{folder}/mlartifacts"),
        ({"artifacts": "s3://models/rain"}, "s3://models/rain"),
        ({"tracking_uri": "postgresql://me@host/x"}, "{folder}/mlartifacts"),
        ({"tracking_uri": "https://host"}, None),
        ({"tracking_uri": "https://host", "artifacts": "s3://models"}, "s3://models"),
    ],
)
def test_files_are_kept_where_the_settings_or_the_server_say(tmp_path, settings, location):
    chosen = ProjectSettings(name="x", mlflow=MlflowSettings(**settings))
    found = artifact_location(Project(folder=tmp_path, settings=chosen))
    assert found == (location and location.format(folder=tmp_path.as_uri()))
