"""Boxes, cylinders, files and people with text in them, notes, and plain text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from sololakehouse.diagrams.block import Block
from sololakehouse.diagrams.diagram import Figure
from sololakehouse.diagrams.font import text_size
from sololakehouse.diagrams.palette import stroke_of
from sololakehouse.diagrams.scene import INK, Element, Line, Shape, Text, element_id

TITLE_SIZE, DETAIL_SIZE, HEADING_SIZE = 20.0, 16.0, 26.0
_PEN, _MARKED_PEN = 1.5, 3.5
_SIDE, _ABOVE = 16.0, 12.0
_CAP = 9.0
_FOLD = 18.0
_HEAD, _SHOULDERS = 26.0, 48.0
_NOTE, _NOTE_PEN = "#fff3bf", "#a15c00"


def figure(
    name: str,
    lines: Sequence[str],
    *,
    shape: Figure = "box",
    fill: str,
    marked: bool = False,
    hatched: bool = False,
) -> Block:
    """Draw a figure with text in it: the first line larger, as its title.

    Parameters
    ----------
    name
        What arrows call it; unique within the drawing.
    fill
        As `#rrggbb`; its pen goes with it.
    marked
        Whether a thick pen draws it.
    """
    width, height = _text_room(lines)
    pen = _MARKED_PEN if marked else _PEN
    return _SHAPES[shape](_Inside(name, tuple(lines), width, height), fill, pen, hatched)


class _Inside:
    """The text in a figure, and how its elements are called."""

    def __init__(self, name: str, lines: tuple[str, ...], width: float, height: float) -> None:
        self.name = name
        self.lines = lines
        self.width = width
        self.height = height
        self.anchor = element_id("box", name)
        self.group = element_id("group", name)

    def text(self, x: float, y: float) -> Iterator[Text]:
        """Write the lines around the point x, from y downwards, each size as one text."""
        for part, (lines, size) in enumerate(_sizes(self.lines)):
            width, height = text_size(lines, size)
            yield Text(
                id=element_id("text", self.name, *(["details"] if part else [])),
                x=x - width / 2,
                y=y,
                width=width,
                height=height,
                lines=tuple(lines),
                size=size,
                group=self.group,
            )
            y += height

    def frame(self, width: float, height: float) -> Shape:
        """Give the rectangle that arrows lead to, without drawing it."""
        return Shape(
            id=self.anchor,
            kind="rectangle",
            x=0,
            y=0,
            width=width,
            height=height,
            stroke=None,
            rounded=False,
            group=self.group,
            name=self.name,
        )

    def part(self, of: str) -> str:
        return element_id(of, self.name)


def _box(inside: _Inside, fill: str, pen: float, hatched: bool) -> Block:
    width, height = inside.width + 2 * _SIDE, inside.height + 2 * _ABOVE
    return Block(
        width, height, tuple(_plain(inside, "rectangle", width, height, fill, pen, hatched))
    )


def _ellipse(inside: _Inside, fill: str, pen: float, hatched: bool) -> Block:
    width, height = inside.width * 1.2 + 2 * _SIDE, inside.height * 1.3 + 2 * _ABOVE
    return Block(width, height, tuple(_plain(inside, "ellipse", width, height, fill, pen, hatched)))


def _plain(
    inside: _Inside,
    kind: Literal["rectangle", "ellipse"],
    width: float,
    height: float,
    fill: str,
    pen: float,
    hatched: bool,
) -> Iterator[Element]:
    """Draw one shape; a text of one size is bound to it, so that both stay together."""
    texts = list(inside.text(width / 2, (height - inside.height) / 2))
    single = len(texts) == 1
    group = None if single else inside.group
    yield Shape(
        id=inside.anchor,
        kind=kind,
        x=0,
        y=0,
        width=width,
        height=height,
        fill=fill,
        stroke=stroke_of(fill),
        stroke_width=pen,
        hatched=hatched,
        group=group,
        name=inside.name,
    )
    for text in texts:
        yield _in_container(text, inside.anchor) if single else text


def _in_container(text: Text, container: str) -> Text:
    return replace(text, container=container, group=None)


def _cylinder(inside: _Inside, fill: str, pen: float, hatched: bool) -> Block:
    width, height = inside.width + 2 * _SIDE, inside.height + 4 * _CAP + _ABOVE - 2
    stroke = stroke_of(fill)

    def cap(part: str, y: float) -> Shape:
        return Shape(
            id=inside.part(part),
            kind="ellipse",
            x=0,
            y=y,
            width=width,
            height=2 * _CAP,
            fill=fill,
            stroke=stroke,
            stroke_width=pen,
            hatched=hatched,
            group=inside.group,
        )

    body = Shape(
        id=inside.part("body"),
        kind="rectangle",
        x=0,
        y=_CAP,
        width=width,
        height=height - 2 * _CAP,
        fill=fill,
        stroke=None,
        rounded=False,
        hatched=hatched,
        group=inside.group,
    )
    sides = [
        Line(
            id=inside.part(side),
            points=((x, _CAP), (x, height - _CAP)),
            stroke=stroke,
            stroke_width=pen,
            group=inside.group,
        )
        for side, x in (("left", 0.0), ("right", width))
    ]
    bottom, top = cap("bottom", height - 2 * _CAP), cap("top", 0)
    texts = inside.text(width / 2, 2 * _CAP + _ABOVE / 2 + 2)
    return Block(width, height, (bottom, body, *sides, top, inside.frame(width, height), *texts))


def _file(inside: _Inside, fill: str, pen: float, hatched: bool) -> Block:
    width, height = inside.width + 2 * _SIDE + _FOLD / 2, inside.height + 2 * _ABOVE + 4
    fold = width - _FOLD
    outline = ((0, 0), (fold, 0), (width, _FOLD), (width, height), (0, height), (0, 0))
    page, dog_ear = (
        Line(
            id=inside.part(part),
            points=tuple((float(x), float(y)) for x, y in points),
            fill=fill if part == "page" else None,
            hatched=hatched,
            stroke=stroke_of(fill),
            stroke_width=pen,
            group=inside.group,
        )
        for part, points in (
            ("page", outline),
            ("fold", ((fold, 0), (fold, _FOLD), (width, _FOLD))),
        )
    )
    texts = inside.text(width / 2 - _FOLD / 4, (height - inside.height) / 2)
    return Block(width, height, (page, dog_ear, inside.frame(width, height), *texts))


def _person(inside: _Inside, fill: str, pen: float, hatched: bool) -> Block:
    width = max(inside.width, _SHOULDERS)
    middle, neck, waist = width / 2, _HEAD + 3, _HEAD + 27
    head = Shape(
        id=inside.part("head"),
        kind="ellipse",
        x=middle - _HEAD / 2,
        y=0,
        width=_HEAD,
        height=_HEAD,
        fill=fill,
        stroke=stroke_of(fill),
        stroke_width=pen,
        hatched=hatched,
        group=inside.group,
    )
    half = _SHOULDERS / 2
    turns = [math.pi * step / 6 for step in range(7)]
    arc = [(middle - half * math.cos(t), waist - (waist - neck) * math.sin(t)) for t in turns]
    body = Line(
        id=inside.part("body"),
        points=(*arc, arc[0]),
        fill=fill,
        hatched=hatched,
        stroke=stroke_of(fill),
        stroke_width=pen,
        group=inside.group,
    )
    height = waist + 4 + inside.height
    frame = inside.frame(width, height)
    return Block(width, height, (head, body, frame, *inside.text(middle, waist + 4)))


_SHAPES: dict[str, Callable[[_Inside, str, float, bool], Block]] = {
    "box": _box,
    "cylinder": _cylinder,
    "file": _file,
    "person": _person,
    "ellipse": _ellipse,
}


def note(name: str, lines: Sequence[str]) -> Block:
    """Draw a sticky note."""
    width, height = text_size(lines, DETAIL_SIZE)
    whole, high, anchor = width + 24, height + 18, element_id("box", name)
    paper = Shape(
        id=anchor,
        kind="rectangle",
        x=0,
        y=0,
        width=whole,
        height=high,
        fill=_NOTE,
        stroke=_NOTE_PEN,
        dashed=True,
        rounded=False,
        name=name,
    )
    text = Text(
        id=element_id("text", name),
        x=12,
        y=9,
        width=width,
        height=height,
        lines=tuple(lines),
        size=DETAIL_SIZE,
        container=anchor,
    )
    return Block(whole, high, (paper, text))


def words(
    name: str,
    lines: Sequence[str],
    size: float = DETAIL_SIZE,
    colour: str = INK,
    align: Literal["left", "center", "right"] = "center",
) -> Block:
    """Write text without anything around it."""
    width, height = text_size(lines, size)
    text = Text(
        id=element_id("words", name),
        x=0,
        y=0,
        width=width,
        height=height,
        lines=tuple(lines),
        size=size,
        align=align,
        colour=colour,
    )
    return Block(width, height, (text,))


def _sizes(lines: Sequence[str]) -> list[tuple[Sequence[str], float]]:
    parts = [(lines[:1], TITLE_SIZE), (lines[1:], DETAIL_SIZE)]
    return [(part, size) for part, size in parts if part]


def _text_room(lines: Sequence[str]) -> tuple[float, float]:
    sizes = [text_size(part, size) for part, size in _sizes(lines)]
    return max((width for width, _ in sizes), default=0.0), sum(height for _, height in sizes)
