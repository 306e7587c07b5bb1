"""What is known of models and sinks, which are no tables: rows of the system's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sololakehouse.lake import HistoryEntry, Lakehouse
from sololakehouse.lake.row_history import TableCommits
from sololakehouse.lineage.graph import Role
from sololakehouse.lineage.origin import inputs_of
from sololakehouse.models.versions import RUNS, ModelVersion, all_registered
from sololakehouse.pipelines.sinks import SINKS
from sololakehouse.provenance import CommitRecord, TableVersion

_Read = tuple[TableVersion, HistoryEntry]


@dataclass(frozen=True)
class Trained:
    """A registered model with the training set that its run read.

    Attributes
    ----------
    commit
        The one that registered it; None if its log entry is gone.
    """

    model: ModelVersion
    training_set: TableVersion
    commit: HistoryEntry | None

    @property
    def at(self) -> datetime:
        """When it was registered, in UTC, or else when its training began."""
        return self.commit.timestamp if self.commit else self.model.trained_at


@dataclass(frozen=True)
class Delivered:
    """What a sink has got in all of its batches; `commit` is that of the newest one."""

    sink: str
    path: str | None
    commit: HistoryEntry
    record: CommitRecord
    inputs: tuple[tuple[TableVersion, Role], ...]


def trained_models(lake: Lakehouse) -> list[Trained]:
    """Return what was ever registered, by name and version, the newest of a number last.

    Raises
    ------
    RunError
        The table of training runs, or a log entry of it, is damaged.
    """
    models = all_registered(lake)
    read = {
        (entry.record.run_id, str(source)): (source, entry)
        for entry in _entries(lake, RUNS)
        if entry.record is not None
        for source in entry.record.inputs
    }
    return [_trained(lake, model, read) for model in models]


def deliveries(lake: Lakehouse) -> list[Delivered]:
    """Return all sinks that have got a batch, by name.

    Raises
    ------
    RunError
        The table of sinks, or a log entry of it, is damaged.
    """
    batches: dict[str, list[tuple[HistoryEntry, CommitRecord]]] = {}
    for entry in _entries(lake, SINKS):
        if entry.record is not None and "sink" in entry.record.details:
            batches.setdefault(entry.record.details["sink"], []).append((entry, entry.record))
    paths = _paths(lake) if batches else {}
    return [
        Delivered(sink, paths.get(sink), *known[0], tuple(inputs_of([one for _, one in known])))
        for sink, known in sorted(batches.items())
    ]


def _trained(
    lake: Lakehouse, model: ModelVersion, read: Mapping[tuple[str, str], _Read]
) -> Trained:
    table, version = model.training_set, model.training_set_version
    known = read.get((model.run_id, f"{table}@v{version}"))
    if known is not None:
        return Trained(model, *known)
    table_id = TableCommits(lake, table).table_id if lake.exists(table) else ""
    return Trained(model, TableVersion(table=table, version=version, table_id=table_id), None)


def _entries(lake: Lakehouse, table: str) -> Iterator[HistoryEntry]:
    if lake.exists(table):
        commits = TableCommits(lake, table)
        yield from (entry for entry in commits.of_rows(commits.newest) if entry is not None)


def _paths(lake: Lakehouse) -> dict[str, str | None]:
    rows = lake.read(SINKS).scan().select("sink", "batch", "path").sort("batch").collect()
    return {sink: path for sink, _, path in rows.iter_rows()}
