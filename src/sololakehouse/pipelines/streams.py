"""Streams: a flow of a streaming table reads the rows that were committed since it last ran."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce, wraps
from typing import TYPE_CHECKING, Any, NoReturn

from sololakehouse.errors import UsageError
from sololakehouse.pipelines.refused_actions import replaced
from sololakehouse.provenance import fingerprint
from sololakehouse.quality import Query, unfiltered

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame


@dataclass(frozen=True)
class Flow:
    """A query that appends to a streaming table.

    Attributes
    ----------
    streams
        The tables that it reads as streams, by the name that stands for their new rows in its
        query; complete once the query has been called.
    """

    name: str
    streams: dict[str, str] = field(default_factory=dict)

    def alias(self, table: str) -> str:
        """Return the name that stands for the new rows of a table in this flow."""
        words = re.sub(r"\W", "_", table)
        alias = f"__stream_{words}_{fingerprint(self.name, table)[:8]}"
        self.streams[alias] = table
        return alias

    def reading(self, query: Query) -> Query:
        """Let `spark.readStream.table(...)` mean new rows while a query is called."""

        @wraps(query)
        def called() -> Any:
            with self._reader():
                return query()

        if unfiltered(query) is not query:
            vars(called)["__unfiltered__"] = self.reading(unfiltered(query))
        return called

    @contextmanager
    def _reader(self) -> Iterator[None]:
        from pyspark.sql.connect.session import SparkSession

        reader = property(lambda session: _StreamReader(session, self))
        with replaced(SparkSession, "readStream", reader):
            yield


@dataclass(frozen=True)
class _StreamReader:
    session: Any
    flow: Flow

    def table(self, name: str) -> DataFrame:
        frame: DataFrame = self.session.read.table(self.flow.alias(name))
        return frame

    def __getattr__(self, name: str) -> NoReturn:
        raise UsageError(
            f"spark.readStream.{name} is not supported: a stream here is what was committed to a "
            "table. Declare files under 'sources' in lakehouse.yml, run 'slh ingest', and read "
            "the bronze table with spark.readStream.table(...)."
        )


@dataclass(frozen=True)
class FlowUnion:
    """The query of a table: the rows of its flows together, by the names of their columns."""

    parts: tuple[tuple[Flow, Query], ...]

    @property
    def flows(self) -> tuple[Flow, ...]:
        """The flows, in the order of the sources."""
        return tuple(flow for flow, _ in self.parts)

    def __call__(self) -> Any:
        """Return the rows of all flows."""
        return self.over(lambda query: query)()

    def over(self, chosen: Callable[[Query], Query]) -> Query:
        """Return the union of what is chosen of each flow's query."""

        def united() -> Any:
            frames: list[Any] = [chosen(query)() for _, query in self.parts]
            missing = [frame for frame in frames if frame is None]
            return None if missing else reduce(lambda one, two: one.unionByName(two), frames)

        return united
