"""Lines as a hand draws them: twice, not quite straight, and never ending just where they should.

How much strokes stray follows Preet Shihn, "The algorithms behind Rough.js" (2020),
https://shihn.ca/posts/2020/roughjs-algorithms, the library with which Excalidraw draws: ends stray
by at most 2 pixels, less on long lines; lines bow by up to 1/100 of their length, and lean on two
points on the first half; areas are filled with parallel strokes at -41 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random

Point = tuple[float, float]
_STRAY = 1.5
_BOW = 1 / 100
_HATCH_ANGLE = math.radians(-41)
_HATCH_GAP = 7.0


class Hand:
    """Draws paths of SVG; the same seed draws the same lines."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def line(self, start: Point, end: Point, times: int = 2) -> str:
        """Draw a straight line."""
        return " ".join(self._stroke(start, end, move=True) for _ in range(times))

    def corners(self, points: Sequence[Point], times: int = 2) -> str:
        """Draw lines from point to point."""
        return " ".join(self.line(start, end, times) for start, end in pairwise(points))

    def curve(self, points: Sequence[Point], times: int = 2) -> str:
        """Draw a curve through points; its ends are exact in the first stroke."""
        return " ".join(
            _through(points if again == 0 else [self._near(p, 1.0) for p in points])
            for again in range(times)
        )

    def rectangle(self, x: float, y: float, width: float, height: float, radius: float) -> str:
        """Draw the four sides, and between them quarters of circles."""
        return " ".join(self._rounded(x, y, width, height, radius) for _ in range(2))

    def ellipse(self, x: float, y: float, width: float, height: float) -> str:
        """Draw an ellipse twice, each time by another hand's breadth."""
        return " ".join(self._oval(x, y, width, height) for _ in range(2))

    def hatching(self, outline: Sequence[Point]) -> str:
        """Fill a polygon with parallel strokes."""
        return " ".join(
            self.line(start, end, times=1) for start, end in _hatches(outline, _HATCH_GAP)
        )

    def _stray(self, most: float) -> float:
        return self._random.uniform(-most, most)

    def _near(self, point: Point, most: float) -> Point:
        return point[0] + self._stray(most), point[1] + self._stray(most)

    def _stroke(self, start: Point, end: Point, *, move: bool) -> str:
        (x, y), (other_x, other_y) = start, end
        length = math.hypot(other_x - x, other_y - y)
        most = min(_STRAY * _gain(length), length / 10)
        bow = self._stray(_BOW) * length
        across = _unit(y - other_y, other_x - x)
        lean = self._random.uniform(0.2, 0.4)
        handles = (
            (
                x + (other_x - x) * part + bow * across[0] + self._stray(most / 2),
                y + (other_y - y) * part + bow * across[1] + self._stray(most / 2),
            )
            for part in (lean, 2 * lean)
        )
        first = f"M{_written(self._near(start, most))} " if move else ""
        return f"{first}C{' '.join(map(_written, [*handles, self._near(end, most)]))}"

    def _rounded(self, x: float, y: float, width: float, height: float, radius: float) -> str:
        right, bottom, r = x + width, y + height, radius
        sides = [
            ((x + r, y), (right - r, y), (right, y)),
            ((right, y + r), (right, bottom - r), (right, bottom)),
            ((right - r, bottom), (x + r, bottom), (x, bottom)),
            ((x, bottom - r), (x, y + r), (x, y)),
        ]
        parts = [f"M{_written(self._near(sides[0][0], _STRAY / 2))}"]
        for (start, end, corner), (following, *_) in zip(sides, sides[1:] + sides[:1], strict=True):
            parts.append(self._stroke(start, end, move=False))
            if r:
                turned = self._near(following, _STRAY / 2)
                parts.append(f"Q{_written(self._near(corner, _STRAY / 2))} {_written(turned)}")
        return " ".join(parts)

    def _oval(self, x: float, y: float, width: float, height: float) -> str:
        middle = x + width / 2, y + height / 2
        half = (
            width / 2 + self._stray(min(1.0, width / 30)),
            height / 2 + self._stray(min(1.0, height / 30)),
        )
        begin = self._random.uniform(-0.6, -0.2)
        count = 16
        angles = [begin + 2 * math.pi * step / count for step in range(count + 1)]
        angles.append(angles[-1] + 0.15)
        most = min(0.7, min(width, height) / 40)
        return _through(
            [
                self._near(
                    (
                        middle[0] + half[0] * math.cos(angle),
                        middle[1] + half[1] * math.sin(angle),
                    ),
                    most,
                )
                for angle in angles
            ]
        )


def _gain(length: float) -> float:
    """Return how much of the straying is left on a line: all below 200 pixels, 0.4 above 500."""
    return min(1.0, max(0.4, 1 - 0.6 * (length - 200) / 300))


def _through(points: Sequence[Point]) -> str:
    """Write the Catmull-Rom curve through points as Bezier curves.

    From point p1 to p2 with the neighbours p0 and p3, the handles are p1 + (p2 - p0) / 6 and
    p2 - (p3 - p1) / 6 (E. Catmull and R. Rom, "A class of local interpolating splines", 1974).
    """
    around = [points[0], *points, points[-1]]
    parts = [f"M{_written(points[0])}"]
    for before, start, end, after in zip(around, around[1:], around[2:], around[3:], strict=False):
        leaving = start[0] + (end[0] - before[0]) / 6, start[1] + (end[1] - before[1]) / 6
        coming = end[0] - (after[0] - start[0]) / 6, end[1] - (after[1] - start[1]) / 6
        parts.append(f"C{_written(leaving)} {_written(coming)} {_written(end)}")
    return " ".join(parts)


def _hatches(outline: Sequence[Point], gap: float) -> Iterator[tuple[Point, Point]]:
    """Cut parallel lines with a polygon: turn it, go down line by line, turn the pieces back."""
    turned = [_turned(point, -_HATCH_ANGLE) for point in outline]
    sides = list(zip(turned, turned[1:] + turned[:1], strict=True))
    lowest, highest = min(y for _, y in turned), max(y for _, y in turned)
    level = lowest + gap / 2
    while level < highest:
        cuts = sorted(
            x + (level - y) * (other_x - x) / (other_y - y)
            for (x, y), (other_x, other_y) in sides
            if (y <= level) != (other_y <= level)
        )
        for left, right in zip(cuts[::2], cuts[1::2], strict=False):
            yield _turned((left, level), _HATCH_ANGLE), _turned((right, level), _HATCH_ANGLE)
        level += gap


def _turned(point: Point, angle: float) -> Point:
    (x, y), cosine, sine = point, math.cos(angle), math.sin(angle)
    return x * cosine - y * sine, x * sine + y * cosine


def _unit(x: float, y: float) -> Point:
    length = math.hypot(x, y) or 1.0
    return x / length, y / length


def _written(point: Point) -> str:
    return f"{_rounded_off(point[0])} {_rounded_off(point[1])}"


def _rounded_off(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
