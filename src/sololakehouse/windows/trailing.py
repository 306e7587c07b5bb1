"""A feature table of trailing aggregates: `TrailingAggregates`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sololakehouse.errors import UsageError, suggestion
from sololakehouse.windows.aggregate import Aggregate
from sololakehouse.windows.clock import Clock, Closed
from sololakehouse.windows.length import DAY, MICROSECOND, Length, length_of, text_of
from sololakehouse.windows.state import State

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Emit = Literal["changes", "events"]

_POSITION, _SHIFT, _EMITTED = "__position", "__shift", "__emitted"


@dataclass(frozen=True, kw_only=True)
class TrailingAggregates:
    """What happened to a key in windows of time that end at `feature_ts`, for a feature table.

    Attributes
    ----------
    keys
        Columns that say what a row is about, one or several. Rows with a NULL in one are left out:
        no lookup could find them.
    timestamp
        Column with the instant of each row, a TIMESTAMP. Rows with a NULL are left out.
    aggregates
        What to compute.
    every
        None: at each instant, to the microsecond. A length of time that divides a day, such as `1h`
        or `1d`: at each point of that grid, counted from midnight UTC. Windows are then whole
        multiples of it, and `closed` is `right` or `left`.
    timezone
        For `every="1d"`: days begin there, at midnight or at the first moment of the day if clocks
        skip midnight. A window of `7d` is seven of these days, of 23 to 25 hours as a rule. None:
        UTC.
    closed
        Which ends of a window belong to it, as in pandas. The window that ends at t is (t - length,
        t] with `right`, [t - length, t) with `left`, [t - length, t] with `both`, and (t - length,
        t) with `neither`. All rows of one instant are in it, or none.
    emit
        `changes`: a row of the table wherever rows enter or leave one of the windows, so that the
        latest one is right at every moment. `events`: a row wherever there are rows of the source
        (on a grid: at the first point that sees them), and none when they leave.
    feature_timestamp
        Name of the column with the moment at which the windows end.

    Raises
    ------
    UsageError
        A length of time does not fit, a column would be there twice, or an argument is unknown.

    Examples
    --------
    >>> delay = TrailingAggregates(
    ...     keys="carrier",
    ...     timestamp="arrived_at",
    ...     aggregates=[Aggregate("mean", "arr_delay", windows=["24h", "7d"])],
    ...     every="1h",
    ... )
    >>> delay.columns
    ('carrier', 'feature_ts', 'arr_delay_mean_24h', 'arr_delay_mean_7d')

    In a pipeline source, `delay.of(spark.table("silver.flights"))` is the table's DataFrame.
    """

    keys: str | Sequence[str]
    timestamp: str
    aggregates: Sequence[Aggregate]
    every: Length | None = None
    timezone: str | None = None
    closed: Closed = "right"
    emit: Emit = "changes"
    feature_timestamp: str = "feature_ts"

    def __post_init__(self) -> None:
        for mistake in (*self._mistakes(), *self._mistakes_of_grid(), *self._mistakes_of_windows()):
            raise UsageError(f"Trailing aggregates by {', '.join(self._keys)}: {mistake}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table: keys, timestamp, and one for each aggregate and window."""
        outputs = [name for aggregate in self.aggregates for name in aggregate.outputs]
        return (*self._keys, self.feature_timestamp, *outputs)

    @property
    def lookback(self) -> str:
        """How long before `feature_ts` rows of the source can lie that a row depends on.

        The longest window. If rows that leave it make a row, also the step of the grid, or the
        microsecond after a window that begins with a closed end. With a time zone a day more, since
        its days differ in length.
        """
        longest = max(self._lengths)
        if self.emit == "changes":
            step = self._clock.step or timedelta(0)
            longest = self._clock.leaving(longest) * MICROSECOND + step
        return text_of(longest if self.timezone is None else longest + DAY)

    def table_properties(self, source: str | None = None) -> dict[str, str]:
        """Return the table properties of the feature table.

        Parameters
        ----------
        source
            The timestamp in the table that grows, such as `silver.flights.arrived_at`: a run then
            computes the rows from the earliest new one on. None: it computes all rows.
        """
        properties = {
            "feature.keys": ",".join(self._keys),
            "feature.timestamp": self.feature_timestamp,
        }
        if source is not None:
            properties["pipelines.incremental.source"] = source
            properties["pipelines.incremental.lookback"] = self.lookback
        return properties

    def of(self, df: DataFrame) -> DataFrame:
        """Return the rows of the feature table, lazily.

        Parameters
        ----------
        df
            A row for each event, in any order, with the keys, the timestamp and the columns of the
            aggregates. Nothing is computed, and the schema is not asked for.

        Returns
        -------
        DataFrame
            `columns`; no two rows have keys and timestamp in common.
        """
        from pyspark.sql import functions as F

        given = reduce(and_, [F.col(name).isNotNull() for name in (*self._keys, self.timestamp)])
        position = self._clock.position(self.timestamp).alias(_POSITION)
        states = [state.of_rows(self.timestamp).alias(state.name) for state in self._states]
        rows = df.where(given).groupBy(*self._keys, position).agg(*states)
        values = [
            aggregate.value(window).alias(aggregate.output(window))
            for aggregate in self.aggregates
            for window in aggregate.lengths
        ]
        moment = self._clock.moment(F.col(_POSITION)).alias(self.feature_timestamp)
        return self._trailing(self._with_changes(rows)).select(*self._keys, moment, *values)

    def _with_changes(self, rows: DataFrame) -> DataFrame:
        """Add the positions at which rows enter or leave a window, with what that changes."""
        from pyspark.sql import functions as F

        entering, leaving = self._clock.entering, map(self._clock.leaving, self._lengths)
        shifts = [F.lit(n).cast("bigint") for n in sorted({0, entering, *leaving})]
        shift = F.col(_SHIFT)
        emitted = F.min(shift) == 0 if self.emit == "events" else F.max(shift) >= entering
        states = {}
        for state, window, length in self._windows():
            kept = F.col(state.name)
            if state.is_sum:
                left = shift == self._clock.leaving(length)
                change = F.sum(F.when(shift == entering, kept).when(left, -kept))
                states[state.within(window)] = change
            else:
                states[state.name] = F.max(F.when(shift == 0, kept))
        return (
            rows.withColumn(_SHIFT, F.explode(F.array(*shifts)))
            .groupBy(*self._keys, (F.col(_POSITION) + shift).alias(_POSITION))
            .agg(emitted.alias(_EMITTED), *_named(states))
        )

    def _trailing(self, rows: DataFrame) -> DataFrame:
        """Put together what is known of the positions in each window."""
        from pyspark.sql import Window

        order = Window.partitionBy(*self._keys).orderBy(_POSITION)
        so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
        states = {}
        for state, window, length in self._windows():
            name = state.within(window)
            if state.is_sum:
                states[name] = state.of_positions(name).over(so_far)
            else:
                frame = order.rangeBetween(*self._clock.frame(length))
                states[name] = state.of_positions(state.name).over(frame)
        trailing = rows.select(*self._keys, _POSITION, _EMITTED, *_named(states))
        return trailing.where(_EMITTED)

    def _windows(self) -> Iterator[tuple[State, str, timedelta]]:
        for aggregate in self.aggregates:
            for window, length in aggregate.lengths.items():
                for state in aggregate.states:
                    yield state, window, length

    @property
    def _keys(self) -> tuple[str, ...]:
        return (self.keys,) if isinstance(self.keys, str) else tuple(self.keys)

    @property
    def _clock(self) -> Clock:
        step = None if self.every is None else length_of(self.every)
        return Clock(self.closed, step, self.timezone)

    @property
    def _lengths(self) -> set[timedelta]:
        return {length for aggregate in self.aggregates for length in aggregate.lengths.values()}

    @property
    def _states(self) -> tuple[State, ...]:
        states = (state for aggregate in self.aggregates for state in aggregate.states)
        return tuple(dict.fromkeys(states))

    def _mistakes(self) -> Iterator[str]:
        if not self._keys:
            yield "there are no keys. Name the columns that say what a row is about."
        if not self.aggregates:
            yield "there is no aggregate. Write one, such as Aggregate('count', windows='7d')."
        for name, kind in (("closed", Closed), ("emit", Emit)):
            said, known = getattr(self, name), get_args(kind)
            if said not in known:
                yield f"{name}={said!r} is unknown. {suggestion(str(said), known, 'value')}"

    def _mistakes_of_grid(self) -> Iterator[str]:
        step = self._clock.step
        if step and DAY % step:
            yield f"every={self.every!r} does not divide a day. Write such as '1h' or '1d'."
        if step and self.closed not in ("right", "left"):
            yield f"with 'every', closed is 'right' or 'left', not {self.closed!r}."
        if self.timezone is not None and step != DAY:
            yield "a timezone says when days begin, and needs every='1d'."
        if self.timezone is not None and not _is_zone(self.timezone):
            yield f"{self.timezone!r} is no time zone. Write a name as in Europe/Berlin."

    def _mistakes_of_windows(self) -> Iterator[str]:
        for length in sorted(self._lengths):
            if self._clock.step and length % self._clock.step:
                yield f"the window {text_of(length)} is no multiple of every={self.every!r}."
            first, last = self._clock.frame(length)
            if first > last:
                yield f"no instant lies inside a window of {text_of(length)} without its ends."
        for name in self.columns:
            if self.columns.count(name) > 1:
                yield (
                    f"two columns have the name {name!r}. Give one another, such as "
                    "name='arrivals_{window}'."
                )


def _named(columns: Mapping[str, Column]) -> list[Column]:
    return [column.alias(name) for name, column in columns.items()]


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
