"""The tables of a project: `warehouse/<schema>/<table>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sololakehouse.config import TABLE_NAME, Project
from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.lake.damage import is_table, newest_version
from sololakehouse.lake.table import Snapshot

_REFERENCE = re.compile(r"^(?P<table>[^@]+)(?:@v(?P<version>\d+))?$")


class Lakehouse:
    """A project's tables, for reading.

    Examples
    --------
    >>> lake = Lakehouse.open()
    >>> planes = lake.read("features.planes", version=1)
    >>> planes, planes.to_polars()["seats"].to_list()
    (Snapshot(features.planes@v1), [55])
    """

    def __init__(self, project: Project) -> None:
        self.project = project

    @classmethod
    def open(cls, folder: str | Path | None = None) -> Lakehouse:
        """Open the project in `folder` (or the nearest one above it; default: here)."""
        return cls(Project.find(Path(folder) if folder is not None else None))

    def table_names(self) -> list[str]:
        """Return the names of all tables, sorted."""
        return sorted(self._names())

    def exists(self, table: str) -> bool:
        """Whether the table has at least one commit."""
        return is_table(self.path(table))

    def path(self, table: str) -> Path:
        """Return the folder of a table, whether or not the table exists.

        Raises
        ------
        UsageError
            The name is not of the form `schema.table`.
        """
        if not re.match(TABLE_NAME, table):
            raise UsageError(f"{table!r} is no table name. Write schema.table, as in gold.sales.")
        return self.project.warehouse.joinpath(*table.split("."))

    def read(self, table: str, version: int | None = None) -> Snapshot:
        """Pin a table to a version (default: the newest).

        Parameters
        ----------
        table
            `schema.table`, or `schema.table@v3`.
        version
            Delta version, 0 or greater.

        Raises
        ------
        NotFoundError
            There is no such table, or it has no such version.
        RunError
            The version needs a file that is damaged, or a Delta feature that is not known here.
        """
        name, written = split_reference(table)
        wanted = version if version is not None else written
        if not self.exists(name):
            raise NotFoundError.of("table", name, self.table_names())
        if wanted is None:
            return Snapshot(name, self.path(name))
        newest = newest_version(self.path(name))
        if not 0 <= wanted <= newest:
            raise NotFoundError(f"{name} has no version {wanted}. Its versions are 0 to {newest}.")
        return Snapshot(name, self.path(name), wanted)

    def newest(self, table: str) -> Snapshot | None:
        """Pin a table to its newest version; None if it does not exist."""
        return Snapshot(table, self.path(table)) if self.exists(table) else None

    def _names(self) -> Iterator[str]:
        for log in self.project.warehouse.glob("*/*/_delta_log"):
            name = f"{log.parent.parent.name}.{log.parent.name}"
            if re.match(TABLE_NAME, name) and is_table(log.parent):
                yield name


def healthy_and_damaged(lake: Lakehouse) -> tuple[list[Snapshot], dict[str, RunError]]:
    """Return the newest version of every table, and apart why the others cannot be read."""
    healthy: list[Snapshot] = []
    damaged: dict[str, RunError] = {}
    for name in lake.table_names():
        try:
            snapshot = lake.read(name)
            snapshot.verify()
            healthy.append(snapshot)
        except RunError as error:
            damaged[name] = error
    return healthy, damaged


def split_reference(reference: str) -> tuple[str, int | None]:
    """Split `schema.table@v3` into the table's name and the version.

    Examples
    --------
    >>> split_reference("gold.sales@v3"), split_reference("gold.sales")
    (('gold.sales', 3), ('gold.sales', None))
    """
    match = _REFERENCE.match(reference)
    if match is None:
        raise UsageError(f"{reference!r} is no table. Write schema.table or schema.table@v3.")
    version = match["version"]
    return match["table"], int(version) if version is not None else None
