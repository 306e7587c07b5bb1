"""The nodes of the graph, made from what commits and registry say."""

from __future__ import annotations

from collections.abc import Iterator

from sololakehouse.lake.row_history import TableCommits
from sololakehouse.lineage.graph import FileNode, ModelNode, RunNode, SinkNode, TableNode
from sololakehouse.lineage.origin import Origin
from sololakehouse.lineage.registered import Delivered, Trained
from sololakehouse.models.versions import RUNS, ModelVersion
from sololakehouse.pipelines.ingested import TakenFile

_ID_DIGITS = 8


def file_node(file: TakenFile) -> FileNode:
    """Return the node of a landing file's content."""
    return FileNode(
        id=f"{file.path}#{file.sha256}",
        title=file.path,
        what="landing file",
        rows=file.about.get("rows"),
        fingerprint=f"sha256:{file.sha256}",
        path=file.path,
        sha256=file.sha256,
    )


def table_node(
    node_id: str, commits: TableCommits, rows_version: int, version: int, found: Origin
) -> TableNode:
    """Return the node of a table version.

    Parameters
    ----------
    rows_version
        The version that made the rows.
    version
        The newest one with the same rows that was read.
    """
    commit = found.commit
    record = commit.record if commit else None
    return TableNode(
        id=node_id,
        title=f"{commits.table}@v{version}",
        what=(record.operation if record else commit.operation if commit else "unknown").lower(),
        at=commit.timestamp if commit else None,
        rows=record.manifest.rows if record else None,
        code_revision=record.code_revision if record else None,
        fingerprint=record.fingerprint if record else None,
        notes=tuple(_notes(commits, rows_version, version, found)),
        table=commits.table,
        version=version,
        rows_version=rows_version,
        table_id=commits.table_id,
        dropped=not commits.exists,
        record=record,
    )


def _notes(commits: TableCommits, rows_version: int, version: int, found: Origin) -> Iterator[str]:
    if not commits.exists:
        yield "the table was dropped since"
    if version != rows_version:
        yield f"the rows of v{rows_version}, arranged anew"
    details = found.commit.record.details if found.commit and found.commit.record else {}
    if details.get("deterministic") is False:
        yield "not deterministic"
    if details.get("recipe", {"labels": ""})["labels"] is None:
        yield "its labels came as a frame, from no table"
    yield from found.notes


def model_id(model: ModelVersion) -> str:
    """Return the identifier of the node of a registered version."""
    node_id = f"{model.name}@{model.version}"
    return f"{node_id} of {model.mlflow_run_id[:_ID_DIGITS]}" if model.replaced else node_id


def model_node(known: Trained) -> ModelNode:
    """Return the node of a registered version of a model."""
    model, node_id = known.model, model_id(known.model)
    return ModelNode(
        id=node_id,
        title=f"{node_id} ({model.stage})" if model.stage else node_id,
        what="model",
        at=known.at,
        notes=tuple(_model_notes(model)),
        name=model.name,
        version=model.version,
        stage=model.stage,
    )


def unknown_model_node(name: str, version: int) -> ModelNode:
    """Return the node of a version of a model that is not known any more."""
    node_id = f"{name}@{version}"
    return ModelNode(
        id=node_id,
        title=node_id,
        what="model",
        at=None,
        notes=(f"{RUNS} does not know it",),
        name=name,
        version=version,
        stage=None,
    )


def _model_notes(model: ModelVersion) -> Iterator[str]:
    if model.replaced:
        yield "the MLflow store that counted it was replaced"
    if model.forced:
        yield f"forced past its gates: {model.forced}"


def run_node(known: Trained) -> RunNode:
    """Return the node of the run that trained a model."""
    model, record = known.model, known.commit.record if known.commit else None
    return RunNode(
        id=f"run {model.mlflow_run_id}",
        title=f"run {model.mlflow_run_id}",
        what=f"training, {model.role}",
        at=known.at,
        code_revision=record.code_revision if record else None,
        fingerprint=model.fingerprint,
        mlflow_run_id=model.mlflow_run_id,
        run_id=model.run_id,
        experiment=model.experiment,
        role=model.role,
        training_set=known.training_set,
        metrics=model.metrics,
    )


def sink_node(known: Delivered) -> SinkNode:
    """Return the node of a sink."""
    return SinkNode(
        id=f"sink {known.sink}",
        title=f"sink {known.sink}",
        what="sink",
        at=known.commit.timestamp,
        rows=known.record.rows_written,
        code_revision=known.record.code_revision,
        fingerprint=known.record.fingerprint,
        sink=known.sink,
        path=known.path,
        record=known.record,
    )
