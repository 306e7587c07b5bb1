"""Places boxes in columns from left to right, and leads long arrows around what is in between.

The steps are those of Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical
System Structures" (1981): columns, order within the columns by barycentres, positions. The same
diagram always gives the same layout.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise

from sololakehouse.diagrams.diagram import Arrow, Box, Diagram

Point = tuple[float, float]
_BETWEEN_BOXES, _BETWEEN_LANES = 28.0, 14.0
_LANE_HEIGHT = 8.0
_SWEEPS = 12


@dataclass(frozen=True)
class Place:
    """Where a box stands: its upper left corner and its size, in pixels."""

    box: Box
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """The corners of an arrow, from the right side of one box to the left side of another."""

    arrow: Arrow
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """Boxes that do not overlap, and arrows between them; all coordinates are 0 or greater."""

    places: tuple[Place, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True)
class _Slot:
    """A box in its column, or the lane of the arrows of `start` that pass the column."""

    start: str
    column: int
    lane: bool = False


_Joined = Mapping[_Slot, Sequence[_Slot]]


def lay_out(
    diagram: Diagram, size: Callable[[Box], tuple[float, float]], between: float = 130.0
) -> Layout:
    """Place the boxes and arrows of a diagram.

    Parameters
    ----------
    size
        Width and height that a box needs, in pixels.
    between
        The room between two columns, in pixels.
    """
    columns = _columns(diagram)
    slots = {box.id: _Slot(box.id, columns[box.id]) for box in diagram.boxes}
    paths = [_path(arrow, columns) for arrow in diagram.arrows]
    grid = _ordered(slots.values(), paths)
    sizes = {slots[box.id]: size(box) for box in diagram.boxes}
    lefts, widths = _horizontal(grid, sizes, between)
    middles = _vertical(grid, sizes, paths)
    places = {}
    for box in diagram.boxes:
        slot = slots[box.id]
        width, height = sizes[slot]
        left = lefts[slot.column] + (widths[slot.column] - width) / 2
        places[slot] = Place(box, left, middles[slot] - height / 2, width, height)
    routes = [
        Route(arrow, tuple(_corners(path, places, lefts, widths, middles)))
        for arrow, path in zip(diagram.arrows, paths, strict=True)
    ]
    return Layout(tuple(places.values()), tuple(routes))


def _columns(diagram: Diagram) -> dict[str, int]:
    """Return each box's column: right of all that leads to it, and of all of a lower rank."""
    sources: dict[str, list[str]] = {box.id: [] for box in diagram.boxes}
    for arrow in diagram.arrows:
        sources[arrow.end].append(arrow.start)
    ranked = [box for box in _sorted(diagram, sources) if box.rank is not None]
    columns: dict[str, int] = {}
    first = 0
    for rank in sorted({box.rank for box in ranked if box.rank is not None}):
        for box in ranked:
            if box.rank == rank:
                before = [columns[source] for source in sources[box.id] if source in columns]
                columns[box.id] = max([first, *(column + 1 for column in before)])
        first = max(columns.values()) + 1
    for box in _sorted(diagram, sources):
        before = [columns[source] + 1 for source in sources[box.id]]
        columns[box.id] = max([columns.get(box.id, 0), *before])
    return _without_gaps(columns)


def _sorted(diagram: Diagram, sources: Mapping[str, Sequence[str]]) -> list[Box]:
    """Return the boxes, each after all that lead to it."""
    boxes = {box.id: box for box in diagram.boxes}
    return [boxes[name] for name in TopologicalSorter(sources).static_order()]


def _without_gaps(columns: Mapping[str, int]) -> dict[str, int]:
    used = {column: index for index, column in enumerate(sorted(set(columns.values())))}
    return {name: used[column] for name, column in columns.items()}


def _path(arrow: Arrow, columns: Mapping[str, int]) -> list[_Slot]:
    first, last = columns[arrow.start], columns[arrow.end]
    lanes = [_Slot(arrow.start, column, lane=True) for column in range(first + 1, last)]
    return [_Slot(arrow.start, first), *lanes, _Slot(arrow.end, last)]


def _joined(slots: Iterable[_Slot], paths: Iterable[Sequence[_Slot]]) -> tuple[_Joined, _Joined]:
    """Return for each slot what it is joined to in the column on its left, and on its right."""
    left: dict[_Slot, list[_Slot]] = {slot: [] for slot in slots}
    right: dict[_Slot, list[_Slot]] = {slot: [] for slot in left}
    for start, end in dict.fromkeys(pair for path in paths for pair in pairwise(path)):
        right[start].append(end)
        left[end].append(start)
    return left, right


