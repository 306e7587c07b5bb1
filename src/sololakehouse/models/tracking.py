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
from urllib.parse import urlparse

from sololakehouse.config import Project
from sololakehouse.errors import RunError
from sololakehouse.lake import Snapshot

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline

_SQLITE = "sqlite:///"
_EXAMPLE_ROWS = 5
_QUIET = ("mlflow", "alembic", "sqlalchemy")
_REQUIREMENTS = ("scikit-learn", "xgboost-cpu", "skops", "pandas", "numpy")
# What skops does not trust by itself, and our pipelines hold.
_TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.compose._column_transformer._RemainderColsList",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
]


@dataclass(frozen=True)
class RunReport:
    """Everything that is logged of one trained model.

    `datasets` pairs each table with its role, such as `training` or `feature`.
    """

    experiment: str
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    figures: Mapping[str, Figure]
    datasets: Sequence[tuple[Snapshot, str]]
    metadata: Mapping[str, Any]
    model: Pipeline
    inputs: pd.DataFrame


@dataclass(frozen=True)
class LoggedModel:
    """Where MLflow keeps a run and its model."""

    run_id: str
    model_uri: str


def store_exists(project: Project) -> bool:
    """Whether the project's MLflow store is there; a remote one is taken to be."""
    uri = project.settings.mlflow.tracking_uri
    return not uri.startswith(_SQLITE) or _database(project).is_file()


@contextmanager
def connected(project: Project) -> Iterator[MlflowClient]:
    """Give a client of the project's MLflow store, which is created if need be.

    Raises
    ------
    RunError
        The store cannot be reached, or refuses a request.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow
    from mlflow.exceptions import MlflowException

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = _tracking_uri(project)
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow.MlflowClient()
    except MlflowException as error:
        raise RunError(
            f"MLflow at {project.settings.mlflow.tracking_uri} failed: "
            f"{str(error).splitlines()[0]} Check 'mlflow.tracking_uri' in lakehouse.yml."
        ) from error


def log_run(client: MlflowClient, project: Project, report: RunReport) -> LoggedModel:
    """Log one trained model as a run."""
    import mlflow

    experiment_id = _experiment(client, project, report.experiment)
    with mlflow.start_run(
        experiment_id=experiment_id, run_name=report.name, tags=dict(report.tags)
    ) as run:
        mlflow.log_params(dict(report.params))
        mlflow.log_metrics(dict(report.metrics))
        for name, figure in report.figures.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        client.log_inputs(run.info.run_id, datasets=_datasets(report.datasets))
        uri = _log_model(report)
    return LoggedModel(run.info.run_id, uri)


def _log_model(report: RunReport) -> str:
    from mlflow import sklearn as flavor
    from mlflow.models import infer_signature

    example = report.inputs.head(_EXAMPLE_ROWS)
    logged = flavor.log_model(
        report.model,
        name="model",
        signature=infer_signature(example, report.model.predict_proba(example)),
        input_example=example,
        serialization_format="skops",
        skops_trusted_types=_TRUSTED_TYPES,
        pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
        pyfunc_predict_fn="predict_proba",
        metadata=dict(report.metadata),
    )
    return str(logged.model_uri)


def _experiment(client: MlflowClient, project: Project, name: str) -> str:
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    artifacts = project.settings.mlflow.artifacts
    location = artifacts if urlparse(artifacts).scheme else (project.folder / artifacts).as_uri()
    return str(client.create_experiment(name, artifact_location=location))


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
    return f"{_SQLITE}{_database(project)}" if uri.startswith(_SQLITE) else uri


def _database(project: Project) -> Path:
    return project.folder / project.settings.mlflow.tracking_uri.removeprefix(_SQLITE)
