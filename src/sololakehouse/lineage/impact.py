"""What is built on a table, a model or a run, as the lake is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from sololakehouse.errors import RunError
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.system import is_system
from sololakehouse.lineage.graph import Kind, Lineage, ModelNode, Node, Role, TableNode
from sololakehouse.lineage.reader import LineageReader
from sololakehouse.lineage.references import resolve


@dataclass(frozen=True)
class Impact:
    """What is built on something.

    Attributes
    ----------
    lineage
        Up from what was asked for; of a table without a version, from each version that something
        is built on, the newest first.
    reads
        For each node the versions of the table that it was made from; empty for models and runs.
    stale
        The nodes that were made from an older version than the newest.
    damaged
        Why tables that may belong here could not be read.
    """

    lineage: Lineage
    reads: Mapping[str, tuple[str, ...]]
    stale: frozenset[str]
    damaged: tuple[str, ...]

    @property
    def built(self) -> list[Node]:
        """The nodes that are built on what was asked for."""
        nodes = self.lineage.nodes.items()
        return [node for node_id, node in nodes if node_id not in self.lineage.roots]

    @property
    def summary(self) -> str:
        """How many of each kind there are, which models are in production, and what is stale."""
        built = self.built
        if not built:
            return f"Nothing is built on {self.lineage.asked}."
        names = {node.table if isinstance(node, TableNode) else node.id: node for node in built}
        found = Counter(node.kind for node in names.values())
        counts = [
            f"{found[kind]} {kind}{'s' if found[kind] > 1 else ''}"
            for kind in get_args(Kind)
            if found[kind]
        ]
        models = [node for node in built if isinstance(node, ModelNode)]
        production = [model.id for model in models if model.stage == "production"]
        told = [f"Built on {self.lineage.asked}: {', '.join(counts)}."]
        told += [f"In production: {', '.join(production)}."] if production else []
        told += [f"Stale: {len(self.stale)} of {len(built)}."] if self.stale else []
        return " ".join(told)

    def as_json(self) -> dict[str, Any]:
        """Return what the graph does not say."""
        reads = {node: list(read) for node, read in self.reads.items()}
        return {"reads": reads, "stale": sorted(self.stale)}


def impact(lake: Lakehouse, reference: str) -> Impact:
    """Find what is built on what a reference names.

    Looked at are the newest version of each table, all versions of models whatever their stage,
    what these were trained on, and sinks.

    Parameters
    ----------
    reference
        As in `trace`. A table without a version means all of its versions; with one, what read
        exactly that version.

    Raises
    ------
    NotFoundError, UsageError, RunError
        As `trace` does.
    """
    reader = LineageReader(lake, files=False)
    asked = resolve(reader, reference)
    damaged = add_everything(reader)
    graph = reader.lineage(reference, "built on", asked)
    table, at, _ = reference.partition("@")
    versions = _versions(graph, table)
    of_all = bool(versions) and not at
    wanted = _read_by_others(graph, versions) if of_all else asked
    above = _above(graph, wanted, stop=versions if of_all else ())
    reads = _reads(graph, versions, above)
    stale = {node for node, read in reads.items() if read and read != (versions[0],)}
    part = _part(graph, [one for one in wanted if one not in above], above)
    newest = graph.nodes[versions[0]] if versions else None
    nodes = {
        node_id: _noted(node, reader, newest if node_id in stale else None)
        for node_id, node in part.nodes.items()
    }
    return Impact(replace(part, nodes=nodes), reads, frozenset(stale), tuple(damaged))


def add_everything(reader: LineageReader) -> list[str]:
    """Add the newest version of each table, all models and sinks.

    Returns
    -------
    Why some tables could not be read.
    """
    damaged = []
    for table in reader.lake.table_names():
        if not is_system(table):
            try:
                reader.existing(table)
            except RunError as error:
                damaged.append(str(error))
    for known in reader.trained:
        reader.model(known.model)
    reader.sinks()
    return damaged


def _versions(graph: Lineage, table: str) -> list[str]:
    """Return the versions of a table that the graph has, newest first; none if it is no table."""
    tables = (node for node in graph.nodes.values() if isinstance(node, TableNode))
    same = [node for node in tables if node.table == table and not node.dropped]
    return [node.id for node in sorted(same, key=lambda node: node.rows_version, reverse=True)]


def _read_by_others(graph: Lineage, versions: Sequence[str]) -> list[str]:
    """Return the newest version, and the older ones that something else than the table reads."""
    newest, *older = versions
    return [newest, *(v for v in older if any(e.made not in versions for e in graph.built[v]))]


def _above(
    graph: Lineage, roots: Iterable[str], stop: Container[str], leaving: Container[Role] = ()
) -> dict[str, None]:
    """Return what is built on some nodes, not going on from those where to stop."""
    found: dict[str, None] = {}
    waiting = list(roots)
    while waiting:
        for edge in graph.built[waiting.pop()]:
            if edge.made not in found and edge.made not in stop and edge.role not in leaving:
                found[edge.made] = None
                waiting.append(edge.made)
    return found


def _part(graph: Lineage, roots: Sequence[str], above: Container[str]) -> Lineage:
    nodes = {one: node for one, node in graph.nodes.items() if one in roots or one in above}
    edges = (edge for edge in graph.edges if edge.made in above and edge.source in nodes)
    return replace(graph, roots=tuple(roots), nodes=nodes, edges=tuple(edges))


def _reads(
    graph: Lineage, versions: Sequence[str], above: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return which versions each node was made from, newest first.

    What an earlier commit read counts only if the newest one read nothing of the table.
    """
    reads: dict[str, tuple[str, ...]] = dict.fromkeys(above, ())
    for leaving in (("earlier input",), ()):
        still = {node for node, read in reads.items() if not read}
        for version in versions:
            for node in _above(graph, [version], set(versions), leaving):
                if node in still:
                    reads[node] += (version,)
    return reads


def _noted(node: Node, reader: LineageReader, newest: Node | None) -> Node:
    notes = []
    if newest is not None:
        notes.append(f"stale: {newest.title} is newer")
    if isinstance(node, TableNode) and not node.dropped:
        version = reader.commits(node.table, node.table_id).newest
        if node.version < version:
            notes.append(f"v{version} took its place")
    return replace(node, notes=(*node.notes, *notes))
