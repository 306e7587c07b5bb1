"""The point-in-time join: for each label, the one feature row that was valid and known then.

The rules, in the order in which they are applied. `event` is the label's timestamp.

1. A row is visible if `feature_ts <= event`; with `allow_exact_match=False` if
   `feature_ts < event`.
2. With `known_at`, a row is visible only if also `known_at <= event`. With `known_as_of` that
   condition is `known_at <= known_as_of` instead: what could be known on that day, whatever the
   event. A table without `known_at` knows each row at its `feature_ts`.
3. Of the visible rows of the label's key, the one with the greatest `feature_ts` is chosen, and
   among equal ones the one with the greatest `known_at`.
4. If that row is older than `lookback`, there is no match; exactly that old still counts.
5. The row is taken as a whole: a NULL in it stays NULL.
6. A label with a NULL in its key or timestamp has no match. Labels are neither dropped nor
   repeated nor reordered.
7. Without a timestamp the row with the label's key is chosen; the key is then unique.

Instants are compared as UTC microseconds, keys column by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sololakehouse.errors import FeatureLookupError
from sololakehouse.features.latest import ROW, SortedLabels
from sololakehouse.lake.contract import counted
from sololakehouse.local_time import SETTING

if TYPE_CHECKING:
    import polars as pl
    from polars._typing import TimeUnit

_MICROSECOND = timedelta(microseconds=1)
_TOO_LONG = 2**63


@dataclass(frozen=True)
class AsOf:
    """The columns and parameters of one point-in-time join.

    Attributes
    ----------
    keys
        Key columns of the labels.
    feature_keys
        Key columns of the features, in the same order; default: the same names.
    timestamp
        The labels' timestamp; None for a plain lookup.
    feature_timestamp
        The features' timestamp; None for a plain lookup.
    known_at
        Column of the features that holds when a row became known; None: at its timestamp.
    known_as_of
        A fixed moment of knowledge, with a time zone.
    lookback
        Greatest age of a feature row, inclusive; None: any age.
    allow_exact_match
        Whether a row of exactly the label's timestamp is visible.
    """

    keys: Sequence[str]
    feature_keys: Sequence[str] | None = None
    timestamp: str | None = None
    feature_timestamp: str | None = None
    known_at: str | None = None
    known_as_of: datetime | None = None
    lookback: timedelta | None = None
    allow_exact_match: bool = True

    @property
    def strict(self) -> int:
        """Microseconds by which a row must be older than a label that sees it: 0 or 1.

        A lookup without time has no moment that could be refused.
        """
        return 0 if self.allow_exact_match or self.timestamp is None else 1

    @property
    def oldest(self) -> int | None:
        """The lookback in microseconds; None also for one that no two instants are apart."""
        length = None if self.lookback is None else self.lookback // _MICROSECOND
        return length if length is not None and length < _TOO_LONG else None


def join_as_of(
    labels: pl.DataFrame, features: pl.DataFrame, values: Sequence[str], rule: AsOf
) -> pl.DataFrame:
    """Return the labels, in their order, with the columns `values` of the chosen feature rows.

    Examples
    --------
    >>> import polars as pl
    >>> def at(*hours): return [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in hours]
    >>> from datetime import UTC
    >>> labels = pl.DataFrame({"shop": ["n", "n", "s"], "at": at(8, 9, 9)})
    >>> features = pl.DataFrame({"shop": ["n", "n"], "ts": at(9, 7), "sales": [30, 10]})
    >>> rule = AsOf(["shop"], timestamp="at", feature_timestamp="ts")
    >>> join_as_of(labels, features, ["sales"], rule)["sales"].to_list()
    [10, 30, None]
    """
    rows = chosen_rows(labels, features, rule)
    return labels.hstack(rows_at(features.select(values), rows))


def chosen_rows(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.Series:
    """Return for each label the position of the chosen feature row, NULL where there is none.

    Raises
    ------
    FeatureLookupError
        A timestamp is naive, or finer than a microsecond.
    """
    import polars as pl

    asked = asked_of(labels, rule.keys, rule.timestamp)
    times = {name for name in (rule.feature_timestamp, rule.known_at) if name}
    known = features.with_columns(instants(features[name], "the feature table") for name in times)
    everyone = pl.DataFrame({"label": pl.int_range(labels.height, dtype=pl.UInt32, eager=True)})
    if asked.is_empty():
        return pl.Series("row", [None] * labels.height, pl.UInt32)
    found = SortedLabels(asked).search(known.with_row_index(ROW).lazy(), rule)
    return everyone.join(found, on="label", how="left", maintain_order="left")["row"]


def asked_of(
    labels: pl.DataFrame,
    keys: Sequence[str],
    timestamp: str | None,
    numbers: pl.Series | None = None,
) -> pl.DataFrame:
    """Return the labels that can have a match, with their `numbers`, for `SortedLabels`.

    Without numbers they are numbered from 0.

    Raises
    ------
    FeatureLookupError
        The timestamp is naive, or finer than a microsecond.
    """
    import polars as pl

    event: pl.Series | pl.Expr = pl.lit(0, pl.Int64)
    if timestamp:
        event = instants(labels[timestamp], "the labels").to_physical()
    columns = (pl.col(key).alias(f"key {number}") for number, key in enumerate(keys))
    number = pl.int_range(pl.len(), dtype=pl.UInt32) if numbers is None else numbers
    return labels.select(number.alias("label"), *columns, event.alias("event")).drop_nulls()


def instants(column: pl.Series, where: str) -> pl.Series:
    """Return a timestamp column in UTC microseconds; NULL stays NULL.

    Raises
    ------
    FeatureLookupError
        The column is no timestamp with a time zone, or has values that microseconds cannot hold.

    Examples
    --------
    >>> import polars as pl
    >>> instants(pl.Series("at", [0], pl.Datetime("ms")), "the labels")
    Traceback (most recent call last):
        ...
    sololakehouse.errors.FeatureLookupError: The timestamp 'at' of the labels has no time zone. \
Say which one it is in, for example with .dt.replace_time_zone('UTC'), or declare 'time_zone' in \
lakehouse.yml.
    """
    unit = instant_unit(column.dtype, column.name, where)
    exact = column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    back = exact.dt.cast_time_unit(unit).to_physical()
    changed = int((back != column.to_physical()).sum())
    if changed:
        raise FeatureLookupError(
            f"The timestamp {column.name!r} of {where} is in {unit}, and {counted(changed)} a "
            "value that microseconds cannot hold. Round it first, for example with "
            ".dt.round('1us')."
        )
    return exact


def instant_unit(kind: pl.DataType, column: str, where: str) -> TimeUnit:
    """Return the unit of a timestamp type.

    Raises
    ------
    FeatureLookupError
        The type is no timestamp with a time zone.
    """
    import polars as pl

    if not isinstance(kind, pl.Datetime):
        raise FeatureLookupError(
            f"The timestamp {column!r} of {where} is of type {kind}. A timestamp with a time zone "
            "is needed."
        )
    if kind.time_zone is None:
        raise FeatureLookupError(
            f"The timestamp {column!r} of {where} has no time zone. Say which one it is in, for "
            f"example with .dt.replace_time_zone('UTC'), or declare {SETTING}."
        )
    return kind.time_unit


def rows_at(frame: pl.DataFrame, positions: pl.Series) -> pl.DataFrame:
    """Return the rows of a frame at the positions; a NULL position gives a row of NULLs."""
    import polars as pl

    return frame.select(pl.all().gather(positions))
