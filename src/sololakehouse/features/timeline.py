"""The explanation of a row as a picture: one time line for each lookup, as SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from xml.sax.saxutils import escape

from sololakehouse.features.explanation import (
    Candidate,
    LookupExplanation,
    RowExplanation,
    Verdict,
)

WIDTH, LEFT, RIGHT = 960, 24, 936
_HEAD, _LANE, _LEGEND = 64, 132, 40
_STYLES: dict[Verdict, str] = {
    "chosen": "chosen",
    "older": "older",
    "lost the tie": "tie",
    "expired": "expired",
    "not yet known": "unknown",
    "exact match refused": "future",
    "in the future": "future",
}
_CSS = """
svg { background: #ffffff; font: 13px system-ui, sans-serif }
text { fill: #1f2933 } .dim { fill: #62707d } .title { font-size: 17px; font-weight: 600 }
.lane { font-weight: 600 } .axis { stroke: #9aa5b1 } .event { stroke: #1f2933; stroke-width: 2 }
.band { fill: #2f6fde; opacity: .12 } .known { stroke: #c2780c; stroke-dasharray: 3 3 }
.chosen { fill: #15803d; stroke: #15803d } .older { fill: none; stroke: #7b8794 }
.tie { fill: none; stroke: #7c3aed } .expired { fill: none; stroke: #b45309 }
.unknown { fill: none; stroke: #c2780c } .future { fill: none; stroke: #dc2626 }
circle { stroke-width: 2 }
@media (prefers-color-scheme: dark) {
svg { background: #14181d } text { fill: #e6eaee } .dim { fill: #93a1af }
.axis { stroke: #52606d } .event { stroke: #e6eaee } .band { opacity: .28 }
.chosen { fill: #4ade80; stroke: #4ade80 } .older { stroke: #93a1af } .tie { stroke: #b794f6 }
.expired, .unknown { stroke: #f0a94a } .known { stroke: #f0a94a } .future { stroke: #f87171 }
}
"""


def timeline(explained: RowExplanation) -> str:
    """Draw an explanation.

    A filled mark is the row that was chosen, open ones were rejected; the upright line is the
    label's moment, the band the lookback window. A dashed line leads from a row's moment to when
    it became known. Times are UTC. Each mark tells its values when the pointer rests on it.
    Colours follow the reader's choice of light or dark.

    Returns
    -------
    A whole SVG document, 960 wide.
    """
    lanes = [
        line
        for index, lookup in enumerate(explained.lookups)
        for line in _lane(lookup, _HEAD + index * _LANE)
    ]
    height = _HEAD + len(explained.lookups) * _LANE + _LEGEND
    label = ", ".join(f"{name}={_text(value)}" for name, value in explained.label.items())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(explained.name)}, row {explained.row}</title>",
            f"<style>{_CSS}</style>",
            _words(LEFT, 28, f"{explained.name}, row {explained.row}", "title"),
            _words(LEFT, 48, _cut(label, 130), "dim"),
            *lanes,
            *_legend(explained, height - 14),
            "</svg>",
            "",
        ]
    )


def _lane(lookup: LookupExplanation, top: int) -> Iterator[str]:
    key = ", ".join(f"{name}={_text(value)}" for name, value in lookup.key.items())
    yield _words(LEFT, top + 18, f"{lookup.table}@v{lookup.version}", "lane")
    yield _words(LEFT, top + 36, _cut(f"{key}: {lookup.summary}", 130), "dim")
    line = top + 80
    yield f'<line class="axis" x1="{LEFT}" y1="{line}" x2="{RIGHT}" y2="{line}"/>'
    if lookup.event is None:
        if lookup.chosen is not None:
            yield _mark(lookup.chosen, WIDTH / 2, line)
        return
    scale = _Scale.of(lookup, lookup.event)
    if lookup.lookback is not None:
        begin = max(scale.at(_earlier(lookup.event, lookup.lookback)), LEFT)
        size = f'width="{scale.at(lookup.event) - begin:.1f}" height="52"'
        yield f'<rect class="band" x="{begin:.1f}" y="{line - 26}" {size}/>'
    x = scale.at(lookup.event)
    yield f'<line class="event" x1="{x:.1f}" y1="{line - 30}" x2="{x:.1f}" y2="{line + 30}"/>'
    yield _words(x, line + 44, _text(lookup.event), "", "middle" if 120 < x < 840 else "end")
    stacked: Counter[float] = Counter()
    for candidate in lookup.candidates:
        if candidate.feature_ts is None:
            continue
        x = round(scale.at(candidate.feature_ts), 1)
        y = line - 12 * stacked[x]
        stacked[x] += 1
        if candidate.known_at is not None and candidate.known_at != candidate.feature_ts:
            end = scale.at(candidate.known_at)
            yield f'<line class="known" x1="{x}" y1="{y}" x2="{end:.1f}" y2="{y - 14}"/>'
        yield _mark(candidate, x, y)


class _Scale:
    """Where a moment is between the left and the right edge."""

    def __init__(self, first: datetime, last: datetime) -> None:
        self._first = first
        self._seconds = max((last - first).total_seconds(), 1e-6)

    @classmethod
    def of(cls, lookup: LookupExplanation, event: datetime) -> _Scale:
        moments = [event]
        for candidate in lookup.candidates:
            moments += [at for at in (candidate.feature_ts, candidate.known_at) if at is not None]
        return cls(min(moments), max(moments))

    def at(self, moment: datetime) -> float:
        margin = 40
        share = (moment - self._first).total_seconds() / self._seconds
        return LEFT + margin + share * (RIGHT - LEFT - 2 * margin)


def _earlier(event: datetime, lookback: timedelta) -> datetime:
    try:
        return event - lookback
    except OverflowError:
        return datetime.min.replace(tzinfo=event.tzinfo)


def _mark(candidate: Candidate, x: float, y: float) -> str:
    values = ", ".join(f"{name}={_text(value)}" for name, value in candidate.values.items())
    known = f", known at {_text(candidate.known_at)}" if candidate.known_at else ""
    told = f"{_text(candidate.feature_ts)}{known}: {candidate.verdict}, {candidate.because}"
    style = _STYLES[candidate.verdict]
    return (
        f'<circle class="{style}" cx="{x:.1f}" cy="{y}" r="7">'
        f"<title>{escape(f'{told}. {values}')}</title></circle>"
    )


def _legend(explained: RowExplanation, y: int) -> Iterator[str]:
    present = {one.verdict for lookup in explained.lookups for one in lookup.candidates}
    x = LEFT + 8
    for verdict, style in _STYLES.items():
        if verdict in present:
            yield f'<circle class="{style}" cx="{x}" cy="{y - 4}" r="6"/>'
            yield _words(x + 12, y, verdict, "dim")
            x += 34 + 7 * len(verdict)


def _words(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _text(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").replace("+00:00", "Z")
    return str(value)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
