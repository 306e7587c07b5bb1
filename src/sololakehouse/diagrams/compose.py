"""A description becomes a drawing: each thing finds its place, then arrows lead between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from graphlib import CycleError
from itertools import pairwise

from sololakehouse.diagrams import description as said
from sololakehouse.diagrams.arrows import Joint, arrow
from sololakehouse.diagrams.block import Align, Block, column, padded, row
from sololakehouse.diagrams.diagram import Arrow, Box, Diagram
from sololakehouse.diagrams.figures import (
    DETAIL_SIZE,
    HEADING_SIZE,
    TITLE_SIZE,
    figure,
    note,
    words,
)
from sololakehouse.diagrams.flow import flow
from sololakehouse.diagrams.font import LINE_HEIGHT, text_size
from sololakehouse.diagrams.palette import FILLS, ink_of
from sololakehouse.diagrams.scene import Element, Scene, Shape, element_id, extent
from sololakehouse.diagrams.table import TableRow, table
from sololakehouse.diagrams.timeline import Band, Event, timeline
from sololakehouse.errors import ConfigError, NotFoundError

_GAP, _ARROW_GAP, _LABEL_GAP, _BELOW_TITLE = 22.0, 52.0, 60.0, 26.0
_FRAME = 16.0


def compose(description: said.Description) -> Scene:
    """Draw a description.

    Raises
    ------
    ConfigError
        Two things have one name, or the arrows of a flow lead in a circle.
    NotFoundError
        An arrow begins or ends at something that is not there.
    """
    joints = [joint for arrows in description.arrows for joint in arrows.joints()]
    composer = _Composer(joints)
    elements = list(composer.stack(description.draw, "draw", description.gap, "middle").elements)
    shapes = _named(elements, description.title)
    for number, joint in enumerate(joints):
        ends = [_found(end, shapes, description.title) for end in (joint.start, joint.end)]
        if joint not in composer.drawn:
            elements += arrow(number, joint, ends[0], ends[1], elements)
    alt = " ".join(description.alt.split())
    return Scene(description.title, alt, (*_title(description.title, elements), *elements))


def _title(title: str, below: Sequence[Element]) -> Iterator[Element]:
    """Put the title above the middle of everything."""
    boxes = [extent(element) for element in below]
    middle = (min(box[0] for box in boxes) + max(box[2] for box in boxes)) / 2
    block = words("title", [title], HEADING_SIZE)
    top = min(box[1] for box in boxes) - _BELOW_TITLE - block.height
    return block.at(middle - block.width / 2, top)


def _named(elements: Sequence[object], title: str) -> dict[str, Shape]:
    shapes = [e for e in elements if isinstance(e, Shape) and e.name is not None]
    names = Counter(shape.name for shape in shapes)
    for name, count in names.items():
        if count > 1:
            raise ConfigError(
                f"{title}: {count} things are called {name!r}. Give each an 'id' of its own."
            )
    return {shape.name: shape for shape in shapes if shape.name is not None}


def _found(name: str, shapes: dict[str, Shape], title: str) -> Shape:
    if name not in shapes:
        raise NotFoundError.of("thing", name, shapes, where=f"{title}: arrows")
    return shapes[name]


class _Composer:
    """Makes blocks of things; `drawn` are the arrows that a flow has drawn already."""

    def __init__(self, joints: Sequence[Joint]) -> None:
        self._joints = joints
        self.drawn: set[Joint] = set()

    def stack(
        self, items: Sequence[said.Item], path: str, gap: float | None, align: Align
    ) -> Block:
        """Put things under one another, with room for the arrows and labels between them."""
        blocks = [self.block(item, f"{path}.{number}") for number, item in enumerate(items)]
        return column(blocks, self._gaps(items, gap, across=False), align)

    def block(self, item: said.Item, path: str) -> Block:
        """Draw one thing, which `path` tells from others that have no name."""
        match item:
            case said.Box():
                return figure(
                    item.name,
                    item.box,
                    shape=item.shape,
                    fill=FILLS[item.colour],
                    marked=item.marked,
                    hatched=item.hatched,
                )
            case said.Words():
                size = TITLE_SIZE if item.large else DETAIL_SIZE
                return words(path, item.text, size, ink_of(item.colour))
            case said.Note():
                return note(item.name, item.note)
            case said.Row():
                blocks = [self.block(one, f"{path}.{n}") for n, one in enumerate(item.row)]
                return row(blocks, self._gaps(item.row, item.gap, across=True), item.align)
            case said.Column():
                return self.stack(item.column, path, item.gap, item.align)
            case said.Frame():
                return _framed(self.stack(item.items, path, item.gap, item.align), item)
            case said.Flow():
                return self._flow(item)
            case said.Table():
                return _table(item)
            case said.Timeline():
                return _timeline(item)

    def _gaps(self, items: Sequence[said.Item], gap: float | None, *, across: bool) -> list[float]:
        names = [set(_names(item)) for item in items]
        bare = _GAP if gap is None else gap
        return [
            max([bare, *self._rooms(first, second, across=across)])
            for first, second in pairwise(names)
        ]

    def _rooms(self, first: set[str], second: set[str], *, across: bool) -> Iterator[float]:
        """Give the room that each arrow between two neighbours needs."""
        for joint in self._joints:
            ends = {joint.start, joint.end}
            if not (ends & first and ends & second) or joint.around:
                continue
            width, _ = text_size(joint.label, DETAIL_SIZE)
            high = len(joint.label) * DETAIL_SIZE * LINE_HEIGHT
            label = (width if across else high) if joint.label else 0.0
            yield _LABEL_GAP + label if label else _ARROW_GAP

    def _flow(self, item: said.Flow) -> Block:
        names = {box.name for box in item.flow}
        inside = {
            Arrow(j.start, j.end, "\n".join(j.label), j.dashed): j
            for j in self._joints
            if {j.start, j.end} <= names and not j.around
        }
        self.drawn |= set(inside.values())
        boxes = tuple(
            Box(box.name, box.box, box.colour, None, box.marked, box.shape, box.hatched)
            for box in item.flow
        )
        diagram = Diagram("", boxes, tuple(inside), FILLS)
        try:
            return flow(diagram, inside, downwards=item.direction == "down")
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise ConfigError(
                f"The arrows of a flow lead in a circle: {circle}. Say of one of them 'around: "
                "right', or put these boxes into rows and columns."
            ) from error


def _framed(inside: Block, frame: said.Frame) -> Block:
    caption = words(f"frame {frame.name}", [frame.frame], DETAIL_SIZE, ink_of(frame.colour))
    filled = column([caption, inside], [12.0])
    whole = padded(filled, _FRAME, _FRAME - 4, _FRAME, _FRAME)
    edge = Shape(
        id=element_id("box", frame.name),
        kind="rectangle",
        x=0,
        y=0,
        width=whole.width,
        height=whole.height,
        stroke=ink_of(frame.colour),
        stroke_width=1.5,
        dashed=frame.dashed,
        name=frame.name,
    )
    return Block(whole.width, whole.height, (edge, *whole.elements))


def _table(item: said.Table) -> Block:
    rows = [
        TableRow(
            line.cells,
            None if line.colour == "white" else FILLS[line.colour],
            line.crossed,
            line.id or None,
        )
        for line in item.rows
    ]
    grid = table(item.name, item.table, rows, named=not item.caption)
    if not item.caption:
        return grid
    whole = column([words(f"table {item.name}", [item.caption]), grid], [6.0])
    around = Shape(
        id=element_id("box", item.name),
        kind="rectangle",
        x=0,
        y=0,
        width=whole.width,
        height=whole.height,
        stroke=None,
        rounded=False,
        name=item.name,
    )
    return Block(whole.width, whole.height, (around, *whole.elements))


def _timeline(item: said.Timeline) -> Block:
    events = [
        Event(e.name, e.at, e.text, FILLS[e.colour], e.crossed, e.cut, e.marked)
        for e in item.timeline
    ]
    bands = [Band(b.first, b.last, b.text, FILLS[b.colour]) for b in item.bands]
    return timeline(item.id, events, bands)


def _names(item: said.Item) -> Iterator[str]:
    """Give what arrows may call a thing, and all that is in it."""
    match item:
        case said.Row():
            inside: Sequence[said.Item] = item.row
        case said.Column():
            inside = item.column
        case said.Frame():
            yield item.name
            inside = item.items
        case said.Flow():
            inside = item.flow
        case said.Timeline():
            yield from (event.name for event in item.timeline)
            return
        case said.Table():
            yield item.name
            yield from (line.id for line in item.rows if line.id)
            return
        case said.Words():
            return
        case _:
            yield item.name
            return
    for one in inside:
        yield from _names(one)
