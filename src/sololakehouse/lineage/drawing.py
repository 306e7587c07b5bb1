"""The lineage graph as a diagram: data flows from left to right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from sololakehouse.diagrams import Arrow, Box, Diagram
from sololakehouse.lake.history import instant
from sololakehouse.lineage.graph import FileNode, Lineage, Node, TableNode

HASH_DIGITS = 12
_FILES_SHOWN = 12
RANKS = {
    "landing file": 0,
    "bronze": 1,
    "silver": 2,
    "gold": 3,
    "features": 3,
    "training": 4,
    "training run": 5,
    "model": 6,
    "inference": 7,
    "monitoring": 8,
    "sink": 9,
}
COLOURS = {
    "landing file": "#f1f3f5",
    "bronze": "#ffd8a8",
    "silver": "#dee2e6",
    "gold": "#ffec99",
    "features": "#b2f2bb",
    "training": "#d0bfff",
    "training run": "#a5d8ff",
    "model": "#ffc9c9",
    "inference": "#99e9f2",
    "monitoring": "#eebefa",
    "sink": "#fcc2d7",
    "table": "#ffffff",
}
_LABELS = {"restored": "restored", "earlier input": "earlier"}


def diagram(lineage: Lineage) -> Diagram:
    """Draw the graph; the landing files of the same tables are one box."""
    boxes = [
        _node_box(node, marked=node.id in lineage.roots)
        for node in lineage.nodes.values()
        if not isinstance(node, FileNode)
    ]
    arrows = [
        Arrow(edge.source, edge.made, _LABELS.get(edge.role, ""), dashed=edge.role in _LABELS)
        for edge in lineage.edges
        if edge.role != "landing file"
    ]
    for box, tables in _file_boxes(lineage):
        boxes.append(box)
        arrows += [Arrow(box.id, table) for table in tables]
    title = f"What {lineage.asked} was made from"
    if lineage.direction == "built on":
        title = f"What is built on {lineage.asked}"
    return Diagram(title, tuple(boxes), tuple(arrows), COLOURS)


def short_hash(text: str, digits: int | None = HASH_DIGITS) -> str:
    """Shorten a hash (None: not at all), and keep what stands before and behind it.

    Examples
    --------
    >>> short_hash("sha256:0123456789abcdef", 4), short_hash("0123456789abcdef+dirty", 4)
    ('sha256:0123', '0123+dirty')
    """
    before, colon, digest = text.rpartition(":")
    digest, plus, behind = digest.partition("+")
    return f"{before}{colon}{digest[:digits]}{plus}{behind}"


def _node_box(node: Node, *, marked: bool) -> Box:
    kind = kind_of(node)
    return Box(node.id, tuple(_lines(node)), kind, RANKS.get(kind), marked)


def kind_of(node: Node) -> str:
    """Return what decides a node's colour: its kind, of a table its schema."""
    if not isinstance(node, TableNode):
        return node.kind
    schema = node.table.partition(".")[0]
    return schema if schema in RANKS else "table"


def _lines(node: Node) -> Iterator[str]:
    yield node.title
    rows = [f"{node.rows:,} rows"] if node.rows is not None else []
    yield ", ".join([node.what, *rows])
    if node.at is not None:
        yield instant(node.at.replace(microsecond=0))
    if node.code_revision is not None:
        yield f"code {short_hash(node.code_revision)}"
    if node.fingerprint is not None:
        yield f"fingerprint {short_hash(node.fingerprint)}"
    yield from node.notes


def _file_boxes(lineage: Lineage) -> Iterator[tuple[Box, tuple[str, ...]]]:
    """Give a box for all files that the same tables took, with the identifiers of these tables."""
    groups: dict[tuple[str, ...], list[FileNode]] = {}
    for node in lineage.nodes.values():
        if isinstance(node, FileNode):
            tables = tuple(edge.made for edge in lineage.built[node.id])
            groups.setdefault(tables, []).append(node)
    for tables, files in groups.items():
        marked = any(file.id in lineage.roots for file in files)
        lines = tuple(_file_lines(files))
        yield (
            Box(f"files {files[0].id}", lines, "landing file", RANKS["landing file"], marked),
            tables,
        )


def _file_lines(files: Sequence[FileNode]) -> Iterator[str]:
    folders = {str(PurePosixPath(file.path).parent) for file in files}
    folder = f"{folders.pop()}/" if len(folders) == 1 and len(files) > 1 else ""
    if len(files) > 1:
        yield f"{folder or 'landing files'} ({len(files):,} files)"
    for file in files[:_FILES_SHOWN]:
        yield f"{file.path.removeprefix(folder)} {short_hash(file.sha256)}"
    if len(files) > _FILES_SHOWN:
        yield f"and {len(files) - _FILES_SHOWN:,} more"
