"""Trailing aggregates in plain Python: look at every row, for every point of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple


class Event(NamedTuple):
    key: str | None
    at: int | None  # microseconds
    value: float | None
    tie: int | None


def windows(
    events: Sequence[Event],
    points: Sequence[int],
    lengths: Sequence[int],
    *,
    closed: str,
    emit: str,
    grid: bool,
) -> dict[tuple[str, int], list[list[Event]]]:
    """Return the rows in each window, by key and the point where it ends.

    Windows are as long as so many steps between points, which are all that there are.
    """

    def inside(key: str, last: int, length: int) -> list[Event]:
        start, end = points[last - length], points[last]
        begins = (start, end) if closed in ("left", "both") else (start + 1, end)
        ends = end if closed in ("right", "both") else end - 1
        return [e for e in known if e.key == key and begins[0] <= e.at <= ends]

    known = [e for e in events if e.key is not None and e.at is not None]
    found = {}
    for key in {e.key for e in known}:
        for last in range(max(lengths) + 1, len(points)):
            rows = [inside(key, last, length) for length in lengths]
            if emit == "changes":
                is_row = rows != [inside(key, last - 1, length) for length in lengths]
            elif grid:
                is_row = bool(inside(key, last, 1))
            else:
                is_row = any(e.key == key and e.at == points[last] for e in known)
            if is_row:
                found[key, points[last]] = rows
    return found


def aggregated(function: str, events: Sequence[Event], decimals: int = 6) -> float | None:
    values = [e.value for e in events if e.value is not None]
    units = [Fraction(math.copysign(math.floor(abs(v) * 10**decimals + 0.5), v)) for v in values]
    if function == "rows":
        return len(events)
    if function == "count":
        return len(values)
    if not values or (function == "stddev" and len(values) < 2):
        return None
    if function == "last":
        given = [e for e in events if e.value is not None]
        return max(given, key=lambda e: (e.at, e.tie is not None, e.tie or 0, e.value)).value
    if function in ("min", "max"):
        return min(values) if function == "min" else max(values)
    total = float(sum(units)) / 10**decimals
    if function in ("sum", "mean"):
        return total if function == "sum" else total / len(values)
    mean = sum(units) / len(units)
    variance = sum((u - mean) ** 2 for u in units) / (len(units) - 1)
    return math.sqrt(variance) / 10**decimals
