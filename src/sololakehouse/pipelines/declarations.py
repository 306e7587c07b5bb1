"""What a pipeline's source files declare: tables and views, with the queries that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sololakehouse.errors import DefinitionError
from sololakehouse.pipelines.branches import Branch
from sololakehouse.pipelines.change_flow import ChangeFlow
from sololakehouse.pipelines.quarantine import quarantine_of
from sololakehouse.pipelines.settings import PipelineSettings
from sololakehouse.pipelines.shape import Shape
from sololakehouse.pipelines.sinks import Sink
from sololakehouse.pipelines.sql_statements import Constraint, Kind
from sololakehouse.pipelines.streams import Flow
from sololakehouse.pipelines.time_bound import TimeBound
from sololakehouse.quality import AnyExpectation, Query

DETERMINISTIC = "pipelines.deterministic"
QUARANTINE = "pipelines.quarantine"


@dataclass(frozen=True)
class Place:
    """Where a definition stands: a file, relative to the project's folder, and a line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Declaration:
    """A table or view that a source file declares, and the function that gives its rows.

    `query` gives the rows as they are stored, `branches` those of each flow before
    `expect_or_drop`. `flows` are the queries that it consists of: one, but for a streaming table
    or a sink.

    Attributes
    ----------
    shape
        The columns that the rows must have, and how the files are sorted.
    sink
        Where the rows go, if they leave the lakehouse.
    asks_moment
        Whether its source file asked for the moment of the run while it was loaded.
    changes
        The flow of change data that fills it, if one does.
    is_sql
        Whether all of its queries are texts, which are the same whenever they are asked for.
    """

    name: str
    kind: Kind
    place: Place
    query: Query
    branches: tuple[Branch, ...]
    flows: tuple[Flow, ...]
    comment: str | None
    properties: Mapping[str, str]
    expectations: tuple[AnyExpectation, ...]
    shape: Shape = field(default_factory=Shape)
    sink: Sink | None = None
    asks_moment: bool = False
    changes: ChangeFlow | None = None
    is_sql: bool = False

    @property
    def streams(self) -> dict[str, str]:
        """What the flows read as streams: alias to table, complete once `query` was called."""
        return {alias: table for flow in self.flows for alias, table in flow.streams.items()}

    @property
    def time_bound(self) -> TimeBound | None:
        """How far back the rows look, if the table properties declare it."""
        return TimeBound.from_properties(self.properties)

    @property
    def deterministic(self) -> bool:
        """Whether the same inputs must give the same rows; what the table property says."""
        return self.properties.get(DETERMINISTIC, "true") == "true"

    @property
    def quarantine(self) -> str | None:
        """The table that keeps the rows which expectations drop; None if they are not kept."""
        wanted = self.properties.get(QUARANTINE, "false") == "true"
        return quarantine_of(self.name) if wanted else None


@dataclass(frozen=True)
class SourceContext:
    """What source files are read with: folders, the schema of names without one, settings.

    Attributes
    ----------
    ingested
        The tables that ingestion fills.
    """

    folder: Path
    warehouse: Path
    database: str
    settings: PipelineSettings
    ingested: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DeclaredOutput:
    """A table, view or sink as it is declared, before its flows are known."""

    kind: Kind
    place: Place
    comment: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    shape: Shape = field(default_factory=Shape)
    sink: Sink | None = None
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True)
class Declared:
    """What source files declare, as far as it can be taken, and what is wrong with the rest.

    Attributes
    ----------
    refused
        Names that are declared wrongly: what reads them is not to blame.
    is_whole
        Whether all files were read to their ends: otherwise a name that is not there may be
        declared after all.
    """

    declarations: Mapping[str, Declaration]
    mistakes: tuple[DefinitionError, ...] = ()
    refused: frozenset[str] = frozenset()
    is_whole: bool = True


@dataclass(frozen=True)
class DeclaredFlow:
    """A flow with the name of its target: as it is written, and with a schema."""

    target: str
    qualified: str
    flow: Flow
    query: Query
    place: Place
