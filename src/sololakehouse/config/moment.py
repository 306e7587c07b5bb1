"""A moment with a time zone, or without one in the project's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, ValidationInfo

from sololakehouse.errors import UsageError
from sololakehouse.local_time import SETTING, moment_in_utc

ZONE = "time_zone"
AS_A_MOMENT = "2013-09-01T00:00:00Z"


def in_zone(zone: str | None) -> Mapping[str, str | None]:
    """Return the context in which moments without a time zone are validated."""
    return {ZONE: zone}


def _with_time_zone(value: Any, info: ValidationInfo) -> Any:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
    if not isinstance(moment, date):
        return value
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return moment
    zone = (info.context or {}).get(ZONE)
    if zone is None:
        raise ValueError(
            f"{value} has no time zone. Write UTC as in {AS_A_MOMENT}, or declare {SETTING}"
        )
    begin = moment if isinstance(moment, datetime) else datetime(*moment.timetuple()[:3])
    try:
        return moment_in_utc(begin, zone)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from error


Moment = Annotated[AwareDatetime, BeforeValidator(_with_time_zone)]
