"""A small table, as a grid of cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sololakehouse.diagrams.block import Block
from sololakehouse.diagrams.figures import DETAIL_SIZE
from sololakehouse.diagrams.font import LINE_HEIGHT, text_size
from sololakehouse.diagrams.palette import FILLS, ink_of
from sololakehouse.diagrams.scene import INK, Element, Line, Shape, Text, element_id

_SIDE = 12.0
_HIGH = DETAIL_SIZE * LINE_HEIGHT + 14
_PEN = 1.5


@dataclass(frozen=True)
class TableRow:
    """A row of cells; `name` is what arrows call it, None: none leads to it."""

    cells: tuple[str, ...]
    fill: str | None = None
    crossed: bool = False
    name: str | None = None


def table(name: str, header: Sequence[str], rows: Sequence[TableRow], *, named: bool) -> Block:
    """Draw a table; all rows have as many cells as the header.

    Parameters
    ----------
    named
        Whether arrows to `name` lead to it.
    """
    group = element_id("group", name)
    lines = [TableRow(tuple(header), FILLS["gray"]), *rows]
    columns = zip(*(line.cells for line in lines), strict=True)
    widths = [max(text_size([c], DETAIL_SIZE)[0] for c in cells) + 2 * _SIDE for cells in columns]
    lefts = [sum(widths[:index]) for index in range(len(widths))]
    width, height = sum(widths), len(lines) * _HIGH
    elements: list[Element] = []
    for number, line in enumerate(lines):
        elements += _row(f"{name} {number}", line, number * _HIGH, lefts, width, group)
    for number, x in enumerate(lefts[1:]):
        elements.append(_rule(f"{name} column {number}", (x, 0), (x, height), group))
    for number in range(1, len(lines)):
        y = number * _HIGH
        elements.append(_rule(f"{name} line {number}", (0, y), (width, y), group))
    frame = Shape(
        id=element_id("box" if named else "grid", name),
        kind="rectangle",
        x=0,
        y=0,
        width=width,
        height=height,
        stroke_width=_PEN,
        rounded=False,
        group=group,
        name=name if named else None,
    )
    return Block(width, height, (*elements, frame))


def _row(
    name: str, row: TableRow, y: float, lefts: Sequence[float], width: float, group: str
) -> Iterator[Element]:
    if row.fill or row.name:
        yield Shape(
            id=element_id("box", row.name) if row.name else element_id("row", name),
            kind="rectangle",
            x=0,
            y=y,
            width=width,
            height=_HIGH,
            fill=row.fill,
            stroke=None,
            rounded=False,
            group=group,
            name=row.name,
        )
    for left, cell in zip(lefts, row.cells, strict=True):
        wide, high = text_size([cell], DETAIL_SIZE)
        yield Text(
            id=element_id("text", name, str(left)),
            x=left + _SIDE,
            y=y + (_HIGH - high) / 2,
            width=wide,
            height=high,
            lines=(cell,),
            size=DETAIL_SIZE,
            align="left",
            colour=ink_of("gray") if row.crossed else INK,
            group=group,
        )
    if row.crossed:
        middle = y + _HIGH / 2 + 1
        yield Line(
            id=element_id("cross", name),
            points=((_SIDE / 2, middle), (width - _SIDE / 2, middle)),
            stroke=ink_of("red"),
            stroke_width=_PEN,
            group=group,
        )


def _rule(name: str, start: tuple[float, float], end: tuple[float, float], group: str) -> Line:
    return Line(id=element_id("rule", name), points=(start, end), stroke_width=1, group=group)
