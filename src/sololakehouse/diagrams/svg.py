"""Drawings as SVG in the hand-drawn manner, which shows the same wherever it is put.

The letters that it needs come with it, so that it also looks so inside `<img>`, where nothing else
may be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import atan2, cos, pi, sin
from xml.sax.saxutils import escape

from sololakehouse.diagrams.font import FAMILY, LINE_HEIGHT, baseline, font_part
from sololakehouse.diagrams.palette import PAPER, darkened
from sololakehouse.diagrams.scene import (
    Element,
    Line,
    Point,
    Scene,
    Shape,
    Text,
    number_of,
)
from sololakehouse.diagrams.sketch import Hand

_OTHER_FONTS = '"Segoe Print", "Bradley Hand", "Comic Sans MS", cursive'
_ANCHORS = {"left": "start", "center": "middle", "right": "end"}
_HEAD, _HEAD_ANGLE = 15.0, pi / 8
_CLEAR = 3.0
"""Pixels around a label in which its arrow is not drawn."""
_Tint = Callable[[str], str]


def svg(scene: Scene, *, dark: bool = False) -> str:
    """Write a drawing as SVG; the same drawing gives the same bytes.

    Parameters
    ----------
    dark
        Whether it is for dark pages: the colours are those of Excalidraw's dark theme.
    """
    left, top, right, bottom = scene.bounds
    width, height = _number(right - left), _number(bottom - top)
    tint: _Tint = darkened if dark else _same
    box = f"{_number(left)} {_number(top)} {width} {height}"
    labels = {e.container: e for e in scene.elements if isinstance(e, Text) and e.container}
    words = (line for e in scene.elements if isinstance(e, Text) for line in e.lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{width}" '
        f'height="{height}" role="img">',
        f"<title>{_escaped(scene.title)}</title>",
        f"<desc>{_escaped(scene.alt)}</desc>",
        f"<style>{_style(words)}</style>",
        f'<rect x="{_number(left)}" y="{_number(top)}" width="{width}" height="{height}" rx="12" '
        f'fill="{tint(PAPER)}"/>',
        '<g fill="none" stroke-linecap="round" stroke-linejoin="round">',
    ]
    for element in scene.elements:
        parts += [
            f'<g id="{element.id}">',
            *_element(element, labels.get(element.id), tint),
            "</g>",
        ]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _style(words: Iterable[str]) -> str:
    return (
        f"@font-face{{font-family:{FAMILY};src:url(data:font/ttf;base64,{font_part(words)})}}"
        f"text{{font-family:{FAMILY},{_OTHER_FONTS};font-kerning:none;white-space:pre}}"
    )


def _element(element: Element, label: Text | None, tint: _Tint) -> Iterator[str]:
    if isinstance(element, Text):
        yield from _text(element, tint)
    elif isinstance(element, Shape):
        yield from _shape(element, tint)
    else:
        yield from _line(element, label, tint)


def _text(text: Text, tint: _Tint) -> Iterator[str]:
    x = text.x + {"left": 0.0, "center": text.width / 2, "right": text.width}[text.align]
    for number, line in enumerate(text.lines):
        y = text.y + number * text.size * LINE_HEIGHT + baseline(text.size)
        yield (
            f'<text x="{_number(x)}" y="{_number(y)}" font-size="{_number(text.size)}" '
            f'text-anchor="{_ANCHORS[text.align]}" fill="{tint(text.colour)}">'
            f"{_escaped(line)}</text>"
        )


def _shape(shape: Shape, tint: _Tint) -> Iterator[str]:
    x, y, width, height = shape.x, shape.y, shape.width, shape.height
    hand = Hand(number_of(shape.id, "seed"))
    radius = _corner(shape)
    if shape.fill and shape.hatched:
        yield _hatching(shape, _outline(shape), shape.fill, tint)
    elif shape.fill and shape.kind == "ellipse":
        yield (
            f'<ellipse cx="{_number(x + width / 2)}" cy="{_number(y + height / 2)}" '
            f'rx="{_number(width / 2)}" ry="{_number(height / 2)}" fill="{tint(shape.fill)}"/>'
        )
    elif shape.fill:
        yield (
            f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
            f'height="{_number(height)}" rx="{_number(radius)}" fill="{tint(shape.fill)}"/>'
        )
    if shape.stroke:
        if shape.kind == "ellipse":
            path = hand.ellipse(x, y, width, height)
        else:
            path = hand.rectangle(x, y, width, height, radius)
        yield _stroked(path, shape.stroke, shape.stroke_width, shape.dashed, tint)


def _hatching(element: Shape | Line, outline: Sequence[Point], colour: str, tint: _Tint) -> str:
    strokes = Hand(number_of(element.id, "fill")).hatching(outline)
    return f'<path d="{strokes}" stroke="{tint(colour)}" stroke-width="2"/>'


def _line(line: Line, label: Text | None, tint: _Tint) -> Iterator[str]:
    if line.fill and line.hatched:
        yield _hatching(line, line.points[:-1], line.fill, tint)
    elif line.fill:
        corners = " ".join(f"{_number(x)},{_number(y)}" for x, y in line.points)
        yield f'<polygon points="{corners}" fill="{tint(line.fill)}"/>'
    if not line.stroke:
        return
    hand = Hand(number_of(line.id, "seed"))
    times = 1 if line.dashed else 2
    if line.curved and len(line.points) > 2:
        path = hand.curve(line.points, times)
    else:
        path = hand.corners(line.points, times)
    if label is not None:
        yield from _mask(line, label)
        yield f'<g mask="url(#mask-{line.id})">'
    yield _stroked(path, line.stroke, line.stroke_width, line.dashed, tint)
    if label is not None:
        yield "</g>"
    for head, ends in ((line.start_head, line.points), (line.end_head, line.points[::-1])):
        if head:
            path = " ".join(hand.line(ends[0], wing, 1) for wing in _wings(ends[0], ends[1]))
            yield _stroked(path, line.stroke, line.stroke_width, False, tint)


def _mask(line: Line, label: Text) -> Iterator[str]:
    """Give a mask that hides what is under a label."""
    xs, ys = zip(*line.points, strict=True)
    left, top = min(xs) - 20, min(ys) - 20
    width, height = max(xs) - left + 20, max(ys) - top + 20
    yield (
        f'<mask id="mask-{line.id}" maskUnits="userSpaceOnUse" x="{_number(left)}" '
        f'y="{_number(top)}" width="{_number(width)}" height="{_number(height)}">'
    )
    for fill, x, y, wide, high in (
        ("#fff", left, top, width, height),
        (
            "#000",
            label.x - _CLEAR,
            label.y - _CLEAR,
            label.width + 2 * _CLEAR,
            label.height + 2 * _CLEAR,
        ),
    ):
        yield (
            f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(wide)}" '
            f'height="{_number(high)}" fill="{fill}"/>'
        )
    yield "</mask>"


def _wings(tip: Point, before: Point) -> Iterator[Point]:
    """Give the outer ends of an arrow's head."""
    back = atan2(before[1] - tip[1], before[0] - tip[0])
    for side in (-_HEAD_ANGLE, _HEAD_ANGLE):
        yield tip[0] + _HEAD * cos(back + side), tip[1] + _HEAD * sin(back + side)


def _stroked(path: str, colour: str, width: float, dashed: bool, tint: _Tint) -> str:
    dashes = ' stroke-dasharray="7 7"' if dashed else ""
    return f'<path d="{path}" stroke="{tint(colour)}" stroke-width="{_number(width)}"{dashes}/>'


def _outline(shape: Shape) -> list[Point]:
    x, y, width, height = shape.x, shape.y, shape.width, shape.height
    if shape.kind == "rectangle":
        inset = 2.0
        left, top, right, bottom = x + inset, y + inset, x + width - inset, y + height - inset
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    turns = [2 * pi * step / 24 for step in range(24)]
    half = width / 2, height / 2
    return [(x + half[0] * (1 + cos(turn)), y + half[1] * (1 + sin(turn))) for turn in turns]


def _corner(shape: Shape) -> float:
    """Return the radius of a rectangle's corners: a quarter of its shorter side, at most 32."""
    return min(32.0, min(shape.width, shape.height) / 4) if shape.rounded else 0.0


def _escaped(text: str) -> str:
    """Write text for XML, which knows no control characters."""
    return escape("".join(one if one.isprintable() else " " for one in text))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _same(colour: str) -> str:
    return colour
