"""MLflow elsewhere: its own server over HTTP, PostgreSQL, and `slh mlflow`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import load_model, promote
from sololakehouse.models.tracking import connected
from tests.rain import ModelProject, make_project

from .conftest import WITHOUT_JOBS, free_port


def project_at(folder: Path, mlflow: str) -> ModelProject:
    project = make_project(folder)
    (folder / "lakehouse.yml").write_text(f"name: rain\nmlflow: {{{mlflow}}}\n")
    return project


def check_everything_is_there(project: ModelProject) -> None:
    """Train, promote, load; ask MLflow for what it has."""
    outcome = project.train()
    promote(project.lake, project.writer(), "rain", None, "production")
    version = outcome.staged
    inputs = model_input(project.lake.read("training.rain").to_polars(), version.feature_columns)
    chances = load_model(project.lake.project, version).predict_proba(inputs)
    assert chances.shape == (len(inputs), 2)
    assert np.ptp(chances[:, 1]) > 0.5
    with connected(project.lake.project) as client:
        run = client.get_run(version.mlflow_run_id)
        assert run.info.status == "FINISHED"
        aliases = client.get_registered_model("rain").aliases
        assert {name: int(number) for name, number in aliases.items()} == {
            "production": version.version
        }
        plots = {file.path for file in client.list_artifacts(version.mlflow_run_id, "plots")}
        digests = {given.dataset.name: given.dataset.digest for given in run.inputs.dataset_inputs}
        (model,) = client.search_logged_models([run.info.experiment_id],
            filter_string=f"source_run_id = '{run.info.run_id}'")  # fmt: skip
    assert "plots/confusion.png" in plots
    assert digests["gold.labels"] == project.lake.read("gold.labels").record.manifest.digest
    assert (model.status, len(run.outputs.model_outputs)) == ("READY", 1)
    assert not (project.folder / "mlflow.db").exists()
    assert list((project.folder / ".slh" / "pending_runs").iterdir()) == []


def test_a_tracking_server_keeps_runs_and_files_by_configuration_only(tmp_path, mlflow_server):
    project = project_at(tmp_path, f"tracking_uri: '{mlflow_server.uri}'")
    check_everything_is_there(project)
    assert not (tmp_path / "mlartifacts").exists()
    kept = {file.name for file in (mlflow_server.folder / "kept").rglob("*") if file.is_file()}
    assert {"model.skops", "roc.png", "experiment.yml", "confusion.json"} <= kept


def test_postgresql_keeps_runs_by_configuration_only(tmp_path, postgres):
    import psycopg

    project = project_at(tmp_path, f"tracking_uri: '{postgres}'")
    check_everything_is_there(project)
    with psycopg.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, version FROM model_versions ORDER BY version")
        assert cursor.fetchall() == [("rain", 1), ("rain", 2)]
        cursor.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'")
        assert cursor.fetchall() == [(2,)]
    connection.close()
    assert list((tmp_path / "mlartifacts").rglob("model.skops"))


def test_slh_mlflow_serves_the_project_s_store_until_it_is_interrupted(trained):
    project, outcome = trained
    port = free_port()
    command = [str(Path(sys.executable).parent / "slh"), "mlflow", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=os.environ | WITHOUT_JOBS,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line == f"MLflow: http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow"
        with urlopen(f"{address}/registered-models/get?name=rain") as answer:
            model = json.load(answer)["registered_model"]
        assert model["latest_versions"][0]["version"] == "2"
        run_id = outcome.runs[1].mlflow_run_id
        with urlopen(f"{address}/artifacts/list?run_id={run_id}&path=plots") as answer:
            assert "plots/roc.png" in {file["path"] for file in json.load(answer)["files"]}
        with urlopen(f"http://127.0.0.1:{port}/") as page:
            assert b"MLflow" in page.read()
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    with socket.socket() as tried:
        assert tried.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_one_sentence(trained, slh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = slh("mlflow", "--port", str(port), folder=trained[0].folder)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"Error: Port {port} cannot be used: Address already in use. Name another one: --port "
        f"{port + 1}.\n"
    )


def test_a_project_on_a_server_is_told_the_address(tmp_path, slh):
    project_at(tmp_path, "tracking_uri: 'http://mlflow.example.com'")
    said = slh("mlflow", folder=tmp_path)
    assert said.code == 2
    assert "is a server already: open http://mlflow.example.com in a browser." in said.err


def test_a_store_that_cannot_be_served_is_one_sentence(tmp_path, slh):
    project_at(tmp_path, "tracking_uri: 'foo://bar'")
    said = slh("mlflow", "--port", str(free_port()), folder=tmp_path)
    assert said.code == 1
    assert said.err.startswith("Error: The MLflow server ended by itself. What it said is in ")
    assert "foo://bar" in (tmp_path / ".slh" / "mlflow_server.log").read_text()
