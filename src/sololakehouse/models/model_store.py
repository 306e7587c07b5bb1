"""Models in MLflow's registry: made versions of, and loaded again as they were registered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from sololakehouse.config import Project
from sololakehouse.errors import RunError
from sololakehouse.models.hashes import refuse_changed
from sololakehouse.models.model_file import load_model_file
from sololakehouse.models.sending import LoggedModel
from sololakehouse.models.tracking import connected, require_store
from sololakehouse.models.versions import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(client: MlflowClient, name: str, logged: LoggedModel, *, again: bool = False) -> int:
    """Register a logged model as the next version of `name`, with the SHA-256 of its files.

    Parameters
    ----------
    again
        Whether it may be registered already; then its version is returned.
    """
    from mlflow.exceptions import MlflowException

    if again:
        known = client.search_model_versions(f"name = '{name}' and run_id = '{logged.run_id}'")
        if known:
            return int(known[0].version)
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    created = client.create_model_version(
        name,
        logged.model_uri,
        run_id=logged.run_id,
        model_id=logged.model_uri.removeprefix("models:/"),
        tags={"artifacts": json.dumps(dict(logged.hashes), sort_keys=True)},
    )
    return int(created.version)


def load_model(project: Project, version: ModelVersion) -> Any:
    """Load a version's model, which has `predict` and, if it is a classifier, `predict_proba`.

    Raises
    ------
    RunError
        MLflow does not have the version any more, its files are not those that were registered,
        or its file is damaged or holds other types.
    """
    with TemporaryDirectory() as place:
        folder = fetch_model(project, version, Path(place))
        with _loading(version):
            return load_model_file(folder)


def fetch_model(project: Project, version: ModelVersion, place: Path) -> Path:
    """Bring a version's files from MLflow into a folder that is there; return where they are.

    Raises
    ------
    RunError
        MLflow does not have the version any more, or its files are not those that were registered.
    """
    require_store(project)
    with connected(project), _loading(version):
        from mlflow.artifacts import download_artifacts

        uri = f"models:/{version.name}/{version.version}"
        folder = Path(download_artifacts(artifact_uri=uri, dst_path=str(place)))
        if version.record.get("artifacts"):
            refuse_changed(folder, version.record["artifacts"], version)
        return folder


@contextmanager
def _loading(version: ModelVersion) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, TypeError, ValueError, KeyError, BadZipFile) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise RunError(
            f"{version} cannot be loaded from MLflow: {said}. Train again with "
            "'slh train FILE --force'."
        ) from error
