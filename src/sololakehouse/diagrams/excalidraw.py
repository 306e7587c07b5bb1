"""Drawings as files that Excalidraw opens, with boxes and arrows that stay joined when moved.

The format is the one of https://docs.excalidraw.com/docs/codebase/json-schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sololakehouse.diagrams.font import LINE_HEIGHT
from sololakehouse.diagrams.palette import PAPER
from sololakehouse.diagrams.scene import Element, Line, Scene, Shape, Text, extent, number_of

_EXCALIFONT = 5
_GAP = 6
_NOTHING = "transparent"
_Bound = Mapping[str, Sequence[dict[str, str]]]


def excalidraw(scene: Scene) -> str:
    """Write a drawing as an `.excalidraw` file.

    Everything in it, also what Excalidraw draws at random, depends on the drawing alone.
    """
    bound = _bound(scene.elements)
    drawing = {
        "type": "excalidraw",
        "version": 2,
        "source": "sololakehouse",
        "elements": [_common(e, bound) | _special(e) for e in scene.elements],
        "appState": {"viewBackgroundColor": PAPER, "gridSize": None},
        "files": {},
    }
    return json.dumps(drawing, indent=1, ensure_ascii=False) + "\n"


def _bound(elements: Sequence[Element]) -> _Bound:
    """Return what moves with each element: its text, and the arrows that touch it."""
    found: dict[str, list[dict[str, str]]] = {element.id: [] for element in elements}
    for element in elements:
        if isinstance(element, Text) and element.container:
            found[element.container].insert(0, {"id": element.id, "type": "text"})
        if isinstance(element, Line):
            for end in dict.fromkeys((element.start, element.end)):
                if end:
                    found[end].append({"id": element.id, "type": "arrow"})
    return found


def _special(element: Element) -> dict[str, Any]:
    if isinstance(element, Text):
        return _text(element)
    if isinstance(element, Shape):
        return _shape(element)
    return _line(element)


def _shape(shape: Shape) -> dict[str, Any]:
    return {
        "type": shape.kind,
        "roundness": {"type": 3} if shape.rounded and shape.kind == "rectangle" else None,
    }


def _text(text: Text) -> dict[str, Any]:
    words = "\n".join(text.lines)
    return {
        "type": "text",
        "text": words,
        "originalText": words,
        "fontSize": text.size,
        "fontFamily": _EXCALIFONT,
        "textAlign": text.align,
        "verticalAlign": "middle" if text.container else "top",
        "containerId": text.container,
        "lineHeight": LINE_HEIGHT,
        "autoResize": True,
    }


def _line(line: Line) -> dict[str, Any]:
    x, y = line.points[0]
    is_arrow = line.start_head or line.end_head
    return {
        "type": "arrow" if is_arrow else "line",
        "x": x,
        "y": y,
        "roundness": {"type": 2} if line.curved else None,
        "points": [[left - x, top - y] for left, top in line.points],
        "lastCommittedPoint": None,
        "startBinding": _binding(line.start),
        "endBinding": _binding(line.end),
        "startArrowhead": "arrow" if line.start_head else None,
        "endArrowhead": "arrow" if line.end_head else None,
    } | ({"elbowed": False} if is_arrow else {"polygon": line.fill is not None})


def _binding(shape: str | None) -> dict[str, Any] | None:
    return {"elementId": shape, "focus": 0, "gap": _GAP} if shape else None


def _common(element: Element, bound: _Bound) -> dict[str, Any]:
    left, top, right, bottom = extent(element)
    return {
        "id": element.id,
        "type": "",
        "x": left,
        "y": top,
        "width": right - left,
        "height": bottom - top,
        "angle": 0,
        "roughness": 1,
        "opacity": 100,
        "groupIds": [element.group] if element.group else [],
        "frameId": None,
        "roundness": None,
        "seed": number_of(element.id, "seed"),
        "version": 1,
        "versionNonce": number_of(element.id, "nonce"),
        "isDeleted": False,
        "boundElements": list(bound[element.id]),
        "updated": 1,
        "link": None,
        "locked": False,
        **_look(element),
    }


def _look(element: Element) -> dict[str, Any]:
    if isinstance(element, Text):
        pen, fill, width, dashed, hatched = element.colour, None, 1.0, False, False
    else:
        pen, fill = element.stroke or _NOTHING, element.fill
        width, dashed = element.stroke_width, element.dashed
        hatched = element.hatched
    return {
        "strokeColor": pen,
        "backgroundColor": fill or _NOTHING,
        "fillStyle": "hachure" if hatched else "solid",
        "strokeWidth": width,
        "strokeStyle": "dashed" if dashed else "solid",
    }
