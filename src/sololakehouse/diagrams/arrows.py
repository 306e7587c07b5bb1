"""Arrows between things that have their places."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sololakehouse.diagrams.figures import DETAIL_SIZE
from sololakehouse.diagrams.font import text_size
from sololakehouse.diagrams.palette import ink_of
from sololakehouse.diagrams.scene import (
    Element,
    Line,
    Point,
    Shape,
    Text,
    element_id,
    extent,
    number_of,
)

GAP = 6.0
Side = Literal["left", "right"]
_PEN = 1.5
_BEND = 0.03
_INSET = 0.3
_LEAST_OVERLAP = 16.0
_AROUND = 34.0
_SHORT = 130.0


@dataclass(frozen=True)
class Joint:
    """An arrow from one thing to another.

    Attributes
    ----------
    label
        Lines of text in its middle; none: no label.
    around
        The side around which it is led, past what stands between; None: straight.
    both
        Whether both ends have a head.
    across
        Whether it leaves and arrives at the sides, also where the ends are below one another.
    """

    start: str
    end: str
    label: tuple[str, ...] = ()
    dashed: bool = False
    both: bool = False
    around: Side | None = None
    colour: str = "white"
    across: bool = False


def arrow(
    number: int, joint: Joint, start: Shape, end: Shape, others: Sequence[Element]
) -> Iterator[Element]:
    """Draw an arrow between two shapes at their places.

    Parameters
    ----------
    number
        Its own in the drawing.
    others
        What an arrow that is led around something keeps clear of.
    """
    name = element_id("arrow", str(number), joint.start, joint.end)
    if joint.around:
        points = _led_around(start, end, joint, others)
    else:
        points = _bent(*_nearest(start, end, joint.across), name)
    yield from drawn_arrow(name, joint, points, start.id, end.id)


def drawn_arrow(
    name: str, joint: Joint, points: Sequence[Point], start: str, end: str
) -> Iterator[Element]:
    """Draw an arrow through points, with its label where Excalidraw puts it."""
    yield Line(
        id=name,
        points=tuple(points),
        curved=True,
        stroke=ink_of(joint.colour),
        stroke_width=_PEN,
        dashed=joint.dashed,
        start=start,
        end=end,
        start_head=joint.both,
        end_head=True,
    )
    if joint.label:
        width, height = text_size(joint.label, DETAIL_SIZE)
        x, y = _middle(points)
        yield Text(
            id=element_id("text", name),
            x=x - width / 2,
            y=y - height / 2,
            width=width,
            height=height,
            lines=joint.label,
            size=DETAIL_SIZE,
            colour=ink_of(joint.colour),
            container=name,
        )


def _nearest(start: Shape, end: Shape, across: bool) -> tuple[Point, Point]:
    """Return where an arrow leaves and arrives: on the sides that face one another."""
    beside = end.x >= start.x + start.width or start.x >= end.x + end.width
    below = end.y >= start.y + start.height or start.y >= end.y + end.height
    if below and not (across and beside):
        down = end.y >= start.y + start.height
        first, last = _facing(start.x, start.width, end.x, end.width)
        return (
            (first, _edge(start, first, far=down)),
            (last, _edge(end, last, far=not down)),
        )
    right = end.x >= start.x
    first, last = _facing(start.y, start.height, end.y, end.height)
    leave = start.x + start.width + GAP if right else start.x - GAP
    arrive = end.x - GAP if right else end.x + end.width + GAP
    return (leave, first), (arrive, last)


def _edge(shape: Shape, x: float, *, far: bool) -> float:
    """Return where a vertical line at x comes near the lower (far) or the upper edge of a shape."""
    middle, half = shape.y + shape.height / 2, shape.height / 2
    if shape.kind == "ellipse":
        share = (x - shape.x - shape.width / 2) / (shape.width / 2)
        half *= math.sqrt(max(0.0, 1 - share * share))
    return middle + half + GAP if far else middle - half - GAP


def _facing(start: float, start_size: float, end: float, end_size: float) -> tuple[float, float]:
    """Return where on two facing sides: opposite one another if they overlap, else towards it."""
    low, high = max(start, end), min(start + start_size, end + end_size)
    if high - low >= _LEAST_OVERLAP:
        return (low + high) / 2, (low + high) / 2
    toward, back = (end, start) if end > start else (start, end)
    sizes = (end_size, start_size) if end > start else (start_size, end_size)
    near, far = toward + sizes[0] * _INSET, back + sizes[1] * (1 - _INSET)
    return (far, near) if end > start else (near, far)


def _bent(start: Point, end: Point, name: str) -> list[Point]:
    """Bend a straight arrow a little, as a hand does, to a side that its name decides."""
    bend = _BEND * (1 if number_of(name, "bend") % 2 else -1)
    (x, y), (other_x, other_y) = start, end
    middle = (x + other_x) / 2 + (other_y - y) * bend, (y + other_y) / 2 - (other_x - x) * bend
    return [start, middle, end]


def _led_around(start: Shape, end: Shape, joint: Joint, others: Sequence[Element]) -> list[Point]:
    """Lead an arrow past all that stands at the height of its way."""
    sign = 1 if joint.around == "right" else -1
    sides = [
        ((left, right)[sign > 0], top, bottom)
        for left, top, right, bottom in (
            extent(one) for one in (start, end, *_beside(start, end, others))
        )
    ]
    first, last = start.y + start.height / 2, end.y + end.height / 2
    high, low = min(first, last), max(first, last)
    reached = [sign * side for side, top, bottom in sides if bottom > high and top < low]
    clear = max(_AROUND, text_size(joint.label, DETAIL_SIZE)[0] / 2 + 12 if joint.label else 0)
    out = sign * (max(reached) + clear)
    ends = [(s.x + s.width if sign > 0 else s.x) + sign * GAP for s in (start, end)]
    if low - high < _SHORT:
        return [(ends[0], first), (out, (first + last) / 2), (ends[1], last)]
    turn = math.copysign(min(70.0, 0.2 * (low - high)), last - first)
    middle = (first + last) / 2
    return [
        (ends[0], first),
        (out, first + turn),
        (out, middle),
        (out, last - turn),
        (ends[1], last),
    ]


def _beside(start: Shape, end: Shape, others: Sequence[Element]) -> Iterator[Element]:
    """Give what stands in the way: figures and words, but no frame around both ends."""
    for element in others:
        encloses = isinstance(element, Shape) and _holds(element, start) and _holds(element, end)
        if not isinstance(element, Line) and not encloses:
            yield element


def _holds(outer: Shape, inner: Shape) -> bool:
    left, top, right, bottom = extent(outer)
    inner_left, inner_top, inner_right, inner_bottom = extent(inner)
    return left < inner_left and inner_right < right and top < inner_top and inner_bottom < bottom


def _middle(points: Sequence[Point]) -> Point:
    """Return where Excalidraw puts an arrow's label: its middle corner, or between two."""
    half = len(points) // 2
    if len(points) % 2:
        return points[half]
    (x, y), (other_x, other_y) = points[half - 1], points[half]
    return (x + other_x) / 2, (y + other_y) / 2
