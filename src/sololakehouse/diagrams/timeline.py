"""A time line from top to bottom: moments on an axis, and beside each what happened then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sololakehouse.diagrams.block import Block
from sololakehouse.diagrams.figures import DETAIL_SIZE, figure
from sololakehouse.diagrams.font import text_size
from sololakehouse.diagrams.palette import FILLS, ink_of, stroke_of
from sololakehouse.diagrams.scene import INK, Element, Line, Shape, Text, element_id

_GAP, _BEFORE_AXIS, _AFTER_AXIS = 16.0, 24.0, 34.0
_DOT = 16.0
_BAND, _CAPTION = 14.0, 26.0
_PEN = 1.5


@dataclass(frozen=True)
class Event:
    """Something at a moment.

    Attributes
    ----------
    at
        The moment as text.
    lines
        What happened; none: the moment alone.
    crossed
        Whether it does not count: its dot is crossed out.
    cut
        Whether a dashed line across the drawing parts what is before from what is after.
    """

    name: str
    at: str
    lines: tuple[str, ...]
    fill: str
    crossed: bool = False
    cut: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Band:
    """A stretch of time from the event `first` to the event `last`, both included."""

    first: str
    last: str
    text: str
    fill: str


def timeline(name: str, events: Sequence[Event], bands: Sequence[Band]) -> Block:
    """Draw events in their order, one under the other; distances are not to scale."""
    group = element_id("group", name)
    times = max(text_size([event.at], DETAIL_SIZE)[0] for event in events)
    axis = times + _BEFORE_AXIS + (_BAND if bands else 0)
    beside = axis + _AFTER_AXIS
    figures = [
        figure(event.name, event.lines, fill=event.fill, marked=event.marked) for event in events
    ]
    inset = _BAND + 8 if bands else 0.0
    width = beside + max(block.width for block in figures) + inset
    tops: dict[str, tuple[float, float]] = {}
    elements: list[Element] = []
    y = 0.0
    for event, block in zip(events, figures, strict=True):
        y += _CAPTION * sum(band.first == event.name for band in bands)
        tops[event.name] = y, y + block.height
        elements += _event(event, block, y, axis, beside, width, group)
        y += block.height + _GAP
        y += 10 * sum(band.last == event.name for band in bands)
    height = y - _GAP
    line = Line(
        id=element_id("axis", name),
        points=((axis, -8.0), (axis, height + 26)),
        stroke_width=2,
        end_head=True,
        group=group,
    )
    behind = [part for band in bands for part in _band(name, band, tops, width, group)]
    return Block(width, height + 26, (*behind, line, *elements))


def _event(
    event: Event, block: Block, y: float, axis: float, beside: float, width: float, group: str
) -> Iterator[Element]:
    middle = y + block.height / 2
    if event.cut:
        yield Line(
            id=element_id("cut", event.name),
            points=((0, middle), (width, middle)),
            stroke=stroke_of(event.fill),
            stroke_width=2,
            dashed=True,
            group=group,
        )
    yield _time(event, axis, middle, group)
    yield _dot(event, axis, middle, group)
    if event.crossed:
        yield from _cross(event, axis, middle, group)
    yield from block.at(beside, y)


def _time(event: Event, axis: float, middle: float, group: str) -> Text:
    wide, high = text_size([event.at], DETAIL_SIZE)
    return Text(
        id=element_id("time", event.name),
        x=axis - _BEFORE_AXIS - wide,
        y=middle - high / 2 - (high / 2 + 2 if event.cut else 0),
        width=wide,
        height=high,
        lines=(event.at,),
        size=DETAIL_SIZE,
        align="right",
        group=group,
    )


def _dot(event: Event, axis: float, middle: float, group: str) -> Shape:
    return Shape(
        id=element_id("dot", event.name),
        kind="ellipse",
        x=axis - _DOT / 2,
        y=middle - _DOT / 2,
        width=_DOT,
        height=_DOT,
        fill=event.fill if event.fill != FILLS["white"] else FILLS["gray"],
        stroke=stroke_of(event.fill),
        stroke_width=_PEN,
        group=group,
    )


def _cross(event: Event, axis: float, middle: float, group: str) -> Iterator[Line]:
    reach = _DOT * 0.7
    for number, turn in enumerate((1, -1)):
        yield Line(
            id=element_id("cross", event.name, str(number)),
            points=(
                (axis - reach, middle - turn * reach),
                (axis + reach, middle + turn * reach),
            ),
            stroke=ink_of("red"),
            stroke_width=2.5,
            group=group,
        )


def _band(
    name: str, band: Band, tops: dict[str, tuple[float, float]], width: float, group: str
) -> Iterator[Element]:
    top, bottom = tops[band.first][0] - _CAPTION, tops[band.last][1] + 8
    yield Shape(
        id=element_id("band", name, band.first, band.last),
        kind="rectangle",
        x=-10,
        y=top,
        width=width + 10,
        height=bottom - top,
        fill=band.fill,
        stroke=None,
        hatched=True,
        group=group,
    )
    wide, high = text_size([band.text], DETAIL_SIZE)
    yield Text(
        id=element_id("caption", name, band.first, band.last),
        x=width - wide - 10,
        y=top + 3,
        width=wide,
        height=high,
        lines=(band.text,),
        size=DETAIL_SIZE,
        align="right",
        colour=INK,
        group=group,
    )
