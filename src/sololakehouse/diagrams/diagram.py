"""What a diagram shows, without where and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Figure = Literal["box", "cylinder", "file", "person", "ellipse"]


@dataclass(frozen=True)
class Box:
    """One box.

    Attributes
    ----------
    lines
        Its text; the first line is its title.
    kind
        Decides the colour.
    rank
        Boxes of a lower rank stand further left; None: only what leads to it decides.
    marked
        Whether it stands out, as what the person asked for.
    hatched
        Whether strokes of the pen fill it rather than the whole area.
    """

    id: str
    lines: tuple[str, ...]
    kind: str
    rank: int | None = None
    marked: bool = False
    shape: Figure = "box"
    hatched: bool = False


@dataclass(frozen=True)
class Arrow:
    """An arrow from the box `start` to the box `end`, with at most a few words on it."""

    start: str
    end: str
    label: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Diagram:
    """Boxes and the arrows between them, without cycles.

    Attributes
    ----------
    colours
        What fills the boxes of each kind, as `#rrggbb`.
    """

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    colours: Mapping[str, str]
