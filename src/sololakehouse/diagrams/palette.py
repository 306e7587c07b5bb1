"""The colours of diagrams, light and dark.

They are those of Open Color 1.9.1, https://yeun.github.io/open-color, as Excalidraw offers them.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from sololakehouse.diagrams.scene import INK

Colour = Literal[
    "white", "gray", "red", "pink", "grape", "violet", "blue", "cyan", "green", "yellow", "orange"
]
COLOURS: tuple[str, ...] = get_args(Colour)
FILLS: dict[str, str] = {
    "white": "#ffffff",
    "gray": "#e9ecef",
    "red": "#ffc9c9",
    "pink": "#fcc2d7",
    "grape": "#eebefa",
    "violet": "#d0bfff",
    "blue": "#a5d8ff",
    "cyan": "#99e9f2",
    "green": "#b2f2bb",
    "yellow": "#ffec99",
    "orange": "#ffd8a8",
}
PAPER = "#ffffff"
_STROKES: dict[str, str] = {
    "gray": "#343a40",
    "red": "#c92a2a",
    "pink": "#a61e4d",
    "grape": "#862e9c",
    "violet": "#5f3dc4",
    "blue": "#1864ab",
    "cyan": "#0b7285",
    "green": "#2b8a3e",
    "yellow": "#a15c00",
    "orange": "#d9480f",
}
_STROKE_OF = {FILLS[name]: stroke for name, stroke in _STROKES.items()}


def stroke_of(fill: str | None) -> str:
    """Return the pen that goes with a fill; ink, if none does."""
    return _STROKE_OF.get(fill or "", INK)


def ink_of(colour: str) -> str:
    """Return the pen that goes with a named colour."""
    return _STROKES.get(colour, INK)


def darkened(colour: str) -> str:
    """Return what a colour is on dark paper, as in Excalidraw.

    Its dark theme is the filter `invert(93%) hue-rotate(180deg)`; the matrix of the second is
    that of https://www.w3.org/TR/filter-effects-1/#feColorMatrixElement.

    Examples
    --------
    >>> darkened("#ffffff"), darkened("#1e1e1e"), darkened("#b2f2bb")
    ('#121212', '#d3d3d3', '#043b0c')
    """
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    inverted = [0.93 - part * 0.86 for part in (red, green, blue)]
    turned = (sum(f * p for f, p in zip(row, inverted, strict=True)) for row in _HALF_TURN)
    return "#" + "".join(f"{round(min(1.0, max(0.0, part)) * 255):02x}" for part in turned)


def _hue_rotation(angle: float) -> list[list[float]]:
    weights = (0.213, 0.715, 0.072)
    sines = ((-0.213, -0.715, 0.928), (0.143, 0.140, -0.283), (-0.787, 0.715, 0.072))
    cosine, sine = math.cos(angle), math.sin(angle)
    return [
        [
            weights[column] + cosine * ((row == column) - weights[column]) + sine * by_sine
            for column, by_sine in enumerate(sines[row])
        ]
        for row in range(3)
    ]


_HALF_TURN = _hue_rotation(math.pi)
