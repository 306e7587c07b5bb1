"""Boxes and arrows that find their own places, in layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sololakehouse.diagrams.arrows import GAP, Joint, drawn_arrow
from sololakehouse.diagrams.block import Block, column
from sololakehouse.diagrams.diagram import Arrow, Box, Diagram
from sololakehouse.diagrams.figures import DETAIL_SIZE, HEADING_SIZE, figure, words
from sololakehouse.diagrams.font import LINE_HEIGHT, text_size
from sololakehouse.diagrams.layout import Layout, Place, lay_out
from sololakehouse.diagrams.scene import Element, Line, Point, Scene, element_id

_BARE_GAP = 52.0
_BELOW_TITLE = 28.0


def drawing(diagram: Diagram) -> Scene:
    """Lay a diagram out from left to right, under its title."""
    boxes = flow(diagram, {}, downwards=False)
    title = words("title", [diagram.title], HEADING_SIZE, align="left")
    whole = column([title, boxes], [_BELOW_TITLE], "start")
    count = len(diagram.boxes)
    alt = f"{diagram.title}: {count} boxes, joined by {len(diagram.arrows)} arrows."
    return Scene(diagram.title, alt, whole.elements)


def flow(diagram: Diagram, joints: Mapping[Arrow, Joint], *, downwards: bool) -> Block:
    """Lay boxes and arrows out; `joints` say more about arrows than the diagram does."""
    figures = {box.id: _figure(box, diagram) for box in diagram.boxes}
    labels = [joint.label for joint in (_joint(arrow, joints) for arrow in diagram.arrows)]

    def size(box: Box) -> tuple[float, float]:
        block = figures[box.id]
        return (block.height, block.width) if downwards else (block.width, block.height)

    found = lay_out(diagram, size, between=_gap([*labels], downwards))
    layout = _turned(found) if downwards else found
    elements: list[Element] = []
    for place in layout.places:
        elements += figures[place.box.id].at(place.x, place.y)
    for number, route in enumerate(layout.routes):
        arrow = route.arrow
        name = element_id("arrow", str(number), arrow.start, arrow.end)
        ends = [element_id("box", end) for end in (arrow.start, arrow.end)]
        points = _with_gaps(route.points, downwards)
        elements += drawn_arrow(name, _joint(arrow, joints), points, ends[0], ends[1])
    right = max((place.x + place.width for place in layout.places), default=0.0)
    bottom = max((place.y + place.height for place in layout.places), default=0.0)
    lines = [point for e in elements if isinstance(e, Line) for point in e.points]
    right = max([right, *(x for x, _ in lines)])
    bottom = max([bottom, *(y for _, y in lines)])
    return Block(right, bottom, tuple(elements))


def _figure(box: Box, diagram: Diagram) -> Block:
    return figure(
        box.id,
        box.lines,
        shape=box.shape,
        fill=diagram.colours[box.kind],
        marked=box.marked,
        hatched=box.hatched,
    )


def _joint(arrow: Arrow, joints: Mapping[Arrow, Joint]) -> Joint:
    label = (arrow.label,) if arrow.label else ()
    return joints.get(arrow) or Joint(arrow.start, arrow.end, label, arrow.dashed)


def _gap(labels: list[tuple[str, ...]], downwards: bool) -> float:
    """Return the room between layers: enough for the longest label and the arrow around it."""
    if not downwards:
        return max([100.0, *(text_size(label, DETAIL_SIZE)[0] + 50 for label in labels if label)])
    return max(
        [_BARE_GAP, *(len(label) * DETAIL_SIZE * LINE_HEIGHT + 56 for label in labels if label)]
    )


def _turned(layout: Layout) -> Layout:
    """Lead from top to bottom what leads from left to right."""
    places = tuple(Place(p.box, p.y, p.x, p.height, p.width) for p in layout.places)
    routes = tuple(replace(r, points=tuple((y, x) for x, y in r.points)) for r in layout.routes)
    return Layout(places, routes)


def _with_gaps(points: tuple[Point, ...], downwards: bool) -> list[Point]:
    (x, y), *between, (other_x, other_y) = points
    if downwards:
        return [(x, y + GAP), *between, (other_x, other_y - GAP)]
    return [(x + GAP, y), *between, (other_x - GAP, other_y)]