def _ordered(boxes: Iterable[_Slot], paths: Sequence[Sequence[_Slot]]) -> list[list[_Slot]]:
    """Return the slots of each column from top to bottom, in an order with few crossings."""
    slots = dict.fromkeys([*boxes, *(slot for path in paths for slot in path)])
    joined = _joined(slots, paths)
    found: list[list[_Slot]] = [[] for _ in range(max((s.column for s in slots), default=-1) + 1)]
    for slot in slots:
        found[slot.column].append(slot)
    best, fewest = found, _crossings(found, joined[1])
    for sweep in range(_SWEEPS):
        found = _swept(found, joined[sweep % 2], backwards=sweep % 2 == 1)
        crossings = _crossings(found, joined[1])
        if crossings < fewest:
            best, fewest = found, crossings
    return best


def _swept(columns: list[list[_Slot]], joined: _Joined, *, backwards: bool) -> list[list[_Slot]]:
    """Sort column after column by where that to which each slot is joined is on average."""
    swept: list[list[_Slot]] = []
    position: dict[_Slot, float] = {}
    for column in reversed(columns) if backwards else columns:
        own = dict(zip(column, map(float, range(len(column))), strict=True))
        wanted = {slot: _mean([position[one] for one in joined[slot]], own[slot]) for slot in own}
        swept.append(sorted(column, key=wanted.__getitem__))
        position |= dict(zip(swept[-1], map(float, range(len(column))), strict=True))
    return swept[::-1] if backwards else swept


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(columns: Sequence[Sequence[_Slot]], right: _Joined) -> int:
    position = {slot: number for column in columns for number, slot in enumerate(column)}
    crossings = 0
    for column in columns:
        ends: list[int] = []
        for slot in column:
            mine = [position[one] for one in right[slot]]
            crossings += sum(len(ends) - bisect_right(ends, end) for end in mine)
            for end in mine:
                insort(ends, end)
    return crossings


def _horizontal(
    columns: Sequence[Sequence[_Slot]], sizes: Mapping[_Slot, tuple[float, float]], between: float
) -> tuple[list[float], list[float]]:
    """Return where each column begins, and how wide it is."""
    widths = [max((sizes[s][0] for s in column if s in sizes), default=0.0) for column in columns]
    lefts = [sum(widths[:index]) + index * between for index in range(len(widths))]
    return lefts, widths


def _vertical(
    columns: Sequence[Sequence[_Slot]],
    sizes: Mapping[_Slot, tuple[float, float]],
    paths: Sequence[Sequence[_Slot]],
) -> dict[_Slot, float]:
    """Return the middle of each slot: as near to what it is joined to as the order allows."""
    slots = [slot for column in columns for slot in column]
    heights = {slot: sizes[slot][1] if slot in sizes else _LANE_HEIGHT for slot in slots}
    left, right = _joined(slots, paths)
    middles: dict[_Slot, float] = {}
    for column in columns:
        stacked = _apart(column, heights)
        middles |= {slot: at - stacked[-1] / 2 for slot, at in zip(column, stacked, strict=True)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            least = _apart(column, heights)
            wanted = (
                _mean([middles[one] for one in (*left[slot], *right[slot])], middles[slot])
                for slot in column
            )
            placed = _rising([at - gap for at, gap in zip(wanted, least, strict=True)])
            new = (at + gap for at, gap in zip(placed, least, strict=True))
            middles |= dict(zip(column, new, strict=True))
    top = min((middles[slot] - heights[slot] / 2 for slot in slots), default=0.0)
    return {slot: middle - top for slot, middle in middles.items()}


def _apart(column: Sequence[_Slot], heights: Mapping[_Slot, float]) -> list[float]:
    """Return the least distance of each slot's middle from that of the column's first."""
    distances = [0.0]
    for above, below in pairwise(column):
        gap = _BETWEEN_LANES if above.lane or below.lane else _BETWEEN_BOXES
        needed = (heights[above] + heights[below]) / 2 + gap
        distances.append(distances[-1] + needed)
    return distances[: len(column)]


def _rising(values: Sequence[float]) -> list[float]:
    """Return the nearest values, by least squares, that never fall: pool adjacent violators.

    Examples
    --------
    >>> _rising([1.0, 5.0, 3.0, 9.0])
    [1.0, 4.0, 4.0, 9.0]
    """
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]


def _corners(
    path: Sequence[_Slot],
    places: Mapping[_Slot, Place],
    lefts: Sequence[float],
    widths: Sequence[float],
    middles: Mapping[_Slot, float],
) -> Iterable[Point]:
    first, last = places[path[0]], places[path[-1]]
    yield first.x + first.width, first.y + first.height / 2
    for slot in path[1:-1]:
        yield lefts[slot.column], middles[slot]
        yield lefts[slot.column] + widths[slot.column], middles[slot]
    yield last.x, last.y + last.height / 2
