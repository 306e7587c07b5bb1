"""The search of the point-in-time join: the best row for each label, from rows in any order.

Only the labels are sorted, by key and moment. A feature row is held, whenever it comes, against the
first label of its key that may see it; the later labels of that key see it as well. Once all rows
have come, what stands at a label is carried on to the labels after it, until something better
stands there. What is kept grows with the labels alone: feature rows are neither sorted nor kept,
and it makes no difference how many of them a key has.

Rows come in batches. Where a batch has more rows than labels that it concerns, and each row is at
least as good as those of its key before it, which is so in tables sorted by key and time, the
labels look for the last row that they see; else each row looks for the first label that sees it.

Key and moment together are one integer, a place: the number of the key times the span of the
labels' moments, plus the moment. It has 64 bits, or 128 where it needs them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

from sololakehouse.features.key_numbers import NUMBER, key_numbers
from sololakehouse.lake.batches import each_batch

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sololakehouse.features.asof import AsOf

    Array = np.ndarray[Any, Any]

ROW = "__slh_row"
_LEAST = -(2**63)
_GREATEST = 2**63 - 1
_NO_ROW = 2**32 - 1
_MICROSECOND = timedelta(microseconds=1)


class SortedLabels:
    """Labels in the order of key and moment.

    Parameters
    ----------
    asked
        `label`, the number of each; `event`, in UTC microseconds; and the keys, in their order. At
        least one row, and no NULL.
    """

    def __init__(self, asked: pl.DataFrame) -> None:
        import polars as pl

        self._keys = [name for name in asked.columns if name not in ("label", "event")]
        self._numbers = key_numbers(asked, self._keys)
        self._first, self._last = int(asked["event"].min()), int(asked["event"].max())  # type: ignore[arg-type]
        self._span = self._last - self._first + 1
        fits = self._numbers.count * self._span <= _GREATEST
        self._kind = pl.Int64() if fits else pl.Int128()
        numbered = self._numbers.numbered(asked.lazy())
        placed = _by_place(numbered.select("label", self._place("event")).collect())
        self.label = placed["label"]
        self.places = placed.select("place").with_row_index("at")
        self.is_first = self._is_first()

    def search(self, features: pl.LazyFrame, rule: AsOf) -> pl.DataFrame:
        """Return `label` and `row` of the labels that have a match.

        Parameters
        ----------
        features
            Keys, timestamps in microseconds, and `ROW`, the number of each row.
        """
        best = _BestRows(self, rule)
        each_batch(self._placed(features, rule), best.add)
        return best.chosen()

    def events(self) -> Array:
        """Return the moment of each label."""
        import polars as pl

        # Not series by series: those of 128 bits know no `%` with a Python integer.
        moment = (pl.col("place") % self._span + self._first).cast(pl.Int64)
        return self.places.select(moment).to_series().to_numpy()

    def between(self, first: int, last: int) -> pl.DataFrame:
        """Return the labels from the first at or after one place to that at or after another."""
        places = self.places["place"]
        begin, end = bisect_left(places, first), bisect_left(places, last)
        return self.places.slice(begin, end + 1 - begin)

    def same_key(self, place: str) -> pl.Expr:
        """Whether a place, no less than one of the key `NUMBER`, is of that key."""
        import polars as pl

        return pl.col(place) < (pl.col(NUMBER).cast(self._kind) + 1) * self._span

    def _is_first(self) -> Array:
        """Return for each label whether it is the first one of its key."""
        number = self.places["place"] // self._span
        return number.ne_missing(number.shift()).to_numpy()

    def _place(self, moment: str) -> pl.Expr:
        """Return the first place from `moment` on; of moments before all labels, the first."""
        import polars as pl

        # Not `clip`, which takes five times as long.
        later = pl.max_horizontal(moment, pl.lit(self._first)).cast(self._kind) - self._first
        return (pl.col(NUMBER).cast(self._kind) * self._span + later).alias("place")

    def _placed(self, features: pl.LazyFrame, rule: AsOf) -> pl.LazyFrame:
        """Return the rows that labels can see, with the place from which on they do."""
        import polars as pl

        keys = zip(rule.feature_keys or rule.keys, self._keys, strict=True)
        moment = rule.feature_timestamp
        rows = features.filter(*self._visible(features.collect_schema(), rule)).select(
            ROW,
            *(pl.col(theirs).alias(ours) for theirs, ours in keys),
            (pl.col(moment).to_physical() if moment else pl.lit(0, pl.Int64)).alias("feature_ts"),
            *([pl.col(rule.known_at).to_physical().alias("known_at")] if rule.known_at else []),
        )
        available = pl.col("feature_ts") + 1 if rule.strict else pl.col("feature_ts")
        if rule.known_at and rule.known_as_of is None:
            available = pl.max_horizontal(available, "known_at")
        rows = self._numbers.numbered(rows).with_columns(available.alias("available"))
        return rows.select(self._place("available"), NUMBER, ROW, *_times(rule))

    def _visible(self, schema: pl.Schema, rule: AsOf) -> Iterator[pl.Expr]:
        """Say which rows a label may see, in a way that statistics of files can tell."""
        import polars as pl

        def moment(value: int, column: str) -> pl.Expr:
            return pl.lit(value, pl.Int64).cast(schema[column])

        timestamp, known_at = rule.feature_timestamp, rule.known_at
        if timestamp is None:
            return
        yield pl.col(timestamp) <= moment(self._last - rule.strict, timestamp)
        if rule.known_as_of is not None:
            knowledge = known_at or timestamp
            yield pl.col(knowledge) <= moment(microseconds(rule.known_as_of), knowledge)
        elif known_at is not None:
            yield pl.col(known_at) <= moment(self._last, known_at)
        if rule.oldest is not None:
            yield pl.col(timestamp) >= moment(max(self._first - rule.oldest, _LEAST), timestamp)


class _BestRows:
    """The best row that is held against each label so far."""

    def __init__(self, labels: SortedLabels, rule: AsOf) -> None:
        import numpy as np

        count = labels.places.height
        self._labels = labels
        self._rule = rule
        self._times = _times(rule)
        self._ts = np.full(count, _LEAST)
        self._known = np.full(count, _LEAST) if rule.known_at else None
        self._row = np.full(count, _NO_ROW, np.uint32)
        self._lock = Lock()

    def add(self, rows: pl.DataFrame) -> None:
        """Hold some rows against the labels."""
        import numpy as np

        if not rows["place"].is_sorted():
            rows = _by_place(rows)
        labels = self._labels.between(rows["place"][0], rows["place"][-1])
        if labels.height < rows.height and self._gets_better(rows):
            held = self._last_rows(labels, rows)
        else:
            held = self._all_rows(labels, rows)
        at, row, *times = (column.to_numpy() for column in held)
        at = at.astype(np.intp)
        with self._lock:
            better = self._raised(at, *times)
            self._row[at[better]] = row[better]

    def _gets_better(self, rows: pl.DataFrame) -> bool:
        """Whether no row is worse than the one before it, of the same key."""
        import numpy as np

        number, ts, *known = (rows[name].to_numpy() for name in (NUMBER, *self._times))
        worse = ts[1:] < ts[:-1]
        for time in known:
            worse |= (ts[1:] == ts[:-1]) & (time[1:] < time[:-1])
        at = np.flatnonzero(worse)
        return not np.any(number[at] == number[at + 1])

    def _last_rows(self, labels: pl.DataFrame, rows: pl.DataFrame) -> list[pl.Series]:
        """Return the labels that see more than the one before, with the last row that they see."""
        import polars as pl

        seen = labels.join_asof(rows, on="place", strategy="backward", check_sortedness=False)
        more = pl.col(ROW).ne_missing(pl.col(ROW).shift())
        chosen = seen.select(more & self._labels.same_key("place")).to_series()
        return [seen[name].filter(chosen) for name in ("at", ROW, *self._times)]

    def _all_rows(self, labels: pl.DataFrame, rows: pl.DataFrame) -> list[pl.Series]:
        """Return for each row the first label that sees it, with the row."""
        seen = rows.join_asof(
            labels, on="place", strategy="forward", coalesce=False, check_sortedness=False
        )
        chosen = seen.select(self._labels.same_key("place_right")).to_series()
        return [seen[name].filter(chosen) for name in ("at", ROW, *self._times)]

    def _raised(self, at: Array, ts: Array, known: Array | None = None) -> Array:
        """Raise the times that stand at labels; return which of the rows are those there now."""
        import numpy as np

        before = None if known is None else self._ts[at]
        np.maximum.at(self._ts, at, ts)
        latest: Array = np.flatnonzero(ts == self._ts[at])
        if known is None or self._known is None:
            return latest
        self._known[at[self._ts[at] > before]] = _LEAST
        known = known[latest]
        np.maximum.at(self._known, at[latest], known)
        winners: Array = latest[known == self._known[at[latest]]]
        return winners

    def chosen(self) -> pl.DataFrame:
        """Return `label` and `row` of the labels that have a match."""
        import polars as pl

        each_has_its_day = self._known is not None and self._rule.known_as_of is None
        best = self._best_so_far() if each_has_its_day else self._last_so_far()
        row = self._row.take(best)
        matched = row != _NO_ROW
        if self._rule.oldest is not None:
            matched &= self._ts.take(best) >= _minus(self._labels.events(), self._rule.oldest)
        found = pl.Series(matched)
        return pl.DataFrame([self._labels.label.filter(found), pl.Series("row", row).filter(found)])

    def _last_so_far(self) -> Array:
        """Return for each label the last one of its key, of those up to it, at which a row stands.

        What stands at a later label is later itself. Before all rows it is the key's first label.
        """
        import numpy as np

        stands = (self._row != _NO_ROW) | self._labels.is_first
        last = np.arange(len(stands), dtype=np.uint32)
        last *= stands
        return np.maximum.accumulate(last, out=last)

    def _best_so_far(self) -> Array:
        """Return for each label the one, of those of its key up to it, with the best row.

        A row that became known late may be worse than what stands at an earlier label.
        """
        import numpy as np

        key = np.cumsum(self._labels.is_first, dtype=np.uint32)
        times = [times for times in (self._known, self._ts) if times is not None]
        order = np.lexsort([*times, key])
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        best: Array = order[np.maximum.accumulate(rank)]
        return best


def _times(rule: AsOf) -> list[str]:
    """Return the columns that say which of two rows is better, the first one first."""
    return ["feature_ts", *(["known_at"] if rule.known_at else [])]


def _by_place(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort by place; NumPy has no integers of 128 bits, but is faster."""
    import numpy as np
    import polars as pl

    whole = rows.rechunk()  # of many chunks polars gathers five times as slowly
    places = whole["place"]
    fits = places.dtype == pl.Int64
    order = pl.Series(np.argsort(places.to_numpy())) if fits else places.arg_sort()
    return whole.select(pl.all().gather(order))


def microseconds(moment: datetime) -> int:
    """Return a moment with a time zone in microseconds since 1970, UTC."""
    import polars as pl

    return int(pl.Series([moment], dtype=pl.Datetime("us", "UTC")).to_physical().item())


def _minus(moments: Array, length: int) -> Array:
    """Subtract; where the difference is too small for 64 bits, give the least."""
    import numpy as np

    return np.maximum(moments, _LEAST + length) - length
