"""A length of time: `90min`, `3h`, `28d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_DURATION = re.compile(r"^(?P<number>-?\d+)\s*(?P<unit>us|ms|s|min|h|d|w)$")
_UNITS = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def parse_duration(value: Any) -> Any:
    """Read a duration such as `90min`, `3h` or `28d`; leave ISO 8601, as `P1D`, to pydantic.

    A day is 24 hours, a week 7 days. The unit of a number is never guessed.

    Raises
    ------
    ValueError
        The value is a number without a unit, or a text of another form.

    Examples
    --------
    >>> parse_duration("90min")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(value, int | float):
        raise ValueError(f"a duration needs a unit, such as '{value}d' or '{value}h'")
    found = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if found:
        return int(found["number"]) * _UNITS[found["unit"]]
    if isinstance(value, str) and not value.strip().lstrip("+-").startswith("P"):
        raise ValueError(f"{value!r} is no length of time. Write one such as 90min, 6h or 28d")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
