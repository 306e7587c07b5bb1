"""Periods of time, in UTC, and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sololakehouse.config.evaluation import Period

if TYPE_CHECKING:
    import polars as pl

_FORMATS: dict[Period, str] = {
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "year": "%Y",
}
_STEPS: dict[Period, str] = {
    "day": "1d",
    "week": "1w",
    "month": "1mo",
    "quarter": "1q",
    "year": "1y",
}
_BEGIN = "begin of the period"


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


def by_period(rows: pl.DataFrame, timestamp: str, period: Period) -> list[tuple[str, pl.DataFrame]]:
    """Split rows by the period that they are in; rows without a moment are in none.

    Rows of one period are not copied. Those that were written in the order of time mostly are.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> import polars as pl
    >>> moments = [datetime(2013, month, 30, 23, tzinfo=UTC) for month in (12, 11, 12)]
    >>> rows = pl.DataFrame({"at": [*moments, None], "row": [1, 2, 3, 4]})
    >>> [(name, part["row"].to_list()) for name, part in by_period(rows, "at", "month")]
    [('2013-12', [1, 3]), ('2013-11', [2])]
    """
    import polars as pl

    name = period_of(timestamp, period)
    rows = rows.filter(pl.col(timestamp).is_not_null()) if rows[timestamp].has_nulls() else rows
    if rows.is_empty():
        return []
    ends = rows.select(pl.col(timestamp).min().append(pl.col(timestamp).max())).select(name)
    if ends.to_series().n_unique() == 1:
        return [(ends.item(0, 0), rows)]
    begin = pl.col(timestamp).dt.convert_time_zone("UTC").dt.truncate(_STEPS[period])
    parts = rows.with_columns(begin.alias(_BEGIN)).partition_by(_BEGIN, include_key=False)
    return [(part.head(1).select(name).item(), part) for part in parts]
