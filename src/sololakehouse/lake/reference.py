"""References to a table's version: `schema.table`, `schema.table@v3`, `schema.table@MOMENT`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sololakehouse.errors import UsageError
from sololakehouse.local_time import SETTING, moment_in_utc

_REFERENCE = re.compile(r"^(?P<table>[^@]+)(?:@(?:v(?P<version>\d+)|(?P<moment>\d.*)))?$")
_VERSION = re.compile(r"^v?(\d+)$")


def split_reference(reference: str, zone: str | None = None) -> tuple[str, int | datetime | None]:
    """Split a reference into the table's name and the version or the moment.

    Parameters
    ----------
    zone
        See `parse_moment`.

    Raises
    ------
    UsageError
        The text is no reference, or its moment has no time zone and there is no `zone`.

    Examples
    --------
    >>> split_reference("gold.sales@v3"), split_reference("gold.sales")
    (('gold.sales', 3), ('gold.sales', None))
    >>> split_reference("gold.sales@2026-01-31T00:00:00Z")[1].isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    match = _REFERENCE.match(reference)
    if match is None:
        raise UsageError(
            f"{reference!r} is no table. Write schema.table, schema.table@v3 or "
            "schema.table@2026-01-31T00:00:00Z."
        )
    if match["moment"]:
        return match["table"], parse_moment(match["moment"], zone)
    return match["table"], int(match["version"]) if match["version"] else None


def parse_version(text: str, zone: str | None = None) -> int | datetime:
    """Read `3`, `v3` or a moment, as `parse_moment` does.

    Raises
    ------
    UsageError
        The text is neither, or its moment has no time zone.
    """
    match = _VERSION.match(text)
    if match:
        return int(match[1])
    return parse_moment(text, zone, "version")


def parse_moment(moment: str | datetime, zone: str | None = None, kind: str = "moment") -> datetime:
    """Return a moment in UTC from ISO 8601 text or a datetime.

    Parameters
    ----------
    zone
        The zone of a moment that says none, as `time_zone` of the project's settings; None: such a
        moment is refused.

    Raises
    ------
    UsageError
        The text is no moment, or the moment has no time zone and there is no `zone`, or the clocks
        there skip it or show it twice.

    Examples
    --------
    >>> parse_moment("2026-01-31T01:00:00+01:00").isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            known = "a number or a moment" if kind == "version" else "ISO 8601 with a time zone"
            raise UsageError(
                f"{moment!r} is no {kind}. Write {known}, as in "
                f"{'3 or ' if kind == 'version' else ''}2026-01-31T00:00:00Z."
            ) from error
    if moment.utcoffset() is None and zone is not None:
        return moment_in_utc(moment.replace(tzinfo=None), zone)
    if moment.utcoffset() is None:
        raise UsageError(
            f"{moment.isoformat()} has no time zone, so it is another moment in another place. "
            f"Write {moment.isoformat()}Z for UTC, or an offset such as +01:00, or declare "
            f"{SETTING}."
        )
    return moment.astimezone(UTC)
