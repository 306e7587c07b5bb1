"""Charts as inline SVG: no script, no download, and the colours of the page around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_ROW, _TOP, _ACROSS, _GAP = 26, 8, 340, 14
_LETTER, _CAPITAL = 7, 10
_SQUARE, _EDGE = 300, 40


@dataclass(frozen=True)
class Mark:
    """A value with its interval; `series` is a number from 0 that gives it its colour."""

    value: float
    low: float | None
    high: float | None
    series: int = 0


def whiskers(rows: Sequence[tuple[str, Sequence[Mark]]], reference: float | None = None) -> str:
    """Draw a row of marks for each name, on one axis from the least limit to the greatest.

    Parameters
    ----------
    reference
        A value that a line across all rows shows.
    """
    marks = [mark for _, some in rows for mark in some]
    if not marks:
        return ""
    ends = [end for mark in marks for end in (mark.value, mark.low, mark.high) if end is not None]
    ends += [reference] if reference is not None else []
    left = 2 * _GAP + _CAPITAL * max(len(name) for name, _ in rows)
    axis = _Axis(min(ends), max(ends), left, left + _ACROSS)
    height = _TOP + _ROW * len(rows) + 28
    parts = [axis.ticks(height - 24, _TOP)]
    if reference is not None:
        x = axis.at(reference)
        parts.append(f'<line class="reference" x1="{x}" x2="{x}" y1="{_TOP}" y2="{height - 24}"/>')
    for number, (name, some) in enumerate(rows):
        y = _TOP + _ROW * number + _ROW / 2
        parts.append(f'<text class="name" x="{left - _GAP}" y="{y + 4}">{escape(name)}</text>')
        for at, mark in enumerate(some):
            parts.append(_whisker(axis, mark, y + 7 * (at - (len(some) - 1) / 2)))
    return _svg(left + _ACROSS + 2 * _GAP, height, parts)


def _whisker(axis: _Axis, mark: Mark, y: float) -> str:
    x, kind = axis.at(mark.value), f"series-{mark.series}"
    line = ""
    if mark.low is not None and mark.high is not None:
        begin, end = axis.at(mark.low), axis.at(mark.high)
        line = f'<line class="whisker {kind}" x1="{begin}" x2="{end}" y1="{y}" y2="{y}"/>'
    said = f"{mark.value:.4f}"
    if mark.low is not None and mark.high is not None:
        said += f" ({mark.low:.4f} to {mark.high:.4f})"
    return f'<g>{line}<circle class="{kind}" cx="{x}" cy="{y}" r="4"/><title>{said}</title></g>'


def curves(
    series: Sequence[Sequence[tuple[float, float]]],
    x_name: str,
    y_name: str,
    *,
    diagonal: bool = False,
    dots: bool = False,
) -> str:
    """Draw lines through points; with `diagonal` both axes are the same."""
    points = [point for some in series for point in some]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = (min(0.0, *xs), max(*xs, *ys)) if diagonal else (min(xs), max(xs))
    across = _Axis(low, high, _EDGE, _SQUARE - 10)
    up = _Axis(low if diagonal else 0.0, high if diagonal else max(ys), _SQUARE - _EDGE, 10)
    parts = [across.ticks(_SQUARE - _EDGE, 10), up.ticks_up(_EDGE, _SQUARE - 10)]
    if diagonal:
        ends = f'x1="{across.at(low)}" x2="{across.at(high)}" y1="{up.at(low)}" y2="{up.at(high)}"'
        parts.append(f'<line class="reference" {ends}/>')
    for number, some in enumerate(series):
        line = " ".join(f"{across.at(x)},{up.at(y)}" for x, y in some)
        parts.append(f'<polyline class="series-{number}" points="{line}"/>')
        for x, y in some if dots else ():
            said = f"<title>{x:.3f}: {y:.3f}</title>"
            at = f'cx="{across.at(x)}" cy="{up.at(y)}"'
            parts.append(f'<circle class="series-{number}" {at} r="3.5">{said}</circle>')
    middle = (_EDGE + _SQUARE - 10) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{_SQUARE - 4}">{escape(x_name)}</text>')
    turned = f'transform="translate(11 {middle - 15}) rotate(-90)"'
    parts.append(f'<text class="axis" {turned}>{escape(y_name)}</text>')
    return _svg(_SQUARE, _SQUARE, parts)


def bars(
    shares: Sequence[Sequence[float]], labels: Sequence[str], width: int = 300, height: int = 90
) -> str:
    """Draw bars of several series side by side for each label, and share and label on hovering.

    If not all labels have room below, the first and the last are there.
    """
    top = max((share for some in shares for share in some), default=0.0) or 1.0
    step = width / max(1, len(labels))
    parts = []
    for at, label in enumerate(labels):
        for number, some in enumerate(shares):
            tall = round(some[at] / top * (height - 6), 1)
            wide = step * 0.84 / len(shares)
            x = round(at * step + step * 0.08 + number * wide, 1)
            place = f'x="{x}" y="{round(height - tall, 1)}" width="{wide:.1f}" height="{tall}"'
            said = f"<title>{escape(label)}: {some[at]:.1%}</title>"
            parts.append(f'<rect class="series-{number}" {place}>{said}</rect>')
    return _svg(width, height + 16, [*parts, *_below(labels, step, height + 13)])


def _below(labels: Sequence[str], step: float, y: float) -> list[str]:
    if all(_LETTER * len(label) <= step for label in labels):
        middles = [round(step * (at + 0.5), 1) for at in range(len(labels))]
        named = [("tick", x, label) for x, label in zip(middles, labels, strict=True)]
    else:
        width = round(step * len(labels), 1)
        named = [("tick begin", 0.0, labels[0]), ("tick up", width, labels[-1])]
    return [
        f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>' for kind, x, text in named
    ]


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        spread = self.high - self.low or 1.0
        return round(self.begin + (value - self.low) / spread * (self.end - self.begin), 1)

    def _values(self) -> list[float]:
        return [self.low + (self.high - self.low) * step / 4 for step in range(5)]

    def ticks(self, bottom: float, top: float) -> str:
        found = []
        for value in self._values():
            x = self.at(value)
            found.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
            found.append(f'<text class="tick" x="{x}" y="{bottom + 15}">{_short(value)}</text>')
        return "".join(found)

    def ticks_up(self, left: float, right: float) -> str:
        found = []
        for value in self._values():
            y = self.at(value)
            found.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
            place = f'x="{left - 4}" y="{y + 4}"'
            found.append(f'<text class="tick up" {place}>{_short(value)}</text>')
        return "".join(found)


def _short(value: float) -> str:
    return f"{value:.3g}"


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {size} role="img">{"".join(parts)}</svg>'
