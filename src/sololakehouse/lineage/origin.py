"""What the rows of one table version were made from, as its commits say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sololakehouse.lake.history import HistoryEntry
from sololakehouse.lake.row_history import TableCommits
from sololakehouse.lineage.graph import Role
from sololakehouse.pipelines.ingested import TakenFile, files_of
from sololakehouse.provenance import CommitRecord, TableVersion

# As `pipelines.compute` and `pipelines.plan` write them: importing those takes longer than a trace.
INCREMENT = "increment"
STREAMS = "streams"


@dataclass(frozen=True)
class MadeBy:
    """A model that made rows: its name and number, when, and the run that trained it, if noted."""

    name: str
    version: int
    mlflow_run_id: str | None
    at: datetime


@dataclass(frozen=True)
class Origin:
    """Where the rows of a table version come from.

    Attributes
    ----------
    commit
        The newest commit that changed the rows; None if nothing is known.
    model
        The model that made them; None if none did.
    notes
        What the commits do not say.
    """

    commit: HistoryEntry | None
    inputs: tuple[tuple[TableVersion, Role], ...]
    files: tuple[TakenFile, ...]
    model: MadeBy | None
    notes: tuple[str, ...]


def origin(commits: TableCommits, version: int) -> Origin:
    """Read where the rows of a version come from.

    Raises
    ------
    RunError
        A log entry is damaged.
    """
    known, notes = _known(commits, version)
    made = [entry for entry in known if entry.record and entry.restored is None]
    records = [entry.record for entry in made if entry.record]
    notes += [
        f"v{entry.version} was written by another writer, without a record"
        for entry in known
        if entry.record is None and entry.restored is None
    ]
    return Origin(
        commit=known[0] if known else commits.commit(version),
        inputs=(*_restored(commits, known), *inputs_of(records)),
        files=tuple(sorted(_files(records), key=lambda file: (file.path, file.sha256))),
        model=_model(made[0]) if made else None,
        notes=tuple(notes),
    )


def version_of(commits: TableCommits, version: int) -> TableVersion:
    """Return a version as commit records name their inputs.

    Raises
    ------
    RunError
        A log entry is damaged.
    """
    rows_version = commits.rows_version(version)
    return TableVersion(
        table=commits.table,
        version=version,
        table_id=commits.table_id,
        data_version=rows_version if rows_version != version else None,
    )


def _known(commits: TableCommits, version: int) -> tuple[list[HistoryEntry], list[str]]:
    """Return the commits that tell of the rows, newest first, and a note if older ones are lost."""
    known: list[HistoryEntry] = []
    for entry in commits.of_rows(version):
        if entry is None:
            return known, [_lost(known)] if commits.exists else []
        known.append(entry)
        if entry.record is not None and INCREMENT in entry.record.details:
            break
    return known, []


def _lost(known: Sequence[HistoryEntry]) -> str:
    if not known:
        return "its log entry was cleaned up, and not archived"
    return f"commits before v{known[-1].version} are not known: their log entries were cleaned up"


def _restored(
    commits: TableCommits, known: Iterable[HistoryEntry]
) -> Iterator[tuple[TableVersion, Role]]:
    for entry in known:
        if entry.restored is not None:
            yield version_of(commits, entry.restored), "restored"


def inputs_of(records: Sequence[CommitRecord]) -> Iterator[tuple[TableVersion, Role]]:
    """Give the inputs of commits, newest first, whose rows lie side by side.

    What is read as a stream only grows, so it counts once, as it was read last.
    """
    streamed = _streamed(records[0]) if records else set()
    for index, record in enumerate(records):
        for source in record.inputs:
            if index == 0:
                yield source, "input"
            elif (source.table, source.table_id) not in streamed:
                yield source, "earlier input"


def _streamed(record: CommitRecord) -> set[tuple[str, str]]:
    streams = record.details.get(STREAMS, {}).values()
    return {(stream["table"], stream["table_id"]) for stream in streams}


def _files(records: Iterable[CommitRecord]) -> Iterator[TakenFile]:
    replaced: set[str] = set()
    for record in records:
        for file in files_of(record):
            if file.path not in replaced:
                yield file
            if file.about.get("action") == "replace":
                replaced.add(file.path)


def _model(commit: HistoryEntry) -> MadeBy | None:
    details = commit.record.details if commit.record else {}
    name, version = (details.get(key) for key in ("model", "model_version"))
    if name is None or version is None:
        return None
    return MadeBy(name, version, details.get("mlflow_run_id"), commit.timestamp)
