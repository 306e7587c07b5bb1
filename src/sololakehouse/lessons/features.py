"""Lesson 3: a feature table whose values are right at every moment, and known by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sololakehouse.lessons.lesson import Check, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.work import SILVER, Work

if TYPE_CHECKING:
    import polars as pl

    from sololakehouse.lake import Snapshot

_TABLE = "features.carrier_delay"
_LABELS = "gold.flight_labels"
_COUNT, _MEAN = "arrivals_24h", "mean_arrival_delay_24h"
_SOURCE = "transformations/features/carrier_delay.py"
_DAY = 24 * 3600 * 1_000_000
_CLOSE = 1e-6


def _table(work: Work) -> Snapshot:
    work.table(SILVER)
    return work.table(_TABLE, f"write {_SOURCE}, then slh run")


def _is_a_feature_table(work: Work) -> Finding:
    table = _table(work)
    contract = table.contract
    keys = contract.keys if contract else ()
    if contract is None or tuple(keys) != ("carrier",) or contract.timestamp is None:
        raise NotYetError(
            f"the properties of {_TABLE}",
            f"Its keys are {', '.join(keys) or 'not said'}, its timestamp "
            f"{(contract and contract.timestamp) or 'is not said'}.",
            "Say 'feature.keys' (carrier) and 'feature.timestamp' among the table's properties; "
            "TrailingAggregates.table_properties gives both.",
        )
    missing = [name for name in (_COUNT, _MEAN) if name not in table.columns]
    if missing:
        raise NotYetError(
            f"the columns of {_TABLE}",
            f"There is no {' and no '.join(missing)}. Columns: {', '.join(table.columns)}.",
            "Aggregate(..., name='arrivals_{window}') names a column.",
        )
    return Finding(
        f"the properties of {_TABLE}",
        f"One row per {contract.keys[0]} and {contract.timestamp}.",
    )


def _windows(work: Work, asked: pl.DataFrame) -> pl.DataFrame:
    """Count by hand what landed in (at - 24 hours, at], for each carrier and moment `at`.

    Sorted arrivals and running sums, with no part of what the platform computes windows with.
    """
    import numpy as np
    import polars as pl

    arrived = work.table(SILVER).to_polars().filter(pl.col("arrived_at").is_not_null())
    parts = []
    for (carrier,), rows in asked.group_by("carrier"):
        landed = arrived.filter(pl.col("carrier") == carrier).sort("arrived_at")
        times = landed["arrived_at"].dt.epoch("us").to_numpy()
        sums = np.concatenate([[0], np.cumsum(landed["arrival_delay"].to_numpy())])
        at = rows["at"].dt.epoch("us").to_numpy()
        last, first = (np.searchsorted(times, end, side="right") for end in (at, at - _DAY))
        count, total = last - first, sums[last] - sums[first]
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        parts.append(
            rows.with_columns(
                count=pl.Series(count.astype(np.int64)), mean=pl.Series(mean).fill_nan(None)
            )
        )
    return pl.concat(parts) if parts else asked.with_columns(count=None, mean=None)


def _wrong(told: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose values are not those counted by hand; the first ones first."""
    import polars as pl

    counts = pl.col(_COUNT).fill_null(0) != pl.col("count")
    means = (pl.col(_MEAN) - pl.col("mean")).abs() > _CLOSE
    one_null = pl.col(_MEAN).is_null() != pl.col("mean").is_null()
    return told.filter(counts | means.fill_null(False) | one_null).sort("at", "carrier")


def _rows_at_their_moment(work: Work) -> pl.DataFrame:
    table = _table(work)
    contract = table.contract
    if contract is None or contract.timestamp is None or _MEAN not in table.columns:
        raise NotYetError(
            _TABLE, "It is no feature table with these columns yet.", "See the first check."
        )
    frame = table.to_polars().rename({contract.timestamp: "at"})
    return _windows(work, frame.select("carrier", "at", _COUNT, _MEAN))


