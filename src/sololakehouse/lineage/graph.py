"""What was made from what: one graph of landing files, table versions, runs and models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import ClassVar, Literal

from sololakehouse.provenance import CommitRecord, TableVersion

Kind = Literal["landing file", "table", "training run", "model", "sink"]
Role = Literal["input", "earlier input", "restored", "landing file", "model", "training run"]
Direction = Literal["made from", "built on"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """What all nodes have, and every form of the graph shows.

    Attributes
    ----------
    title
        What people call it; of a model with its stage.
    what
        What it is or what made it, in lower case.
    at
        When it was committed or trained, in UTC; None if that is not known.
    fingerprint
        Hash of what decided it; of a landing file its SHA-256, as `sha256:...`.
    notes
        What a reader should know, such as that its rows were vacuumed.
    """

    kind: ClassVar[Kind]

    id: str
    title: str
    what: str
    at: datetime | None = None
    rows: int | None = None
    code_revision: str | None = None
    fingerprint: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FileNode(Node):
    """A landing file's content, as a commit took it; `path` is relative to the project."""

    kind: ClassVar[Kind] = "landing file"

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TableNode(Node):
    """A version of a table.

    Attributes
    ----------
    version
        The newest version that was read and has these rows.
    rows_version
        The version that made the rows; later ones with the same rows only arranged files.
    dropped
        Whether the table was dropped since; another one may have its name.
    record
        None if another writer made the rows, or nothing is known of the commit.
    """

    kind: ClassVar[Kind] = "table"

    table: str
    version: int
    rows_version: int
    table_id: str
    dropped: bool
    record: CommitRecord | None

    @property
    def deterministic(self) -> bool:
        """Whether the step gives the same rows each time; False if it was declared not to."""
        return self.record is None or self.record.details.get("deterministic") is not False


@dataclass(frozen=True, kw_only=True)
class RunNode(Node):
    """A run that trained one model; `run_id` is the command's, as in commit records."""

    kind: ClassVar[Kind] = "training run"

    mlflow_run_id: str
    run_id: str
    experiment: str
    role: str
    training_set: TableVersion
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ModelNode(Node):
    """A version of a registered model; `stage` is None if it never was in one."""

    kind: ClassVar[Kind] = "model"

    name: str
    version: int
    stage: str | None


@dataclass(frozen=True, kw_only=True)
class SinkNode(Node):
    """A place outside of the lakehouse that gets rows; `path` is None for the console.

    Time, rows and record are those of the newest batch.
    """

    kind: ClassVar[Kind] = "sink"

    sink: str
    path: str | None
    record: CommitRecord


@dataclass(frozen=True)
class Edge:
    """`made` was made from `source`; both are identifiers of nodes.

    An `earlier input` was read by a commit whose rows the version still holds beside newer ones.
    """

    made: str
    source: str
    role: Role


@dataclass(frozen=True)
class Lineage:
    """A graph without cycles, to be read from its roots in one direction.

    Attributes
    ----------
    asked
        What the person asked for.
    direction
        `made from`: down from the roots to what they were made from. `built on`: up from the roots
        to what is built on them.
    """

    asked: str
    direction: Direction
    roots: tuple[str, ...]
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    @cached_property
    def sources(self) -> Mapping[str, tuple[Edge, ...]]:
        """For each node the edges to what it was made from."""
        return self._edges_by("made")

    @cached_property
    def built(self) -> Mapping[str, tuple[Edge, ...]]:
        """For each node the edges from what is built on it."""
        return self._edges_by("source")

    def next_of(self, node: str) -> tuple[str, ...]:
        """Return the nodes that follow in the graph's direction, each once."""
        if self.direction == "made from":
            found = [edge.source for edge in self.sources[node]]
        else:
            found = [edge.made for edge in self.built[node]]
        return tuple(dict.fromkeys(found))

    @property
    def not_deterministic(self) -> list[str]:
        """The table versions whose step was declared not to be deterministic."""
        tables = (node for node in self.nodes.values() if isinstance(node, TableNode))
        return [node.title for node in tables if not node.deterministic]

    def _edges_by(self, end: Literal["made", "source"]) -> dict[str, tuple[Edge, ...]]:
        found: dict[str, list[Edge]] = {node: [] for node in self.nodes}
        for edge in self.edges:
            found[getattr(edge, end)].append(edge)
        return {node: tuple(edges) for node, edges in found.items()}
