"""Packed runs sent to MLflow: parameters, metrics, files, datasets, the model.

Everything is done by the client: the fluent functions look for Databricks tags and import PySpark
Connect for it, which ends the process if Python was started with -c. And they refuse a run of
another experiment than the one that a person has set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.config import Project
from sololakehouse.lake import Snapshot
from sololakehouse.models.packing import PackedRun, dataset
from sololakehouse.models.tracking import connected, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "sololakehouse.key"
_AT_ONCE = 100


@dataclass(frozen=True)
class LoggedModel:
    """Where MLflow keeps a run and its model, and the SHA-256 of the model's files."""

    run_id: str
    model_uri: str
    hashes: Mapping[str, str]


def send(
    client: MlflowClient, project: Project, packed: PackedRun, *, again: bool = False
) -> LoggedModel:
    """Send one packed run, into the run that was open when it was packed or into a new one.

    Parameters
    ----------
    again
        Whether it may have been sent before, wholly or in part: then what MLflow has of it is
        completed, and nothing is there twice.
    """
    about = packed.about
    with _run(client, project, packed, again) as (run_id, experiment, complete):
        if not complete:
            _log_values(client, run_id, about)
            client.log_artifacts(run_id, str(packed.files))
            client.log_inputs(run_id, datasets=_datasets(about["datasets"]))
        model = _known_model(client, experiment, packed) if again else None
        model_id = model.model_id if model else _new_model(client, run_id, experiment, packed)
        if model is None or model.status != "READY":
            _link(client, run_id, model_id)
            client.log_model_artifacts(model_id, str(packed.model))
            client.finalize_logged_model(model_id, "READY")
    return LoggedModel(run_id, f"models:/{model_id}", packed.hashes)


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
        place = experiment_id(client, project, experiment)
        run = client.create_run(place, run_name=name).info
        metrics = [Metric(key, number, run.start_time, step) for key, number, step in numbers]
        client.log_batch(run.run_id, metrics, tags=[RunTag(*tag) for tag in tags.items()])
        client.log_inputs(run.run_id, datasets=_datasets([dataset(*table) for table in tables]))
        for key, text in texts.items():
            client.log_text(run.run_id, text, key)
        client.set_terminated(run.run_id)
        return str(run.run_id)


@contextmanager
def _run(
    client: MlflowClient, project: Project, packed: PackedRun, again: bool
) -> Iterator[tuple[str, str, bool]]:
    """Give a run, its experiment, and whether it has all already; a new one is ended."""
    about = packed.about
    if about["active_run"] is not None:
        info = client.get_run(about["active_run"]).info
        yield info.run_id, info.experiment_id, False
        return
    experiment = experiment_id(client, project, about["experiment"])
    known = client.search_runs([experiment], _where(packed)) if again else []
    if known:
        info = known[0].info
        complete = info.status == "FINISHED"
    else:
        tags = {**about["tags"], KEY: packed.key}
        info = client.create_run(experiment, run_name=about["name"], tags=tags).info
        complete = False
    try:
        yield info.run_id, experiment, complete
    except BaseException:
        client.set_terminated(info.run_id, status="FAILED")
        raise
    if not complete:
        client.set_terminated(info.run_id)


def _where(packed: PackedRun) -> str:
    return f"tags.`{KEY}` = '{packed.key}'"


def _log_values(client: MlflowClient, run_id: str, about: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    moment = about["packed_at"]
    params = [Param(name, text) for name, text in about["params"].items()]
    metrics = [Metric(name, value, moment, 0) for name, value in about["metrics"].items()]
    tags = [RunTag(name, text) for name, text in about["tags"].items()]
    for begin in range(0, max(len(params), len(metrics), 1), _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        client.log_batch(run_id, metrics[some], params[some], tags if begin == 0 else ())


def _new_model(client: MlflowClient, run_id: str, experiment: str, packed: PackedRun) -> str:
    model = client.create_logged_model(
        experiment, name=packed.about["artifact"], source_run_id=run_id, tags={KEY: packed.key}
    )
    return str(model.model_id)


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Note the model as what the run gave, once."""
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run_id).outputs
    known = outputs.model_outputs if outputs else []
    if model_id not in {one.model_id for one in known}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])


def _known_model(client: MlflowClient, experiment: str, packed: PackedRun) -> Any:
    found = client.search_logged_models([experiment], filter_string=_where(packed))
    return found[0] if found else None


def _datasets(tables: Sequence[Mapping[str, str]]) -> list[Any]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(**{name: text for name, text in table.items() if name != "role"}),
            tags=[InputTag("mlflow.data.context", table["role"])],
        )
        for table in tables
    ]
