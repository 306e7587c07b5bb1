"""Lengths of time, as they are declared and as they stand in names."""

from __future__ import annotations

from datetime import timedelta

from sololakehouse.config.duration import parse_duration
from sololakehouse.errors import UsageError

Length = str | timedelta

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
_LONGEST = timedelta(days=100_000)
_UNITS = {
    "d": DAY,
    "h": timedelta(hours=1),
    "min": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": MICROSECOND,
}


def length_of(said: Length) -> timedelta:
    """Read a length of time such as `90min` or `7d`.

    Raises
    ------
    UsageError
        It is no length of time, or is not longer than nothing and at most 100,000 days.

    Examples
    --------
    >>> length_of("90min")
    datetime.timedelta(seconds=5400)
    """
    try:
        length = parse_duration(said)
    except (ValueError, OverflowError):
        length = None
    if not isinstance(length, timedelta):
        raise UsageError(
            f"{said!r} is no length of time. Write a number and one of us, ms, s, min, h, d, w, "
            "such as '90min' or '7d'."
        )
    if not timedelta(0) < length <= _LONGEST:
        raise UsageError(f"A length of time here is more than 0 and at most 100000d, not {said!r}.")
    return length


def label_of(said: Length) -> str:
    """Return how a length of time stands in names: as it was written.

    Examples
    --------
    >>> label_of("24 h"), label_of(timedelta(hours=24))
    ('24h', '1d')
    """
    return "".join(said.split()) if isinstance(said, str) else text_of(length_of(said))


def text_of(length: timedelta) -> str:
    """Write a length of time in the largest unit of which it is a whole multiple.

    Examples
    --------
    >>> text_of(timedelta(days=28)), text_of(timedelta(days=1, hours=1))
    ('28d', '25h')
    """
    unit, size = next((unit, size) for unit, size in _UNITS.items() if not length % size)
    return f"{length // size}{unit}"
