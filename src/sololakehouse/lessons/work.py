"""What a person has made of a scratch project: the lake that checks look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from sololakehouse.features.certificates import REPLAYS
from sololakehouse.lake import HistoryEntry, Lakehouse, Snapshot
from sololakehouse.lake.system import INGESTED_FILES, view
from sololakehouse.lessons.lesson import Lesson, NotYetError
from sololakehouse.lessons.project import project_files
from sololakehouse.models.versions import ModelVersion, Transition, model_versions, transitions
from sololakehouse.provenance import CommitRecord

BRONZE = "bronze.flights"
SILVER = "silver.flights"
MODEL = "delay"
EXPERIMENT = "experiments/delay.yml"


class Work:
    """A lake after somebody worked on a lesson, with the questions that checks have in common."""

    def __init__(self, lake: Lakehouse, lesson: Lesson) -> None:
        self.lake = lake
        self.lesson = lesson

    @property
    def folder(self) -> Path:
        """The folder of the project."""
        return self.lake.project.folder

    def table(self, name: str, command: str = "slh run") -> Snapshot:
        """Return the newest version of a table.

        Parameters
        ----------
        command
            What makes it.

        Raises
        ------
        NotYetError
            There is no such table.
        """
        found = self.lake.newest(name)
        if found is None:
            raise NotYetError(name, "There is no such table.", f"Make it: {command}.")
        return found

    def history(self, name: str, command: str = "slh run") -> list[HistoryEntry]:
        """Return the commits of a table, newest first.

        Raises
        ------
        NotYetError
            There is no such table.
        """
        self.table(name, command)
        return self.lake.history(name)

    @cached_property
    def original(self) -> dict[str, str]:
        """The files of the project as the lesson began with them."""
        return project_files(self.lesson)

    def landed(self) -> dict[str, str]:
        """Return the SHA-256 of what lies in `landing/`, by path relative to the project."""
        files = (path for path in sorted((self.folder / "landing").rglob("*")) if path.is_file())
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    def taken(self) -> dict[str, str]:
        """Return the SHA-256 of the landing files whose rows are in bronze, by path."""
        rows = view(self.lake, INGESTED_FILES).filter(table_name=BRONZE, in_table=True)
        return dict(rows.sort("version").select("path", "sha256").iter_rows())

    def versions(self) -> list[ModelVersion]:
        """Return the versions of the lesson's model, the oldest first.

        Raises
        ------
        NotYetError
            Nothing was trained yet.
        """
        found = [version for version in model_versions(self.lake) if version.name == MODEL]
        if not found:
            raise NotYetError(
                "system.training_runs", "Nothing was trained yet.", f"slh train {EXPERIMENT}"
            )
        return found

    def production(self) -> ModelVersion:
        """Return the version in production.

        Raises
        ------
        NotYetError
            None is.
        """
        for version in self.versions():
            if version.stage == "production":
                return version
        raise NotYetError(
            "the stages of delay",
            "No version is in production.",
            "slh promote delay --to production",
        )

    def moves(self) -> Iterator[Transition]:
        """Yield what has entered production, the oldest first."""
        for one in transitions(self.lake, MODEL):
            if one.to_stage == "production":
                yield one

    def require_all_labels(self, version: ModelVersion) -> int:
        """Hold the labels of a training against the flights themselves; returns their number.

        Raises
        ------
        NotYetError
            Labels were left out or changed.
        """
        flights = self.table(SILVER).to_polars()
        rows = self.lake.read(version.training_set, version.training_set_version).to_polars()
        told, late = int(rows["is_late"].sum()), int(flights["is_late"].sum())
        if (rows.height, told) != (flights.height, late):
            raise NotYetError(
                version.training_set,
                f"It has {rows.height:,} labels, {told:,} of them late; there are "
                f"{flights.height:,} flights, {late:,} of them late. To leave labels out is "
                "another question.",
                f"Bring transformations/gold/flight_labels.sql and {EXPERIMENT} back as they were.",
            )
        return rows.height

    def replays(self, table: str, verdict: str) -> int:
        """Return how often a replay came to a verdict about a table."""
        found = self.lake.newest(REPLAYS)
        if found is None:
            return 0
        return found.to_polars().filter(table_name=table, verdict=verdict).height


def versions_read(record: CommitRecord | None, table: str) -> list[int]:
    """Return the versions of a table that a commit was made from; none without a record."""
    inputs = record.inputs if record else ()
    return [one.version for one in inputs if one.table == table]
