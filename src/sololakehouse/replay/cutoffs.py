"""The moments to go back to: given by a person, or chosen to hit many hours, days and months."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from sololakehouse.errors import UsageError

_MARGIN = 0.04
_DAY = timedelta(days=1)


def chosen_cutoffs(first: datetime, last: datetime, count: int, seed: int) -> list[datetime]:
    """Choose moments between two others, in UTC, in their order.

    The time between is cut into `count` parts; from each comes one day, and the hours of the days
    are spread over the clock. Every fourth moment is a full hour, which shows what happens exactly
    at a boundary; the others have minutes and seconds. A twenty-fifth at both ends is left out,
    where little is known yet, or nothing is hidden.

    Examples
    --------
    >>> year = datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC)
    >>> [f"{moment:%m-%d %H:%M}" for moment in chosen_cutoffs(*year, 4, seed=0)]
    ['04-06 05:00', '05-09 14:31', '09-15 10:32', '10-12 19:33']
    """
    draw = random.Random(seed)
    margin = (last - first) * _MARGIN
    begin, part = first + margin, (last - first - 2 * margin) / count
    hours = [(number + draw.random()) * 24 / count for number in range(count)]
    draw.shuffle(hours)
    found = []
    for number, hour in enumerate(hours):
        earliest = begin + number * part
        moment = earliest + draw.random() * part
        if part > _DAY:
            moment = _at_hour(moment, hour, earliest, earliest + part)
        exact = number % 4 == 0
        found.append(moment.replace(minute=0, second=0) if exact and part > _DAY else moment)
    return [moment.astimezone(UTC).replace(microsecond=0) for moment in found]


def refuse_outside(cutoffs: list[datetime], first: datetime, last: datetime) -> None:
    """Refuse cutoffs before anything was known, or after everything was.

    Raises
    ------
    UsageError
        Says between which moments something becomes known.
    """
    for cutoff in cutoffs:
        if not first <= cutoff < last:
            raise UsageError(
                f"--at {_written(cutoff)}: nothing becomes known after it, or nothing was known "
                f"before. Choose a moment from {_written(first)} until {_written(last)}."
            )


def _at_hour(moment: datetime, hour: float, earliest: datetime, latest: datetime) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = midnight + timedelta(hours=hour)
    if wanted < earliest:
        wanted += _DAY
    return wanted if wanted < latest else wanted - _DAY


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
