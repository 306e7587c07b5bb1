"""The quarantine: `<bronze table>_quarantine` keeps every record that could not become a row.

It is committed before the bronze table. If the process dies in between, the next ingestion finds
the records there, and leaves them out. The malformed records of a content stand there once, even if
its file was taken twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config import Project
from sololakehouse.errors import RunError
from sololakehouse.lake import LakeWriter, Snapshot, Transaction
from sololakehouse.pipelines.columns import INGESTED_AT, SOURCE_FILE, SOURCE_SHA256
from sololakehouse.pipelines.ingested import QUARANTINE, ingested_files
from sololakehouse.pipelines.landing import LandingFile
from sololakehouse.pipelines.staging import Parts, quarantine_schema
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    import polars as pl

ATTEMPTS = 10


@dataclass(frozen=True)
class Rejected:
    """A file's malformed records: how many, in which staged files, judged by which settings."""

    file: LandingFile
    rows: int
    parts: tuple[Path, ...]
    settings: str

    @property
    def about(self) -> dict[str, Any]:
        """What the commit record keeps of it."""
        return {
            "sha256": self.file.sha256,
            "quarantined": self.rows,
            "settings": self.settings,
        }


def quarantine_of(table: str) -> str:
    """Return the name of a bronze table's quarantine."""
    return f"{table}_quarantine"


def ingested_tables(project: Project) -> frozenset[str]:
    """Return the names of the tables that ingestion fills, quarantines included."""
    tables = {source.table for source in project.settings.sources.values()}
    return frozenset(tables | {quarantine_of(table) for table in tables})


def quarantine(
    writer: LakeWriter, source: str, table: str, rejected: Sequence[Rejected]
) -> Snapshot | None:
    """Commit the malformed records of files, each content once; None if there is nothing to do.

    A content that is there already, judged by the same settings, is left out. If its settings have
    changed (after a crash, before the file was taken), its records are replaced.

    Raises
    ------
    RunError
        Other processes committed to the quarantine again and again.
    """
    name = quarantine_of(table)
    transaction_id = f"ingest/{source}"
    for _ in range(ATTEMPTS):
        known = writer.lake.newest(name)
        listed = _listed(writer, known)
        changed = [one for one in rejected if _is_due(one, listed)]
        if not changed:
            return None
        number = ((known and known.transaction_version(transaction_id)) or 0) + 1
        details = {"source": source, "files": {one.file.path: one.about for one in changed}}
        print_ = fingerprint([(one.file.path, one.file.sha256, one.settings) for one in changed])
        change = Change(QUARANTINE, print_, details=details, left_out=(INGESTED_AT,))
        replaced = [one for one in changed if (one.file.path, one.file.sha256) in listed]
        with writer.staging() as folder:
            _stage(folder, changed)
            done = writer.commit(
                name,
                folder,
                change,
                mode="append",
                transaction=Transaction(transaction_id, number),
                removes=_rows_of(replaced) if replaced else None,
            )
        if is_own(done, writer, print_):
            return done
    raise RunError(f"{name} is being written to all the time. Nothing was ingested; ingest again.")


def is_own(done: Snapshot, writer: LakeWriter, print_: str) -> bool:
    """Whether a commit is the one that this run made with a fingerprint."""
    record = done.record
    mine = record is not None and record.run_id == writer.run.run_id
    return mine and record is not None and record.fingerprint == print_


def _listed(writer: LakeWriter, known: Snapshot | None) -> dict[tuple[str, str], str]:
    files = ingested_files(writer.lake, known, QUARANTINE)
    return {
        (file.path, file.sha256): str(file.about.get("settings"))
        for contents in files.values()
        for file in contents
    }


def _is_due(one: Rejected, listed: Mapping[tuple[str, str], str]) -> bool:
    settings = listed.get((one.file.path, one.file.sha256))
    return settings != one.settings if settings is not None else one.rows > 0


def _rows_of(replaced: Sequence[Rejected]) -> pl.Expr:
    import polars as pl

    return pl.any_horizontal(
        (pl.col(SOURCE_FILE) == one.file.path) & (pl.col(SOURCE_SHA256) == one.file.sha256)
        for one in replaced
    )


def _stage(folder: Path, changed: Sequence[Rejected]) -> None:
    staged = [part for one in changed for part in one.parts]
    for part in staged:
        (folder / part.name).hardlink_to(part)
    if not staged:
        with closing(Parts(folder, "part-none", quarantine_schema())) as empty:
            empty.begin()
