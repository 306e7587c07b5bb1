"""The diagrams of docs/diagrams as they are described, and what SVG and Excalidraw make of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sololakehouse.diagrams.compose import compose
from sololakehouse.diagrams.description import Description, read_description
from sololakehouse.diagrams.excalidraw import excalidraw
from sololakehouse.diagrams.scene import Scene
from sololakehouse.diagrams.svg import svg

FOLDER = Path(__file__).parents[2] / "docs" / "diagrams"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))
SVG = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]
Box = tuple[float, float, float, float]


def scene_of(name: str) -> Scene:
    return compose(read_description(FOLDER / f"{name}.yml"))


def composed(**described: Any) -> Scene:
    content = {"title": "A title", "alt": "A sentence.", **described}
    return compose(Description.model_validate(content))


def in_excalidraw(scene: Scene) -> dict[str, dict[str, Any]]:
    return {element["id"]: element for element in json.loads(excalidraw(scene))["elements"]}


def in_svg(scene: Scene) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(svg(scene))
    return {group.attrib["id"]: group for group in root.iter(f"{SVG}g") if "id" in group.attrib}


def strokes(group: ElementTree.Element) -> list[list[Point]]:
    """Return points along each path in a group."""
    return [list(_along(path.attrib["d"])) for path in group.iter(f"{SVG}path")]


def _along(path: str) -> Iterator[Point]:
    """Give points on a path of M, C and Q: 20 on each of its Bezier curves."""
    at = (0.0, 0.0)
    for command, numbers in re.findall(r"([MCQ])([^MCQ]*)", path):
        values = list(map(float, numbers.split()))
        points = list(zip(values[::2], values[1::2], strict=True))
        if command == "M":
            (at,) = points
            continue
        for step in range(21):
            yield _bezier([at, *points], step / 20)
        at = points[-1]


def _bezier(points: list[Point], share: float) -> Point:
    """Return the point of de Casteljau's algorithm: between the points between the points."""
    while len(points) > 1:
        points = [
            (x + (other_x - x) * share, y + (other_y - y) * share)
            for (x, y), (other_x, other_y) in pairwise(points)
        ]
    return points[0]


def around(points: list[Point]) -> Box:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
