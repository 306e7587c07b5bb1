"""MLflow as the record of runs: parameters, metrics, plots, datasets, and the model itself."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlparse

from sololakehouse.config import Project
from sololakehouse.errors import RunError, UsageError
from sololakehouse.lake import Snapshot
from sololakehouse.models.model_file import TRUSTED_TYPES, Flavor

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

_SQLITE = "sqlite:///"
_EXAMPLE_ROWS = 5
_LONGEST = 300
_QUIET = ("mlflow", "alembic", "sqlalchemy")
_REQUIREMENTS = ("scikit-learn", "xgboost-cpu", "skops", "pandas", "numpy")


@dataclass(frozen=True)
class RunReport:
    """Everything that is logged of one trained model.

    `datasets` pairs each table with its role, such as `training` or `input`; `config` is the
    experiment with all defaults filled in, `flavor` the MLflow module that keeps the model,
    `active_run` the run that is open already and takes all of it.
    """

    experiment: str
    config: Mapping[str, Any]
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    figures: Mapping[str, Figure]
    datasets: Sequence[tuple[Snapshot, str]]
    metadata: Mapping[str, Any]
    model: Any
    inputs: pd.DataFrame
    flavor: Flavor = "sklearn"
    artifact: str = "model"
    with_example: bool = True
    active_run: str | None = None


@dataclass(frozen=True)
class LoggedModel:
    """Where MLflow keeps a run and its model."""

    run_id: str
    model_uri: str


def store_exists(project: Project) -> bool:
    """Whether the project's MLflow store is there; a remote one is taken to be."""
    uri = project.settings.mlflow.tracking_uri
    return not uri.startswith(_SQLITE) or _database(project).is_file()


def require_store(project: Project) -> None:
    """Refuse to go on without a store, where an empty one would be made instead.

    Raises
    ------
    RunError
        The database of runs and models is gone.
    """
    if not store_exists(project):
        raise RunError(
            f"The MLflow store {_database(project)} is gone, and with it the registered models. "
            "Bring it back, or train again with 'slh train FILE'."
        )


def check_store(project: Project, experiment: str) -> None:
    """Make sure that an experiment can be logged, before time goes into it.

    Raises
    ------
    RunError
        The store cannot be reached, or keeps the experiment's files in another folder.
    """
    with connected(project) as client:
        _experiment(client, project, experiment)


@contextmanager
def connected(project: Project) -> Iterator[MlflowClient]:
    """Give a client of the project's MLflow store, which is created if need be.

    Raises
    ------
    RunError
        The store cannot be reached, cannot be read, or refuses a request.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = _tracking_uri(project)
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow.MlflowClient()
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        said = str(error).strip().splitlines()[0]
        raise RunError(
            f"MLflow at {_without_password(project.settings.mlflow.tracking_uri)} failed: "
            f"{said[:_LONGEST].rstrip('.')}. Check 'mlflow' in lakehouse.yml."
        ) from error


def log_run(client: MlflowClient, project: Project, report: RunReport) -> LoggedModel:
    """Log one trained model as a run, or into the run that is open."""
    with _run(client, project, report) as run:
        for name, text in report.tags.items():
            client.set_tag(run.run_id, name, text)
        for name, value in report.params.items():
            client.log_param(run.run_id, name, value)
        for name, number in report.metrics.items():
            client.log_metric(run.run_id, name, number)
        client.log_dict(run.run_id, dict(report.config), "experiment.yml")
        for name, figure in report.figures.items():
            client.log_figure(run.run_id, figure, f"plots/{name}.png")
        client.log_inputs(run.run_id, datasets=_datasets(report.datasets))
        model = client.create_logged_model(
            run.experiment_id,
            name=report.artifact,
            source_run_id=run.run_id,
            params={name: str(value) for name, value in report.params.items()},
        )
        uri = _log_model(report, model.model_id)
    return LoggedModel(run.run_id, uri)


def active_run(project: Project) -> tuple[str, dict[str, float]] | None:
    """Return the run that a person has opened, with the metrics that it has; None if there is none.

    Raises
    ------
    UsageError
        It belongs to another store.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    run = mlflow.active_run()
    if run is None:
        return None
    uri = _tracking_uri(project)
    try:
        found = mlflow.MlflowClient(tracking_uri=uri).get_run(run.info.run_id)
    except MlflowException as error:
        raise UsageError(
            f"The MLflow run {run.info.run_name!r} that is open belongs to another store than the "
            f"project's. Call mlflow.set_tracking_uri({uri!r}) before mlflow.start_run(), or end "
            "the run: then log_model makes one."
        ) from error
    return run.info.run_id, dict(found.data.metrics)


