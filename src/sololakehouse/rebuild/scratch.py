"""A lakehouse beside the project's: its tables can be read through it, and are never written."""

from __future__ import annotations

from pathlib import Path

from sololakehouse.config import Project
from sololakehouse.lake import Lakehouse


def reading_lake(lake: Lakehouse, definitions: Path, warehouse: Path) -> Lakehouse:
    """Return a lakehouse of other definitions that sees the project's tables.

    What an engine needs while it works goes into `warehouse`, a new folder, where each table is a
    link to the project's.

    Parameters
    ----------
    definitions
        A folder with the project's files, as they are now or were at a revision.
    """
    for name in lake.table_names():
        schema, table = name.split(".")
        (warehouse / schema).mkdir(parents=True, exist_ok=True)
        (warehouse / schema / table).symlink_to(lake.path(name).resolve())
    return empty_lake(lake, definitions, warehouse)


def empty_lake(lake: Lakehouse, definitions: Path, warehouse: Path) -> Lakehouse:
    """Return a lakehouse of other definitions whose tables are in `warehouse`."""
    warehouse.mkdir(parents=True, exist_ok=True)
    settings = Project.find(definitions).settings.model_copy(
        update={
            "warehouse": str(warehouse.resolve()),
            "engine": lake.project.settings.engine,
            "openlineage": None,
        }
    )
    return Lakehouse(Project(folder=definitions, settings=settings))
