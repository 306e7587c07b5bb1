"""Diagrams as files that Excalidraw opens, with boxes and arrows that stay joined when moved.

The format is the one of https://docs.excalidraw.com/docs/codebase/json-schema.
"""

from __future__ import annotations

import hashlib
import json
import math
import string
from collections.abc import Sequence
from typing import Any

from sololakehouse.diagrams.diagram import Box, Diagram
from sololakehouse.diagrams.layout import Place, Point, Route, lay_out

_EXCALIFONT = 5
_FONT_SIZE, _TITLE_SIZE, _LINE_HEIGHT = 16, 28, 1.25
# No letter of Excalifont is wider, in parts of the font size: Excalidraw measures text when it
# opens the file, and breaks lines that are wider than their box.
_WIDTHS = {
    **dict.fromkeys(string.ascii_uppercase + "%@#$&w", 0.94),
    **dict.fromkeys(string.digits + "_~m", 0.71),
}
_OTHER_WIDTH, _FOREIGN_WIDTH = 0.61, 1.0
_PADDING = 14
_GAP = 6
_INK = "#1e1e1e"
_MARGIN = 40.0


def excalidraw(diagram: Diagram) -> str:
    """Lay a diagram out and write it as an `.excalidraw` file.

    Everything in it, also what Excalidraw draws at random, depends on the diagram alone.
    """
    layout = lay_out(diagram, _size)
    named = {f"arrow {index}": route for index, route in enumerate(layout.routes)}
    touching: dict[str, list[str]] = {box.id: [] for box in diagram.boxes}
    for name, route in named.items():
        touching[route.arrow.start].append(name)
        touching[route.arrow.end].append(name)
    elements = [_title(diagram.title)]
    for place in layout.places:
        colour = diagram.colours[place.box.kind]
        elements += _box(place, colour, touching[place.box.id])
    for name, route in named.items():
        elements += _arrow(name, route)
    drawing = {
        "type": "excalidraw",
        "version": 2,
        "source": "sololakehouse",
        "elements": elements,
        "appState": {"viewBackgroundColor": "#ffffff", "gridSize": None},
        "files": {},
    }
    return json.dumps(drawing, indent=1, ensure_ascii=False) + "\n"


def _size(box: Box) -> tuple[float, float]:
    width, height = _text_size(box.lines, _FONT_SIZE)
    return width + 2 * _PADDING, height + 2 * _PADDING


def _text_size(lines: Sequence[str], font_size: int) -> tuple[float, float]:
    letters = max(map(_letters, lines), default=0.0)
    return math.ceil(letters * font_size), len(lines) * font_size * _LINE_HEIGHT


def _letters(line: str) -> float:
    return sum(
        _WIDTHS.get(letter, _OTHER_WIDTH) if letter.isascii() else _FOREIGN_WIDTH for letter in line
    )


def _title(title: str) -> dict[str, Any]:
    width, height = _text_size([title], _TITLE_SIZE)
    return _element("title", "text", 0.0, -_MARGIN - height, width, height) | _text(
        [title], _TITLE_SIZE, align="left", container=None
    )


def _box(place: Place, colour: str, arrows: Sequence[str]) -> list[dict[str, Any]]:
    name, label = f"box {place.box.id}", f"text {place.box.id}"
    text_width, text_height = _text_size(place.box.lines, _FONT_SIZE)
    left, top = place.x + _PADDING, place.y + _PADDING
    bound = [{"id": label, "type": "text"}, *({"id": arrow, "type": "arrow"} for arrow in arrows)]
    frame = _element(name, "rectangle", place.x, place.y, place.width, place.height) | {
        "backgroundColor": colour,
        "strokeWidth": 4 if place.box.marked else 1,
        "roundness": {"type": 3},
        "boundElements": bound,
    }
    text = _element(label, "text", left, top, text_width, text_height)
    return [frame, text | _text(place.box.lines, _FONT_SIZE, align="center", container=name)]


def _arrow(name: str, route: Route) -> list[dict[str, Any]]:
    (first, top), *between, (last, bottom) = route.points
    corners = [(first + _GAP, top), *between, (last - _GAP, bottom)]
    left = first + _GAP
    points = [[x - left, y - top] for x, y in corners]
    xs, ys = zip(*points, strict=True)
    label = f"text {name}" if route.arrow.label else None
    line = _element(name, "arrow", left, top, max(xs) - min(xs), max(ys) - min(ys)) | {
        "strokeStyle": "dashed" if route.arrow.dashed else "solid",
        "roundness": {"type": 2},
        "boundElements": [{"id": label, "type": "text"}] if label else [],
        "points": points,
        "lastCommittedPoint": None,
        "startBinding": _binding(route.arrow.start),
        "endBinding": _binding(route.arrow.end),
        "startArrowhead": None,
        "endArrowhead": "arrow",
        "elbowed": False,
    }
    if label is None:
        return [line]
    width, height = _text_size([route.arrow.label], _FONT_SIZE)
    x, y = _middle(corners)
    text = _element(label, "text", x - width / 2, y - height / 2, width, height)
    return [line, text | _text([route.arrow.label], _FONT_SIZE, align="center", container=name)]


def _middle(points: Sequence[Point]) -> Point:
    """Return where Excalidraw puts an arrow's label: its middle corner, or between two."""
    half = len(points) // 2
    if len(points) % 2:
        return points[half]
    (x, y), (other_x, other_y) = points[half - 1], points[half]
    return (x + other_x) / 2, (y + other_y) / 2


def _binding(box: str) -> dict[str, Any]:
    return {"elementId": f"box {box}", "focus": 0, "gap": _GAP}


def _text(
    lines: Sequence[str], font_size: int, *, align: str, container: str | None
) -> dict[str, Any]:
    text = "\n".join(lines)
    return {
        "text": text,
        "originalText": text,
        "fontSize": font_size,
        "fontFamily": _EXCALIFONT,
        "textAlign": align,
        "verticalAlign": "middle" if container else "top",
        "containerId": container,
        "lineHeight": _LINE_HEIGHT,
        "autoResize": True,
    }


def _element(
    name: str, kind: str, x: float, y: float, width: float, height: float
) -> dict[str, Any]:
    return {
        "id": name,
        "type": kind,
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "angle": 0,
        "strokeColor": _INK,
        "backgroundColor": "transparent",
        "fillStyle": "solid",
        "strokeWidth": 1,
        "strokeStyle": "solid",
        "roughness": 1,
        "opacity": 100,
        "groupIds": [],
        "frameId": None,
        "roundness": None,
        "seed": _number(name, "seed"),
        "version": 1,
        "versionNonce": _number(name, "nonce"),
        "isDeleted": False,
        "boundElements": [],
        "updated": 1,
        "link": None,
        "locked": False,
    }


def _number(name: str, of: str) -> int:
    """Return a number from 0 to 2**31 - 1 in place of a random one: it shapes hand-drawn lines."""
    digest = hashlib.blake2b(f"{of} {name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1