@contextmanager
def _run(client: MlflowClient, project: Project, report: RunReport) -> Iterator[RunInfo]:
    """Give the run that is open, or make one and end it.

    All is done by the client: the fluent functions look for Databricks tags and import PySpark
    Connect for it, which ends the process if Python was started with -c. And they refuse a run of
    another experiment than the one that a person has set.
    """
    if report.active_run is not None:
        yield client.get_run(report.active_run).info
        return
    experiment_id = _experiment(client, project, report.experiment)
    run = client.create_run(experiment_id, run_name=report.name).info
    try:
        yield run
    except BaseException:
        client.set_terminated(run.run_id, status="FAILED")
        raise
    client.set_terminated(run.run_id)


def _log_model(report: RunReport, model_id: str) -> str:
    import importlib

    from mlflow.models import infer_signature

    example = report.inputs.head(_EXAMPLE_ROWS)
    predict = "predict_proba" if hasattr(report.model, "predict_proba") else "predict"
    kept: dict[str, Any] = {"model_format": "ubj"}
    if report.flavor == "sklearn":
        trusted = list(TRUSTED_TYPES)
        kept = {"serialization_format": "skops", "skops_trusted_types": trusted}
        kept["pyfunc_predict_fn"] = predict
    logged = importlib.import_module(f"mlflow.{report.flavor}").log_model(
        report.model,
        model_id=model_id,
        signature=infer_signature(example, getattr(report.model, predict)(example)),
        input_example=example if report.with_example else None,
        pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
        metadata=dict(report.metadata),
        **kept,
    )
    return str(logged.model_uri)


def _experiment(client: MlflowClient, project: Project, name: str) -> str:
    artifacts = project.settings.mlflow.artifacts
    location = artifacts if urlparse(artifacts).scheme else (project.folder / artifacts).as_uri()
    known = client.get_experiment_by_name(name)
    if known is None:
        return str(client.create_experiment(name, artifact_location=location))
    if known.artifact_location.rstrip("/") != location.rstrip("/"):
        raise RunError(
            f"MLflow keeps the files of experiment {name!r} in {known.artifact_location}, not in "
            f"{location}: the project was moved or copied, or 'mlflow.artifacts' changed. Undo "
            "that, or set 'mlflow.tracking_uri' in lakehouse.yml to a new store."
        )
    return str(known.experiment_id)


def _datasets(tables: Sequence[tuple[Snapshot, str]]) -> list[Any]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=table.name,
                digest=table.record.manifest.digest if table.record else table.table_id[:32],
                source_type="delta_table",
                source=json.dumps({"path": str(table.path), "delta_table_version": table.version}),
                schema=json.dumps(table.columns),
                profile=json.dumps({"num_rows": table.rows}),
            ),
            tags=[InputTag("mlflow.data.context", role)],
        )
        for table, role in tables
    ]


def _tracking_uri(project: Project) -> str:
    uri = project.settings.mlflow.tracking_uri
    return f"{_SQLITE}{quote(str(_database(project)))}" if uri.startswith(_SQLITE) else uri


def _without_password(uri: str) -> str:
    password = urlparse(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


def _database(project: Project) -> Path:
    return project.folder / project.settings.mlflow.tracking_uri.removeprefix(_SQLITE)


def log_numbers(
    project: Project,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    numbers: Sequence[tuple[str, float, int]],
    texts: Mapping[str, str],
    tables: Sequence[tuple[Snapshot, str]],
) -> str:
    """Log a run that trains nothing, such as an evaluation; return its identifier.

    Parameters
    ----------
    numbers
        Each with its name and its step.
    texts
        Files by name.
    tables
        What was read, each with its role.

    Raises
    ------
    RunError
        The store cannot be reached, or keeps the experiment's files in another folder.
    """
    from mlflow.entities import Metric, RunTag

    with connected(project) as client:
        experiment_id = _experiment(client, project, experiment)
        run = client.create_run(experiment_id, run_name=name).info
        metrics = [Metric(key, number, run.start_time, step) for key, number, step in numbers]
        client.log_batch(run.run_id, metrics, tags=[RunTag(*tag) for tag in tags.items()])
        client.log_inputs(run.run_id, datasets=_datasets(tables))
        for key, text in texts.items():
            client.log_text(run.run_id, text, key)
        client.set_terminated(run.run_id)
        return str(run.run_id)
