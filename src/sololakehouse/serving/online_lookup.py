"""A lookup whose rows are held in memory: for each key, those that can be chosen from now on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.features.asof import AsOf, asked_of
from sololakehouse.features.join import PlannedLookup, with_defaults
from sololakehouse.features.latest import SortedLabels, microseconds
from sololakehouse.features.table_lookup import TableLookup
from sololakehouse.lake.memory import DEFAULT
from sololakehouse.lake.spill import Spill

if TYPE_CHECKING:
    import polars as pl

_MOMENT = "moment of the lookup"
_MICROSECONDS = 1_000_000
_NEVER = 2**63 - 1


class HistoryNeededError(Exception):
    """A moment in the past for which the rows in memory are not enough."""


class OnlineLookup:
    """A lookup in one version of a feature table, by the rules of the point-in-time join.

    Of each key the row is held that was chosen at `since`, whatever its age, by the join's own
    code, and the rows that become visible later. So every moment from `since` on is answered from
    memory, and an earlier one, too, if the row was visible then: nothing can have been better. For
    other moments the table itself is read.

    Parameters
    ----------
    plan
        The lookup, its table at a version, and the names of the features.
    since
        The moment from which on memory is enough.
    """

    def __init__(self, plan: PlannedLookup, since: datetime, *, allow_exact_match: bool) -> None:
        self.plan = plan
        self._rule = plan.rule(allow_exact_match=allow_exact_match, known_as_of=None)
        self._times = plan.table.contract.times
        self.version = plan.table.snapshot.table_version
        held, later = self._held(since)
        self._index: dict[Any, int] = _positions(held, plan.table.contract.keys)
        self._later = _later_positions(later, plan.table.contract.keys, held.height)
        self._keep(held, later)

    @property
    def rows(self) -> int:
        """Number of rows in memory."""
        return self._values.height - 1

    @property
    def table(self) -> str:
        """Name of the feature table."""
        return self.plan.table.name

    def a_key(self) -> list[tuple[str, Any]]:
        """Return columns of a request with values for which a row is held; none if none is."""
        key = next(iter(self._index), None)
        names = self._rule.keys
        values = (key,) if len(names) == 1 else key or ()
        return list(zip(names, values, strict=False))

    def look_up(
        self, request: pl.DataFrame, *, history: bool
    ) -> tuple[pl.DataFrame, list[float | None]]:
        """Return the features of each row of a request, and their age.

        Parameters
        ----------
        request
            Keys and moments; the moments in UTC microseconds.
        history
            Whether the table may be read for moments in the past.

        Returns
        -------
        The features, by their names in the training set, and for each row the age in seconds of
        the feature row that was used: None if there was none, or its table has no timestamp.

        Raises
        ------
        HistoryNeededError
            The table would have to be read.
        """
        import numpy as np

        keys = _keys(request, self._rule.keys)
        nothing = self._values.height - 1
        at = np.array([self._index.get(key, nothing) for key in keys], np.int64)
        if self._rule.timestamp is None:
            return self._features(at), [None] * len(at)
        moments = request[self._rule.timestamp].to_numpy().view(np.int64)
        if (self._available[at] > moments).any():
            if not history:
                raise HistoryNeededError
            return self._from_history(request, moments)
        for number, key in enumerate(keys) if self._later else ():
            at[number] = self._best(int(at[number]), self._later.get(key, ()), int(moments[number]))
        if self._rule.oldest is not None:
            at[moments - self._ts[at] > self._rule.oldest] = nothing
        ages = ((moments - self._ts[at]) / _MICROSECONDS).tolist()
        found = (at != nothing).tolist()
        return self._features(at), [a if f else None for a, f in zip(ages, found, strict=True)]

    def _best(self, held: int, later: Iterable[int], moment: int) -> int:
        """Return the best row that is visible: the one held at first, or one that came later."""
        best = held
        for one in later:
            if self._seen[one] <= moment and self._order(one) > self._order(best):
                best = one
        return best

    def _order(self, row: int) -> tuple[bool, int, int]:
        """Say how good a row is; the last, which stands for none, is the worst."""
        return row != self._values.height - 1, int(self._ts[row]), int(self._known[row])

    def _features(self, at: Any) -> pl.DataFrame:
        found = self._values[at]
        defaults = self.plan.lookup.default_values
        return with_defaults(found, defaults) if defaults else found

    def _held(self, since: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows of each key at a moment, and those that become visible later."""
        import polars as pl

        contract, names = self.plan.table.contract, list(self.plan.outputs)
        rows = self.plan.table.scan(names)
        columns = [*contract.identity, *(n for n in names if n not in contract.identity)]
        if contract.timestamp is None:
            return rows.select(columns).collect(), pl.DataFrame()
        keys = rows.select(contract.keys).unique().collect(engine="streaming")
        moment = pl.lit(microseconds(since)).cast(pl.Datetime("us", "UTC")).alias(_MOMENT)
        rule = replace(self._rule, keys=contract.keys, timestamp=_MOMENT, lookback=None)
        beside = [name for name in columns if name not in contract.keys]
        chosen = self._chosen(keys.with_columns(moment), rule, beside)
        held = keys.hstack(chosen).drop_nulls(contract.timestamp).select(columns)
        last = pl.lit(microseconds(since) - self._rule.strict)
        is_later = [pl.col(contract.timestamp).to_physical() > last]
        if contract.known_at:
            is_later.append(pl.col(contract.known_at).to_physical() > microseconds(since))
        return held, rows.filter(pl.any_horizontal(is_later)).select(columns).collect()

    def _chosen(self, labels: pl.DataFrame, rule: AsOf, names: Sequence[str]) -> pl.DataFrame:
        """Ask the table itself, by the code of training sets."""
        waiting = Spill(None, DEFAULT.found)
        features = self.plan.table.scan(list(self.plan.outputs))
        lookup = TableLookup("online", features, names, rule, max(labels.height, 1), waiting)
        asked = asked_of(labels, rule.keys, rule.timestamp)
        if not asked.is_empty():
            lookup.search(SortedLabels(asked))
            lookup.take_values()
        return lookup.values(0, labels.height)

    def _from_history(
        self, request: pl.DataFrame, moments: Any
    ) -> tuple[pl.DataFrame, list[float | None]]:
        import polars as pl

        timestamp, names = str(self.plan.table.contract.timestamp), list(self.plan.outputs)
        both = list(dict.fromkeys([timestamp, *names]))
        found = self._chosen(request, self._rule, both)
        ages = (pl.Series(moments) - found[timestamp].to_physical()) / _MICROSECONDS
        features = found.select(names).rename(dict(self.plan.outputs))
        return with_defaults(features, self.plan.lookup.default_values), ages.to_list()

    def _keep(self, held: pl.DataFrame, later: pl.DataFrame) -> None:
        """Keep rows column by column, with a row of NULLs at the end for what is not found."""
        import polars as pl

        rows = pl.concat([held, later]) if later.width else held
        rows = pl.concat([rows, rows.clear(1)]).rechunk()
        self._values = rows.select(pl.col(n).alias(o) for n, o in self.plan.outputs.items())
        timestamp, known_at = self.plan.table.contract.timestamp, self.plan.table.contract.known_at
        if timestamp is None:
            return
        self._ts = _instants(rows[timestamp])
        self._known = _instants(rows[known_at]) if known_at else self._ts
        seen = pl.DataFrame(
            [pl.Series("a", self._ts + self._rule.strict), pl.Series("b", self._known)]
        )
        self._seen = seen.max_horizontal().to_numpy()
        self._available = self._seen.copy()
        self._available[-1] = -_NEVER


def _instants(column: pl.Series) -> Any:
    return column.to_physical().fill_null(0).to_numpy()


def _keys(rows: pl.DataFrame, names: Sequence[str]) -> list[Any]:
    """Return the key of each row: a value, or a tuple of several."""
    columns = [rows[name].to_list() for name in names]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _positions(rows: pl.DataFrame, names: Sequence[str]) -> dict[Any, int]:
    return {key: at for at, key in enumerate(_keys(rows, names))}


def _later_positions(
    rows: pl.DataFrame, names: Sequence[str], first: int
) -> dict[Any, tuple[int, ...]]:
    found: dict[Any, tuple[int, ...]] = {}
    for at, key in enumerate(_keys(rows, names) if rows.width else (), first):
        found[key] = (*found.get(key, ()), at)
    return found
