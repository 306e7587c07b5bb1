"""What a person may name: a table, a model, a command's run, a training run of MLflow."""

from __future__ import annotations

import re

from sololakehouse.config.table_name import TABLE_NAME
from sololakehouse.errors import NotFoundError, UsageError, shortened
from sololakehouse.lake.reference import split_reference
from sololakehouse.lake.run_log import RUNS
from sololakehouse.lake.system import is_system
from sololakehouse.lineage.reader import LineageReader
from sololakehouse.models.versions import ModelVersion, find_version

_RUN = re.compile(r"^\d{8}T\d{6}-[0-9a-f]{8}$")


def resolve(reader: LineageReader, reference: str) -> list[str]:
    """Add what a reference names to the reader; return the identifiers of its nodes.

    Raises
    ------
    NotFoundError, UsageError, RunError
        As `sololakehouse.lineage.trace.trace` says.
    """
    name = reference.partition("@")[0]
    if re.match(TABLE_NAME, name) and reader.lake.exists(name):
        return [_table(reader, reference)]
    if any(name == known.model.name for known in reader.trained):
        return [_model(reader, reference)]
    found = _of_run(reader, reference)
    if not found:
        raise _nothing(reader, reference)
    return found


def _table(reader: LineageReader, reference: str) -> str:
    name, version = split_reference(reference, reader.lake.project.settings.time_zone)
    commits = reader.commits(name)
    if isinstance(version, int) and version <= commits.newest and commits.commit(version):
        return reader.existing(name, version)
    return reader.existing(name, reader.lake.read(reference).version)


def _model(reader: LineageReader, reference: str) -> str:
    name, _, wanted = reference.partition("@")
    mine = (known.model for known in reader.trained if known.model.name == name)
    versions = [model for model in mine if not model.replaced]
    if not wanted:
        listed = [_named(version) for version in reversed(versions)]
        raise UsageError(f"{name} is a model. Say which version: {shortened(listed)}.")
    return reader.model(find_version(versions, name, wanted))


def _named(version: ModelVersion) -> str:
    stage = f" ({version.stage})" if version.stage else ""
    return f"{version.name}@{version.version}{stage}"


def _of_run(reader: LineageReader, reference: str) -> list[str]:
    """Return what a command's run committed and trained, or the training run that is named."""
    trained = reader.trained
    mlflow = [reader.run(known) for known in trained if known.model.mlflow_run_id == reference]
    if mlflow or not _RUN.match(reference):
        return mlflow
    models = [reader.model(known.model) for known in trained if known.model.run_id == reference]
    tables = (name for name in reader.lake.table_names() if not is_system(name))
    committed = ((name, reader.commits(name).committed_by(reference)) for name in tables)
    return models + [reader.existing(name, at) for name, at in committed if at is not None]


def _nothing(reader: LineageReader, reference: str) -> NotFoundError:
    lake = reader.lake
    there = (known.model for known in reader.trained if not known.model.replaced)
    models = [f"{model.name}@{model.version}" for model in there]
    runs = lake.read(RUNS).scan().select("run_id").collect() if lake.exists(RUNS) else None
    return NotFoundError.among(
        reference,
        {
            "table": [name for name in lake.table_names() if not is_system(name)],
            "model": models,
            "run": runs["run_id"].sort(descending=True).to_list() if runs is not None else [],
        },
    )
