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
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import FeatureLookupError
from sololakehouse.lake.contract import counted

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from polars._typing import TimeUnit

    Array = np.ndarray[Any, Any]

_MICROSECOND = timedelta(microseconds=1)
_GREATEST = 2**63


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

    feature_keys = rule.feature_keys or rule.keys
    asked = _keyed(labels, rule.keys, {"event": rule.timestamp}, "the labels")
    known = _keyed(
        features,
        feature_keys,
        {"feature_ts": rule.feature_timestamp, "known_at": rule.known_at},
        "the feature table",
    )
    asked = asked.with_row_index("label").drop_nulls()
    known = known.with_row_index("row").drop_nulls()
    by = [f"key {number}" for number in range(len(rule.keys))]
    found = _latest_visible(asked, known, by, rule) if rule.timestamp else _equal(asked, known, by)
    everyone = pl.DataFrame({"label": pl.int_range(labels.height, dtype=pl.UInt32, eager=True)})
    return everyone.join(found, on="label", how="left", maintain_order="left")["row"]


def _latest_visible(
    asked: pl.DataFrame, known: pl.DataFrame, by: list[str], rule: AsOf
) -> pl.DataFrame:
    import polars as pl

    if rule.known_as_of is not None:
        knowledge = "known_at" if rule.known_at else "feature_ts"
        known = known.filter(pl.col(knowledge) <= _microseconds(rule.known_as_of))
    found = None
    if rule.known_at is None or rule.known_as_of is not None:
        found = _searched(asked, known, by, rule)
    if found is None:
        found = _joined(asked, known, by, rule)
    if rule.lookback is not None:
        oldest = rule.lookback // _MICROSECOND
        found = found.filter(pl.col("event") - pl.col("feature_ts") <= oldest)
    return found.select("label", "row")


def _searched(
    asked: pl.DataFrame, known: pl.DataFrame, by: list[str], rule: AsOf
) -> pl.DataFrame | None:
    """Search where every row is available from its timestamp on; None if numbers get too great.

    Keys are numbered, and number and moment become one integer. Rows that lie in the order of
    key and time, as feature tables do, need no sorting then.
    """
    import numpy as np
    import polars as pl

    if known.is_empty() or asked.is_empty():
        return None
    if rule.known_at:
        known = known.sort("feature_ts", "known_at")
    codes, asked_codes = _numbered(asked, known, by)
    moments, events = known["feature_ts"].to_numpy(), asked["event"].to_numpy()
    first = min(int(moments.min()), int(events.min()))
    span = max(int(moments.max()), int(events.max())) - first + 2
    if (int(codes.max()) + 2) * span >= _GREATEST:
        return None
    strict = 0 if rule.allow_exact_match else 1
    places = codes * span + (moments - first + strict)
    order = _sorting(places)
    at = _last_not_after(places[order], asked_codes * span + (events - first))
    rows = np.arange(len(places))[order][np.maximum(at, 0)]
    same_key = (at >= 0) & (codes[rows] == asked_codes)
    chosen = rows_at(known.select("row", "feature_ts"), pl.Series(rows[same_key]))
    return asked.select("label", "event").filter(pl.Series(same_key)).hstack(chosen)


def _numbered(asked: pl.DataFrame, known: pl.DataFrame, by: list[str]) -> tuple[Array, Array]:
    """Return the numbers of the rows' keys, and of the labels' keys; -1 is a key without rows."""
    import polars as pl

    numbers = known.select(by).unique(maintain_order=True).with_row_index("number")
    codes, asked_codes = (
        frame.join(numbers, on=by, how="left", maintain_order="left")["number"]
        .cast(pl.Int64)
        .fill_null(-1)
        .to_numpy()
        for frame in (known, asked)
    )
    return codes, asked_codes


def _sorting(places: Array) -> Array | slice:
    """Return what sorts the integers: nothing to do if they are in order."""
    import numpy as np

    in_order = bool((places[1:] >= places[:-1]).all())
    return slice(None) if in_order else np.argsort(places, kind="stable")


def _last_not_after(places: Array, wanted: Array) -> Array:
    """Return for each wanted integer the last place that is not greater; -1 if all are."""
    import numpy as np

    ascending = np.argsort(wanted)
    found = np.empty(len(wanted), np.int64)
    found[ascending] = np.searchsorted(places, wanted[ascending], side="right") - 1
    return found


def _joined(asked: pl.DataFrame, known: pl.DataFrame, by: list[str], rule: AsOf) -> pl.DataFrame:
    ranked, available = _ranked(known, by, rule)
    found = asked.sort("event").join_asof(
        available,
        left_on="event",
        right_on="available",
        by=by,
        strategy="backward",
        check_sortedness=False,
    )
    chosen = rows_at(ranked.select("row", "feature_ts"), found["rank"])
    return found.select("label", "event").hstack(chosen).drop_nulls("row")


def _ranked(known: pl.DataFrame, by: list[str], rule: AsOf) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rank rows by what is preferred; say from which moment on which rank is the best visible.

    A row is available from `max(feature_ts, known_at)` on. From then on it is the best row of its
    key unless a better one is available already: that is a running maximum of the rank. Rows that
    come late and are worse than what is there then never win.
    """
    import polars as pl

    strict = 0 if rule.allow_exact_match else 1
    available = pl.col("feature_ts") + strict
    if rule.known_at and rule.known_as_of is None:
        available = pl.max_horizontal(available, "known_at")
    preference = ["feature_ts", "known_at"] if rule.known_at else ["feature_ts"]
    ranked = known.sort(preference).with_row_index("rank")
    moments = ranked.select(*by, "rank", available.alias("available"))
    if rule.known_at and rule.known_as_of is None:
        best = pl.col("rank").cum_max().over(by)
        moments = moments.sort("available", maintain_order=True).with_columns(best)
    return ranked, moments


def _equal(asked: pl.DataFrame, known: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    return asked.join(known, on=by, how="inner", validate="m:1").select("label", "row")


def _keyed(
    frame: pl.DataFrame, keys: Sequence[str], times: dict[str, str | None], where: str
) -> pl.DataFrame:
    import polars as pl

    columns = [frame[key].alias(f"key {number}") for number, key in enumerate(keys)]
    for role, column in times.items():
        if column is not None:
            columns.append(instants(frame[column], where).to_physical().alias(role))
    return pl.DataFrame(columns)


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
Say which one it is in, for example with .dt.replace_time_zone('UTC').
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
            "example with .dt.replace_time_zone('UTC')."
        )
    return kind.time_unit


def _microseconds(moment: datetime) -> int:
    import polars as pl

    return int(pl.Series([moment], dtype=pl.Datetime("us", "UTC")).to_physical().item())


def rows_at(frame: pl.DataFrame, positions: pl.Series) -> pl.DataFrame:
    """Return the rows of a frame at the positions; a NULL position gives a row of NULLs."""
    import polars as pl

    return frame.select(pl.all().gather(positions))
