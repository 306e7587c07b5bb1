"""A project as one picture: a box for each table, model and sink, whatever their versions."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from sololakehouse.diagrams import Arrow, Box, Diagram
from sololakehouse.diagrams.diagram import Figure
from sololakehouse.errors import NotFoundError, RunError
from sololakehouse.lake import Lakehouse
from sololakehouse.lineage.drawing import COLOURS, RANKS, kind_of
from sololakehouse.lineage.graph import (
    FileNode,
    Lineage,
    ModelNode,
    Node,
    RunNode,
    SinkNode,
    TableNode,
)
from sololakehouse.lineage.impact import add_everything
from sololakehouse.lineage.reader import LineageReader

_SHAPES: dict[str, Figure] = {"landing file": "file", "model": "box", "sink": "file"}


@dataclass(frozen=True)
class Overview:
    """The boxes and arrows of a project, and why tables that belong here could not be read."""

    diagram: Diagram
    damaged: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what the picture shows."""
        return {
            "title": self.diagram.title,
            "boxes": [
                {"name": b.id, "kind": b.kind, "lines": list(b.lines), "selected": b.marked}
                for b in self.diagram.boxes
            ],
            "arrows": [{"from": a.start, "to": a.end} for a in self.diagram.arrows],
        }


def overview(lake: Lakehouse, select: Sequence[str] = (), steps: int | None = None) -> Overview:
    """Draw the project as it is now.

    A table is one box, with what its newest version was made from; so is a model, with what any
    of its versions was trained on. The landing files of a table are one box.

    Parameters
    ----------
    select
        Names of tables, models or sinks, or patterns such as `features.*`: these, what they were
        made from and what is built on them. None: everything.
    steps
        How far around the selected ones, in steps; None: all the way.

    Raises
    ------
    NotFoundError
        A name or pattern fits nothing.
    RunError
        Nothing was ingested or computed yet.
    """
    reader = LineageReader(lake)
    damaged = add_everything(reader)
    graph = reader.lineage("", "made from", ())
    current = _current(graph)
    boxes = {box.id: box for box in _boxes(graph, current)}
    if not boxes and not damaged:
        raise RunError("There is nothing to draw yet. Run 'slh ingest' and 'slh run' first.")
    arrows = list(_acyclic(_arrows(graph, current)))
    title = f"Lineage of {lake.project.settings.name}"
    if select:
        chosen = _chosen(boxes, select)
        near = _reached(chosen, arrows, steps, up=True) | _reached(chosen, arrows, steps, up=False)
        boxes = {n: replace(b, marked=n in chosen) for n, b in boxes.items() if n in near}
        arrows = [arrow for arrow in arrows if arrow.start in near and arrow.end in near]
        title = f"{title}: {', '.join(select)}"
    return Overview(Diagram(title, tuple(boxes.values()), tuple(arrows), COLOURS), tuple(damaged))


def _boxes(graph: Lineage, current: Container[str]) -> Iterator[Box]:
    """Give one box for all nodes of the same thing; runs are part of the model they trained."""
    things: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        if node.id in current and not isinstance(node, RunNode):
            things.setdefault(_thing(node, graph), []).append(node)
    for name, nodes in things.items():
        kind = kind_of(nodes[0])
        shape = _SHAPES.get(kind, "cylinder")
        yield Box(name, tuple(_lines(nodes)), kind, RANKS.get(kind), shape=shape)


def _thing(node: Node, graph: Lineage) -> str:
    """Return what a node is a version of; of a run the model that it trained."""
    match node:
        case TableNode():
            return node.table
        case ModelNode():
            return node.name
        case SinkNode():
            return node.sink
        case FileNode():
            tables = sorted({_thing(graph.nodes[e.made], graph) for e in graph.built[node.id]})
            return f"landing files of {', '.join(tables)}"
        case _:
            models = [_thing(graph.nodes[e.made], graph) for e in graph.built[node.id]]
            return models[0] if models else node.id


