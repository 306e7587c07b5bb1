"""The tables of the lakehouse as the input of a run, each opened when something needs it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import suppress

from sololakehouse.engine import SYSTEM_PREFIX, Engine
from sololakehouse.errors import RunError
from sololakehouse.lake import Lakehouse, Snapshot


class StoredTables:
    """The names of the tables, and how an engine gets to know them at their newest versions.

    Tables of the schema `system` tell of runs and are no input of one.
    """

    def __init__(self, lake: Lakehouse, engine: Engine) -> None:
        self._lake = lake
        self._engine = engine
        self._names = {n for n in lake.table_names() if not n.startswith(SYSTEM_PREFIX)}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def open(self, name: str) -> Snapshot:
        """Open a table.

        Raises
        ------
        RunError
            It is damaged, or has a Delta feature that is not known here.
        """
        return self._lake.read(name)

    def pin(self, name: str) -> None:
        """Let the engine know a table.

        Raises
        ------
        RunError
            The table cannot be opened, or the engine cannot read it.
        """
        self._engine.pin(self.open(name))

    def pin_all(self, but: Container[str] = ()) -> None:
        """Let the engine know every table, other than some, that can be opened."""
        for name in sorted(self._names):
            if name not in but:
                with suppress(RunError):
                    self.pin(name)