def _knows_no_later(work: Work) -> Finding:
    rows = _rows_at_their_moment(work)
    if not rows.height:
        raise NotYetError(_TABLE, "It has no rows.", f"Read {SILVER} in {_SOURCE}.")
    wrong = _wrong(rows)
    if not wrong.height:
        return Finding(
            f"{_TABLE} and the arrivals in {SILVER}",
            f"{rows.height:,} rows, each the window of 24 hours that ends at its feature_ts.",
        )
    row = wrong.row(0, named=True)
    more = (row[_COUNT] or 0) > row["count"]
    raise NotYetError(
        f"{_TABLE} and the arrivals in {SILVER}",
        f"{wrong.height:,} of {rows.height:,} rows are wrong. {_said(row)}"
        + (
            " It counts flights that were still in the air: the table knows the future."
            if more
            else ""
        ),
        "A row may be used from feature_ts on, so it counts what landed in the 24 hours up to then "
        "(arrived_at), and nothing else: TrailingAggregates(timestamp='arrived_at', ...).",
    )


def _said(row: dict[str, object]) -> str:
    return (
        f"{row['carrier']} at {row['at']:%Y-%m-%d %H:%M} UTC: the table says {row[_COUNT]} "
        f"arrivals, mean {_number(row[_MEAN])}; by then {row['count']} had landed in 24 hours, "
        f"mean {_number(row['mean'])}."
    )


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "NULL"


def _right_for_every_label(work: Work) -> Finding:
    import polars as pl

    rows = _rows_at_their_moment(work).sort("at")
    labels = work.table(_LABELS).to_polars().select("flight_id", "carrier", at="predict_at")
    found = labels.sort("at").join_asof(
        rows.select("carrier", "at", _COUNT, _MEAN, stamped="at"),
        on="at",
        by="carrier",
        check_sortedness=False,
    )
    seen = _windows(work, found)
    wrong = _wrong(seen)
    place = f"what {labels.height:,} labels would look up in {_TABLE}"
    if not wrong.height:
        known = seen.filter(pl.col("count") > 0).height
        return Finding(
            place, f"Each gets the window that ends at its predict_at; {known:,} a mean."
        )
    raise NotYetError(
        place,
        f"{wrong.height:,} of them get something else. {_said(wrong.row(0, named=True))} A window "
        "also changes when a flight leaves it.",
        "The newest row must be right at every moment: emit='changes' (the default) writes a row "
        "when something leaves the window, too, and no 'every' rounds the moments.",
    )


def _what_labels_saw(work: Work) -> Seen:
    import polars as pl

    rows = _rows_at_their_moment(work).sort("at")
    labels = work.table(_LABELS).to_polars().select("flight_id", "carrier", "predict_at", "is_late")
    joined = labels.sort("predict_at").join_asof(
        rows.select("carrier", _COUNT, _MEAN, feature_ts="at"),
        left_on="predict_at",
        right_on="feature_ts",
        by="carrier",
        check_sortedness=False,
    )
    late = joined.filter(pl.col(_COUNT) > 0).sort(_MEAN, "flight_id")
    shown = pl.concat([late.head(2), late.tail(2)])
    return Seen(
        "Two flights that were asked for on the most punctual days of their carrier, and two on "
        "the worst. No feature_ts is after its predict_at.",
        ["flight_id", "predict_at", "feature_ts", _COUNT, _MEAN, "is_late"],
        shown.to_dicts(),
    )


FEATURES = Lesson(
    number=3,
    slug="features",
    title="Build a feature table: feature_ts and trailing windows",
    ends_in="what four flights saw of their carrier",
    layers=("flights", "silver", "labels"),
    landed=("2013-09", "2013-10"),
    checks=(
        Check(
            "features.carrier_delay is a feature table",
            _is_a_feature_table,
            "A feature table is a table with two properties: 'feature.keys' and "
            "'feature.timestamp'. TrailingAggregates(keys='carrier', timestamp='arrived_at', "
            "aggregates=[...]) computes the windows, and its table_properties() gives the "
            "properties.",
        ),
        Check(
            "No row knows what came later",
            _knows_no_later,
            "An arrival delay is known at the arrival, so arrived_at is the time that counts. A "
            "mean over a day that is stamped with its first moment knows the evening in the "
            "morning.",
        ),
        Check(
            "Every label finds what was true at its moment",
            _right_for_every_label,
            "Aggregate('count', windows='24h', name='arrivals_{window}') and Aggregate('mean', "
            "'arrival_delay', windows='24h', name='mean_arrival_delay_{window}'), with the "
            "defaults for closed, emit and every.",
        ),
    ),
    seen=_what_labels_saw,
)