def _lines(nodes: Sequence[Node]) -> Iterator[str]:
    first = nodes[0]
    match first:
        case TableNode():
            yield first.table
            rows = "" if first.rows is None else f", {first.rows:,} rows"
            yield f"{first.what}{rows}"
            if first.dropped:
                yield "the table was dropped since"
        case ModelNode():
            yield first.name
            models = [node for node in nodes if isinstance(node, ModelNode)]
            staged = [m for m in models if m.stage in ("production", "staging")]
            yield from (f"version {m.version} in {m.stage}" for m in staged)
            if not staged:
                yield f"version {max(m.version for m in models)}, in no stage"
        case FileNode():
            folders = {str(PurePosixPath(n.path).parent) for n in nodes if isinstance(n, FileNode)}
            yield f"{folders.pop()}/" if len(folders) == 1 else "landing files"
            yield "1 file" if len(nodes) == 1 else f"{len(nodes):,} files"
        case _:
            yield first.title
            yield first.what


def _arrows(graph: Lineage, current: Container[str]) -> Iterator[Arrow]:
    """Give the arrows between different things, each once; of a table's newest version alone."""
    seen = set()
    for edge in graph.edges:
        ends = _thing(graph.nodes[edge.source], graph), _thing(graph.nodes[edge.made], graph)
        if ends[0] != ends[1] and ends not in seen and edge.made in current:
            seen.add(ends)
            yield Arrow(*ends)


def _current(graph: Lineage) -> set[str]:
    """Return the nodes that are no older version of a table, and no file of only such ones."""
    newest: dict[str, TableNode] = {}
    for node in graph.nodes.values():
        if isinstance(node, TableNode):
            known = newest.get(node.table, node)
            newest[node.table] = max(known, node, key=lambda n: (not n.dropped, n.rows_version))
    others = {n for n, node in graph.nodes.items() if not isinstance(node, TableNode | FileNode)}
    current = {node.id for node in newest.values()} | others
    return current | {edge.source for edge in graph.edges if edge.made in current}.intersection(
        n for n, node in graph.nodes.items() if isinstance(node, FileNode)
    )


def _acyclic(arrows: Iterable[Arrow]) -> Iterator[Arrow]:
    """Leave out arrows that would close a circle: a table may once have read what now reads it."""
    kept: dict[str, set[str]] = {}
    for arrow in arrows:
        if arrow.start not in _beyond(arrow.end, kept, None):
            kept.setdefault(arrow.start, set()).add(arrow.end)
            yield arrow


def _chosen(boxes: Mapping[str, Box], select: Sequence[str]) -> set[str]:
    names = [name for name, box in boxes.items() if box.kind != "landing file"]
    for pattern in select:
        if not any(fnmatchcase(name, pattern) for name in names):
            kinds = {"table": "", "model": "model", "sink": "sink"}
            raise NotFoundError.among(
                pattern, {kind: _named(boxes, name) for kind, name in kinds.items()}
            )
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in select)}


def _named(boxes: Mapping[str, Box], kind: str) -> list[str]:
    """Return the things of a kind by name; without a kind, tables: theirs is their schema."""
    others = ("model", "sink", "landing file")
    return sorted(
        name for name, box in boxes.items() if box.kind == kind or not (kind or box.kind in others)
    )


def _reached(
    chosen: Iterable[str], arrows: Iterable[Arrow], steps: int | None, *, up: bool
) -> set[str]:
    following: dict[str, set[str]] = {}
    for arrow in arrows:
        first, second = (arrow.start, arrow.end) if up else (arrow.end, arrow.start)
        following.setdefault(first, set()).add(second)
    return set().union(*(_beyond(one, following, steps) for one in chosen))


def _beyond(start: str, following: Mapping[str, set[str]], steps: int | None) -> set[str]:
    """Return what can be reached in so many steps, the start included."""
    found, newest = {start}, {start}
    while newest and (steps is None or steps > 0):
        newest = {after for one in newest for after in following.get(one, ())} - found
        found |= newest
        steps = None if steps is None else steps - 1
    return found
