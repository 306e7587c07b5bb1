"""Parts of a drawing that are put together: each knows its size and begins at (0, 0)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sololakehouse.diagrams.scene import Element, moved

Align = Literal["start", "middle", "end"]
_SHARES: dict[Align, float] = {"start": 0.0, "middle": 0.5, "end": 1.0}


@dataclass(frozen=True)
class Block:
    """Elements in the rectangle from (0, 0) to (width, height)."""

    width: float
    height: float
    elements: tuple[Element, ...]

    def at(self, x: float, y: float) -> Iterator[Element]:
        """Give its elements with its upper left corner elsewhere."""
        return moved(self.elements, x, y)


def column(blocks: Sequence[Block], gaps: Sequence[float], align: Align = "middle") -> Block:
    """Put blocks under one another; `gaps` are the distances between them."""
    width = max((block.width for block in blocks), default=0.0)
    elements: list[Element] = []
    y = 0.0
    for block, gap in zip(blocks, [*gaps, 0.0], strict=True):
        elements += block.at((width - block.width) * _SHARES[align], y)
        y += block.height + gap
    return Block(width, y, tuple(elements))


def row(blocks: Sequence[Block], gaps: Sequence[float], align: Align = "middle") -> Block:
    """Put blocks beside one another; `gaps` are the distances between them."""
    height = max((block.height for block in blocks), default=0.0)
    elements: list[Element] = []
    x = 0.0
    for block, gap in zip(blocks, [*gaps, 0.0], strict=True):
        elements += block.at(x, (height - block.height) * _SHARES[align])
        x += block.width + gap
    return Block(x, height, tuple(elements))


def padded(block: Block, left: float, top: float, right: float, bottom: float) -> Block:
    """Leave room around a block."""
    width, height = left + block.width + right, top + block.height + bottom
    return Block(width, height, tuple(block.at(left, top)))
