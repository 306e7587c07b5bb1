"""The graph of a pipeline: which declaration reads which table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.pipelines.declarations import Declaration

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame


@dataclass(frozen=True)
class Node:
    """A declaration with its lazy DataFrame.

    Attributes
    ----------
    reads
        Names of the declared views and tables and of the lakehouse's tables that it reads.
    names
        What the names in its plan, which may lack the schema, stand for.
    definition
        Hash of the plan and of the plans of the views that it reads.
    code
        The same, but whatever the moment of the run is.
    streams
        Names in the plan that stand for the new rows of a table, with the table.
    as_of
        The moment of the run (ISO 8601, in UTC) if the query or a view that it reads asks for it.
    parameters
        Hash of what its flow of change data was told; None without such a flow.
    marks
        The rows of all flows before any is dropped; see `branches`. None if none is.
    """

    declaration: Declaration
    frame: DataFrame
    reads: tuple[str, ...]
    names: Mapping[str, str]
    definition: str
    code: str
    streams: Mapping[str, str]
    as_of: str | None = None
    parameters: str | None = None
    marks: DataFrame | None = None

    @property
    def name(self) -> str:
        """Qualified name of the table, or one-part name of the view."""
        return self.declaration.name

    def column_types(self) -> dict[str, str]:
        """Return names and types of the columns that the query gives now, as Spark SQL has them."""
        return {field.name: field.dataType.simpleString() for field in self.frame.schema.fields}

    @property
    def is_view(self) -> bool:
        """Whether this is a temporary view, which is computed where it is read."""
        return self.declaration.kind == "temporary view"

    @property
    def is_stream(self) -> bool:
        """Whether new rows are appended to the table that is there."""
        return self.declaration.kind == "streaming table"

    @property
    def is_sink(self) -> bool:
        """Whether new rows leave the lakehouse."""
        return self.declaration.kind == "sink"


@dataclass(frozen=True)
class Graph:
    """The nodes of a pipeline, each after those that it reads."""

    nodes: tuple[Node, ...]

    def tables_read(self, node: Node) -> list[str]:
        """Return the tables that a node reads, directly or through views, sorted."""
        by_name = {other.name: other for other in self.nodes}
        found: set[str] = set()
        for name in node.reads:
            source = by_name.get(name)
            found |= set(self.tables_read(source)) if source and source.is_view else {name}
        return sorted(found)

    def views_read(self, node: Node) -> dict[str, Node]:
        """Return the temporary views that a node reads, directly or through others, in order."""
        found = set(node.reads)
        for other in reversed(self.nodes):
            if other.is_view and other.name in found:
                found |= set(other.reads)
        return {other.name: other for other in self.nodes if other.is_view and other.name in found}
