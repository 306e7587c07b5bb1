"""MLflow as the record of runs: where it is, and a connection to it."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlparse

from sololakehouse.config import Project
from sololakehouse.errors import RunError, UnreachableError, UsageError
from sololakehouse.lake.failures import disk_error

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_LONGEST = 300
_QUIET = ("mlflow", "alembic", "sqlalchemy")
_PORTS = {"http": 80, "https": 443, "postgresql": 5432}
_PATIENCE = 5
_EXTRAS = {"psycopg": "postgres", "boto3": "s3"}
# What a proxy says for a server that is down.
_AWAY = re.compile(r"error code 50[234]\b|too many 50[234] error responses")
_OTHER_RELEASE = "Detected out-of-date database schema"


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
        experiment_id(client, project, experiment)


@contextmanager
def connected(project: Project) -> Iterator[MlflowClient]:
    """Give a client of the project's MLflow store, which is created if need be.

    Raises
    ------
    UnreachableError
        A server does not answer, now or in the middle.
    RunError
        The store cannot be read, or refuses a request.
    """
    _refuse_silence(project)
    quiet_mlflow()
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = tracking_uri(project)
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow.MlflowClient()
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        full = disk_error(error, project.folder)
        if full is not None:
            raise full from error
        said = str(error).strip().splitlines()[0]
        if isinstance(error, ImportError) and error.name in _EXTRAS:
            said = f"{said}: pip install 'sololakehouse[{_EXTRAS[error.name]}]'"
        if not isinstance(error, ImportError):
            _refuse_silence(project)
        if _AWAY.search(said):
            raise _unreachable(project, said[:_LONGEST]) from error
        if said.startswith(_OTHER_RELEASE):
            raise _of_another_release(project, mlflow.__version__) from error
        raise RunError(
            f"MLflow at {shown_uri(project)} failed: "
            f"{said[:_LONGEST].rstrip('.')}. Check 'mlflow' in lakehouse.yml."
        ) from error


def _of_another_release(project: Project, version: str) -> RunError:
    uri = shown_uri(project)
    return RunError(
        f"The MLflow store {uri} was made by another release of MLflow than the one that is "
        f"installed, {version}. If it was an older one: copy the store, and run 'mlflow db upgrade "
        f"{uri}' in {project.folder}. If it was a newer one, install that again, or put back the "
        "copy from before it. Nothing was changed."
    )


def quiet_mlflow() -> None:
    """Import MLflow so that it neither reports home nor writes to the terminal."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow  # noqa: F401

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def _refuse_silence(project: Project) -> None:
    """Refuse a server at whose port nobody listens; MLflow itself would try for minutes."""
    parsed = urlparse(project.settings.mlflow.tracking_uri)
    port = _PORTS.get(parsed.scheme.partition("+")[0])
    if port is None or not parsed.hostname:
        return
    try:
        socket.create_connection((parsed.hostname, parsed.port or port), _PATIENCE).close()
    except OSError as error:
        raise _unreachable(project, error.strerror or str(error)) from error


def _unreachable(project: Project, said: str) -> UnreachableError:
    return UnreachableError(f"MLflow at {shown_uri(project)} cannot be reached: {said}.")


def attach(
    project: Project, run_ids: Sequence[str], document: Mapping[str, Any], name: str
) -> None:
    """Put a document beside what is logged of some runs; one of the same name is replaced.

    Parameters
    ----------
    name
        The artifact's file, ending in .json or .yml.

    Raises
    ------
    RunError
        The store cannot be reached, or a run is gone.
    """
    with connected(project) as client:
        for run_id in run_ids:
            client.log_dict(run_id, dict(document), name)


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
    uri = tracking_uri(project)
    try:
        found = mlflow.MlflowClient(tracking_uri=uri).get_run(run.info.run_id)
    except MlflowException as error:
        raise UsageError(
            f"The MLflow run {run.info.run_name!r} that is open belongs to another store than the "
            f"project's. Call mlflow.set_tracking_uri({uri!r}) before mlflow.start_run(), or end "
            "the run: then log_model makes one."
        ) from error
    return run.info.run_id, dict(found.data.metrics)


def experiment_id(client: MlflowClient, project: Project, name: str) -> str:
    """Return the identifier of an experiment in MLflow, which is created if need be.

    Raises
    ------
    RunError
        Its files are kept in another place than the project's settings say.
    """
    location = artifact_location(project)
    known = client.get_experiment_by_name(name)
    if known is None:
        return str(client.create_experiment(name, artifact_location=location))
    if location and known.artifact_location.rstrip("/") != location.rstrip("/"):
        raise RunError(
            f"MLflow keeps the files of experiment {name!r} in {known.artifact_location}, not in "
            f"{location}: the project was moved or copied, or 'mlflow.artifacts' changed. Undo "
            "that, or set 'mlflow.tracking_uri' in lakehouse.yml to a new store."
        )
    return str(known.experiment_id)


def artifact_location(project: Project) -> str | None:
    """Return where the files of runs are kept; None: where the MLflow server says."""
    settings = project.settings.mlflow
    if is_server(project) and "artifacts" not in settings.model_fields_set:
        return None
    artifacts = settings.artifacts
    return artifacts if urlparse(artifacts).scheme else (project.folder / artifacts).as_uri()


def is_server(project: Project) -> bool:
    """Whether runs go to an MLflow server over HTTP."""
    return urlparse(project.settings.mlflow.tracking_uri).scheme in ("http", "https")


def tracking_uri(project: Project) -> str:
    """Return the project's tracking URI as MLflow takes it, with its password."""
    uri = project.settings.mlflow.tracking_uri
    return f"{_SQLITE}{quote(str(_database(project)))}" if uri.startswith(_SQLITE) else uri


def shown_uri(project: Project) -> str:
    """Return the project's tracking URI as it may be shown."""
    uri = project.settings.mlflow.tracking_uri
    password = urlparse(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


def _database(project: Project) -> Path:
    return project.folder / project.settings.mlflow.tracking_uri.removeprefix(_SQLITE)
