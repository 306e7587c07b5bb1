"""What a drawing consists of, each thing at its place: what both writers draw.

Everything is measured in pixels; x grows to the right, y downwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

Point = tuple[float, float]
INK = "#1e1e1e"
MARGIN = 24.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A rectangle or an ellipse in the rectangle from (x, y).

    Attributes
    ----------
    fill, stroke
        Colours as `#rrggbb`; None: not drawn.
    hatched
        Whether the fill is strokes of the pen rather than the whole area.
    group
        Elements of the same group move together; None: of no group.
    name
        What arrows call it; None: no arrow leads to it.
    """

    id: str
    kind: Literal["rectangle", "ellipse"]
    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = INK
    stroke_width: float = 1
    hatched: bool = False
    dashed: bool = False
    rounded: bool = True
    group: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Text:
    """Lines of text in the rectangle from (x, y), which is as large as they are.

    Attributes
    ----------
    container
        The element in the middle of which it stands, and stays when that is moved.
    """

    id: str
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    size: float
    align: Literal["left", "center", "right"] = "center"
    colour: str = INK
    container: str | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points, or an arrow.

    Attributes
    ----------
    curved
        Whether it bends at its points; otherwise it has corners there.
    fill
        Of the area that a line encloses whose last point is its first.
    start, end
        Identifiers of the shapes that an arrow joins.
    """

    id: str
    points: tuple[Point, ...]
    curved: bool = False
    fill: str | None = None
    stroke: str | None = INK
    stroke_width: float = 1
    hatched: bool = False
    dashed: bool = False
    start: str | None = None
    end: str | None = None
    start_head: bool = False
    end_head: bool = False
    group: str | None = None


Element = Shape | Text | Line


@dataclass(frozen=True)
class Scene:
    """A drawing; `alt` says in a sentence what it shows to who cannot see it."""

    title: str
    alt: str
    elements: tuple[Element, ...]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all that is drawn, with a margin."""
        boxes = [extent(element) for element in self.elements] or [(0.0, 0.0, 0.0, 0.0)]
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        return (
            min(lefts) - MARGIN,
            min(tops) - MARGIN,
            max(rights) + MARGIN,
            max(bottoms) + MARGIN,
        )


def extent(element: Element) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of an element."""
    if isinstance(element, Line):
        xs, ys = zip(*element.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    return element.x, element.y, element.x + element.width, element.y + element.height


def moved(elements: Iterable[Element], by_x: float, by_y: float) -> Iterator[Element]:
    """Give the elements elsewhere."""
    for element in elements:
        if isinstance(element, Line):
            points = tuple((x + by_x, y + by_y) for x, y in element.points)
            yield replace(element, points=points)
        else:
            yield replace(element, x=element.x + by_x, y=element.y + by_y)


def element_id(kind: str, *names: str) -> str:
    """Return the identifier of an element: of letters and digits, as it is part of URLs in SVG.

    Examples
    --------
    >>> element_id("box", "gold.sales@v1")
    'box-8b32ce536da2'
    """
    digest = hashlib.blake2b("\0".join([kind, *names]).encode(), digest_size=6)
    return f"{kind}-{digest.hexdigest()}"


def number_of(name: str, of: str) -> int:
    """Return a number from 0 to 2**31 - 1 in place of a random one: it shapes hand-drawn lines."""
    digest = hashlib.blake2b(f"{of} {name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1
