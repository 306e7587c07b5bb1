"""What a diagram shows, without where and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    """

    id: str
    lines: tuple[str, ...]
    kind: str
    rank: int | None = None
    marked: bool = False


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
