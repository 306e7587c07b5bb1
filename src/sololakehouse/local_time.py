"""Timestamps without a time zone, read as what the clocks of one zone show.

This is the one place that turns them into moments. A time that those clocks skip, when they are put
forward, or show twice, when they are put back, is not one moment, and is refused.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sololakehouse.errors import FeatureLookupError, UsageError, suggestion

if TYPE_CHECKING:
    import polars as pl

SETTING = "'time_zone' in lakehouse.yml"
_EPOCH = datetime(1970, 1, 1)
# Polars knows the clocks' rules up to 2099, and moments in UTC need a year as well.
_FIRST, _LAST = datetime(1, 1, 2), datetime(2100, 1, 1)
_A_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_A_DAY = 86_400
_INT64 = 2**63
_EXAMPLES = 3
_NO_ZONES = ("Factory", "localtime")


def checked_zone(name: str) -> str:
    """Return a time zone as it is written, if the IANA database has it.

    Raises
    ------
    ValueError
        It has no zone of this name: says the nearest.
    """
    from zoneinfo import available_timezones

    known = available_timezones().difference(_NO_ZONES)
    if name not in known:
        raise ValueError(
            f"{name!r} is no time zone. Write UTC, or a name as in Europe/Berlin. "
            f"{suggestion(name, known, 'time zone')}"
        )
    return name


def naive_columns(
    schema: Mapping[str, pl.DataType], among: Container[str] | None = None
) -> tuple[str, ...]:
    """Return the timestamps without a time zone, of some columns or of all."""
    import polars as pl

    return tuple(
        name
        for name, kind in schema.items()
        if isinstance(kind, pl.Datetime)
        and kind.time_zone is None
        and (among is None or name in among)
    )


def in_utc(
    rows: pl.LazyFrame, columns: Iterable[str], zone: str | None, where: str
) -> pl.LazyFrame:
    """Return rows with timestamps that have no time zone as moments in UTC; NULL stays NULL.

    Parameters
    ----------
    columns
        Timestamps without a time zone, of any unit; they keep it.
    zone
        Where clocks show these times, as an IANA name; None: the rows stay as they are.
    where
        Name of the rows for the messages.

    Raises
    ------
    FeatureLookupError
        Clocks there skip a time, show it twice, or are not known for its year: says how many
        values that are, and shows three.

    Examples
    --------
    >>> import polars as pl
    >>> rows = pl.LazyFrame({"at": [datetime(2026, 7, 1, 12)]})
    >>> in_utc(rows, ["at"], "Europe/Berlin", "the labels").collect().item().isoformat()
    '2026-07-01T10:00:00+00:00'
    """
    if zone is None:
        return rows
    schema = rows.collect_schema()
    named = [_Column(column, schema[column].time_unit, zone) for column in columns]  # type: ignore[attr-defined]
    for column in named:
        column.refuse_unclear(rows, where)
    return rows.with_columns(column.utc() for column in named) if named else rows


def moment_in_utc(moment: datetime, zone: str) -> datetime:
    """Return a datetime without a time zone as a moment in UTC.

    Raises
    ------
    UsageError
        Clocks there skip this time, show it twice, or are not known for its year.

    Examples
    --------
    >>> moment_in_utc(datetime(2026, 1, 31), "Europe/Berlin").isoformat()
    '2026-01-30T23:00:00+00:00'
    """
    import polars as pl

    column = _Column("moment", "us", zone)
    one = pl.LazyFrame({"moment": [moment]}, schema={"moment": pl.Datetime("us")})
    found: datetime | None = one.select(column.utc()).collect().item()
    if found is None:
        why = column.why((moment - _EPOCH) // timedelta(microseconds=1))
        raise UsageError(
            f"{moment.isoformat()} has no time zone, and is not one moment in {zone}: {why}. Write "
            "it in UTC, as in 2026-01-31T00:00:00Z."
        )
    return found.astimezone(UTC)


class _Column:
    """A column of timestamps without a time zone."""

    def __init__(self, name: str, unit: Literal["ms", "us", "ns"], zone: str) -> None:
        self._name = name
        self._unit: Literal["ms", "us", "ns"] = unit
        self._zone = zone

    def utc(self, ambiguous: Literal["null", "earliest"] = "null") -> pl.Expr:
        """Return the moments; NULL where a time is not one moment."""
        import polars as pl

        time = pl.col(self._name)
        number = time.to_physical()
        known = number.is_between(*self._known, closed="left")
        inside = pl.when(known).then(number).otherwise(None).cast(pl.Datetime(self._unit))
        local = inside.dt.replace_time_zone(self._zone, ambiguous=ambiguous, non_existent="null")
        return local.dt.convert_time_zone("UTC").alias(self._name)

    def refuse_unclear(self, rows: pl.LazyFrame, where: str) -> None:
        """Refuse rows of which a time is not one moment."""
        import polars as pl

        time = pl.col(self._name)
        unclear = rows.select(time).filter(time.is_not_null() & self.utc().is_null())
        count = unclear.select(pl.len()).collect(engine="streaming").item()
        if count:
            numbers = unclear.unique().select(time.to_physical()).bottom_k(_EXAMPLES, by=time)
            shown = ", ".join(map(self._described, numbers.collect().to_series()))
            raise FeatureLookupError(
                f"The timestamp {self._name!r} of {where} has no time zone and is read as time of "
                f"{self._zone}, where {count:,} of its values {'is' if count == 1 else 'are'} not "
                f"one moment: {shown}. Give the column in UTC."
            )

    def why(self, number: int) -> str:
        """Say why a time is not one moment."""
        import polars as pl

        first, last = self._known
        if not first <= number < last:
            return "clocks are known for the years 1 to 2099"
        kind = {self._name: pl.Datetime(self._unit)}
        one = pl.LazyFrame({self._name: [number]}, schema={self._name: pl.Int64}).cast(kind)  # type: ignore[arg-type]
        earlier = one.select(self.utc("earliest")).collect().item()
        return "clocks skip it" if earlier is None else "clocks show it twice"

    def _described(self, number: int) -> str:
        try:
            time = _EPOCH + timedelta(microseconds=number * 10**6 // _A_SECOND[self._unit])
        except OverflowError:
            return f"{number} {self._unit} since 1970 ({self.why(number)})"
        return f"{time.isoformat()} ({self.why(number)})"

    @property
    def _known(self) -> tuple[int, int]:
        """The first number that clocks are known for, and the first that they are not any more.

        The moment in UTC must fit as well, and is less than a day away.
        """
        first, last = (
            (time - _EPOCH) // timedelta(seconds=1) * _A_SECOND[self._unit]
            for time in (_FIRST, _LAST)
        )
        return max(first, _A_DAY * _A_SECOND[self._unit] - _INT64), last
