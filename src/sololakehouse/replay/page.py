"""The report of a replay as one HTML file: nothing is loaded when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sololakehouse.replay.verdicts import ColumnVerdict, Leak, ReplayReport

_TEMPLATE = Path(__file__).with_name("page.html")
WIDTH, LEFT, RIGHT = 720, 12, 12


@dataclass(frozen=True)
class Mark:
    """A cutoff on a time line.

    Attributes
    ----------
    x
        Its place in pixels.
    begin
        The place of the earliest moment that differs; None if nothing differs.
    """

    x: float
    begin: float | None
    text: str


def page(report: ReplayReport) -> str:
    """Write the report as HTML, for light and dark screens."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"moment": written, "value": shown_value}
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    return template.render(report=report, time_line=lambda one: time_line(one, report.cutoffs))


def time_line(column: ColumnVerdict, cutoffs: Sequence[datetime]) -> list[Mark]:
    """Place each cutoff of a column between the earliest moment and the last cutoff.

    Examples
    --------
    >>> year = [datetime(2013, month, 1, tzinfo=UTC) for month in (3, 9)]
    >>> [mark.x for mark in time_line(ColumnVerdict("temp", "clean"), year)]
    [12.0, 708.0]
    """
    first, last = min([*cutoffs, *_beginnings(column)]), max(cutoffs)
    whole = (last - first).total_seconds() or 1.0

    def place(moment: datetime) -> float:
        share = (moment - first).total_seconds() / whole
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    leaks: dict[datetime, Leak] = {}
    for leak in column.leaks:
        known = leaks.get(leak.cutoff)
        if known is None or leak.difference.rows > known.difference.rows:
            leaks[leak.cutoff] = leak
    return [_mark(cutoff, leaks.get(cutoff), place) for cutoff in cutoffs]


def _beginnings(column: ColumnVerdict) -> list[datetime]:
    return [moment for leak in column.leaks if (moment := leak.difference.earliest)]


def _mark(cutoff: datetime, leak: Leak | None, place: Any) -> Mark:
    if leak is None:
        return Mark(place(cutoff), None, f"{written(cutoff)}: no difference")
    earliest = leak.difference.earliest
    text = f"{written(cutoff)} ({leak.mode}): {leak.difference.rows:,} rows differ"
    if earliest is None:
        return Mark(place(cutoff), place(cutoff), text)
    return Mark(place(cutoff), place(earliest), f"{text}, the earliest of {written(earliest)}")


def written(moment: datetime | None) -> str:
    """Write a moment in UTC.

    Examples
    --------
    >>> written(datetime(2013, 7, 1, 12, tzinfo=UTC)), written(None)
    ('2013-07-01 12:00:00 UTC', '')
    """
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def shown_value(value: Any) -> str:
    """Write a value: NULL is NULL, moments are in UTC, floats are short."""
    if value is None:
        return "NULL"
    if isinstance(value, datetime) and value.tzinfo:
        return written(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
