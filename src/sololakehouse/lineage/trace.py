"""What a model, a run, a prediction table or any other table was made from."""

from __future__ import annotations

from dataclasses import replace

from sololakehouse.errors import RunError
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.row_history import TableCommits
from sololakehouse.lineage.graph import Lineage, Node, TableNode
from sololakehouse.lineage.reader import LineageReader
from sololakehouse.lineage.references import resolve


def trace(lake: Lakehouse, reference: str) -> Lineage:
    """Trace what a reference names down to the landing files.

    Parameters
    ----------
    reference
        A table, also as `schema.table@v3` or at a moment; a model as `NAME@production`,
        `NAME@staging` or `NAME@3`; the identifier of a command's run, or of a training run in
        MLflow. What a run made begins with that of which nothing else in the run was made.

    Raises
    ------
    NotFoundError
        Nothing has this name, or it has no such version: says what there is.
    UsageError
        It names a model without a version, or a moment without a time zone.
    RunError
        The log of the table that is named is damaged.
    """
    reader = LineageReader(lake)
    graph = reader.lineage(reference, "made from", resolve(reader, reference))
    nodes = {node_id: _noted(node, reader) for node_id, node in graph.nodes.items()}
    roots = tuple(root for root in graph.roots if not graph.built[root])
    return replace(graph, roots=roots, nodes=nodes)


def _noted(node: Node, reader: LineageReader) -> Node:
    """Note on a version that its rows cannot be read any more; the newest ones always can."""
    if not isinstance(node, TableNode) or node.dropped:
        return node
    commits = reader.commits(node.table, node.table_id)
    if node.version == commits.newest or not _is_lost(commits, node.version):
        return node
    return replace(node, notes=(*node.notes, "its rows were vacuumed"))


def _is_lost(commits: TableCommits, version: int) -> bool:
    try:
        return commits.has_lost_files(version)
    except RunError:
        return False
