"""Models in MLflow's registry: made versions of, and loaded again as they were registered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from sololakehouse.config import Project
from sololakehouse.errors import RunError, UnreachableError
from sololakehouse.models.hashes import refuse_changed
from sololakehouse.models.model_file import load_model_file
from sololakehouse.models.sending import LoggedModel
from sololakehouse.models.tracking import connected, require_store, shown_uri
from sololakehouse.models.versions import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's error code for a name or version that it does not have.
GONE = "RESOURCE_DOES_NOT_EXIST"


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


def in_store(project: Project, versions: Sequence[ModelVersion]) -> bool:
    """Whether the project's MLflow store has versions as they were registered.

    It is asked only about versions that were registered under another address than the project
    names now: asking takes seconds. A server that does not answer is taken to have them.
    """
    here = shown_uri(project)
    elsewhere = [one for one in versions if one.store not in (None, here)]
    if not elsewhere:
        return True
    try:
        with connected(project) as client:
            for version in elsewhere:
                refuse_another(project, client, version)
    except UnreachableError:
        return True
    except RunError:
        return False
    return True


def refuse_another(project: Project, client: MlflowClient, version: ModelVersion) -> None:
    """Refuse a store that has nothing, or another model, under a version's number.

    Raises
    ------
    RunError
        It was replaced since the version was registered.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version(version.name, str(version.version)).run_id
    except MlflowException as error:
        if error.error_code != GONE:
            raise
        found = None
    if found == version.mlflow_run_id:
        return
    what = f"the model of the run {found}" if found else "nothing"
    raise RunError(
        f"{version} is gone from MLflow at {shown_uri(project)}, which has {what} under that name "
        "and number: it was deleted, or the store replaced. Bring the store back that had the run "
        f"{version.mlflow_run_id}, or train again with 'slh train FILE --force'."
    )


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
        MLflow does not have the version any more, counts another one by its number, or its files
        are not those that were registered.
    """
    require_store(project)
    with connected(project) as client, _loading(version):
        refuse_another(project, client, version)
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
