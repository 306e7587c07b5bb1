"""Periods of time, in UTC, and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sololakehouse.config import Period

if TYPE_CHECKING:
    import polars as pl

_FORMATS: dict[Period, str] = {
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "year": "%Y",
}


def period_of(timestamp: str, period: Period) -> pl.Expr:
    """Return the name of the period that each moment is in; names sort as the periods do.

    A day is a day in UTC, a week one of ISO 8601 (it begins on Monday).

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> import polars as pl
    >>> rows = pl.DataFrame({"at": [datetime(2013, 11, 30, 23, tzinfo=UTC)]})
    >>> [rows.select(period_of("at", one)).item() for one in ("day", "week", "month", "quarter")]
    ['2013-11-30', '2013-W48', '2013-11', '2013-Q4']
    """
    import polars as pl

    moment = pl.col(timestamp).dt.convert_time_zone("UTC")
    if period == "quarter":
        return pl.format("{}-Q{}", moment.dt.year(), moment.dt.quarter())
    return moment.dt.strftime(_FORMATS[period])
