"""Labels with their features, of any number: look up, then put range after range together."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.features.join import LookupReport, PlannedLookup, with_defaults
from sololakehouse.features.latest import SortedLabels
from sololakehouse.features.portions import portions
from sololakehouse.features.table_lookup import TableLookup
from sololakehouse.lake.memory import DEFAULT, Memory, give_back
from sololakehouse.lake.spill import Spill
from sololakehouse.pipelines.ahead import ahead, side_by_side

if TYPE_CHECKING:
    import polars as pl

_WORKERS = 2


def look_up(
    labels: pl.DataFrame,
    plans: Sequence[PlannedLookup],
    *,
    allow_exact_match: bool = True,
    known_as_of: datetime | None = None,
) -> tuple[pl.DataFrame, tuple[LookupReport, ...]]:
    """Return the labels, in their order, with the features of all lookups, and what was found."""
    import polars as pl

    found = find(labels.lazy(), plans, allow_exact_match=allow_exact_match, known_as_of=known_as_of)
    return pl.concat(found.ranges()), found.reports


def find(
    labels: pl.LazyFrame,
    plans: Sequence[PlannedLookup],
    *,
    allow_exact_match: bool,
    known_as_of: datetime | None,
    memory: Memory = DEFAULT,
    folder: Path | None = None,
) -> FoundFeatures:
    """Look up the features of all labels.

    Parameters
    ----------
    labels
        Labels in their order.
    memory
        How much to hold at once.
    folder
        For what is too much to hold; None: all that is found is held.
    """
    import polars as pl

    rows = int(labels.select(pl.len()).collect().item())
    width = len(labels.collect_schema()) + sum(len(plan.outputs) for plan in plans)
    at_once = memory.rows_of(width)
    waiting = Spill(folder, memory.found)
    lookups = [
        TableLookup(
            str(number),
            plan.table.scan(list(plan.outputs)),
            list(plan.outputs),
            plan.rule(allow_exact_match=allow_exact_match, known_as_of=known_as_of),
            at_once,
            waiting,
        )
        for number, plan in enumerate(plans)
    ]
    _search(lookups, labels, rows, memory.labels, waiting)
    give_back()
    for lookup in lookups:
        lookup.take_values()
    found = tuple(zip(plans, lookups, strict=True))
    reports = (_report(plan, labels, rows, lookup.matched) for plan, lookup in found)
    return FoundFeatures(labels, rows, at_once, found, tuple(reports))


@dataclass(frozen=True)
class FoundFeatures:
    """Labels, and what lookups found for them.

    Attributes
    ----------
    rows
        Number of labels.
    at_once
        How many of them make a range.
    reports
        What each lookup found, with the count of labels whose key is NULL.
    """

    labels: pl.LazyFrame
    rows: int
    at_once: int
    lookups: tuple[tuple[PlannedLookup, TableLookup], ...]
    reports: tuple[LookupReport, ...]

    def ranges(self) -> Iterator[pl.DataFrame]:
        """Give the labels with their features, once, one range after the other; at least one."""
        numbers = range(max(1, -(-self.rows // self.at_once)))
        return ahead(map(self._range, numbers))

    def _range(self, number: int) -> pl.DataFrame:
        import polars as pl

        labels = self.labels.slice(number * self.at_once, self.at_once).collect()
        features = (
            _as_features(plan, lookup.values(number, labels.height))
            for plan, lookup in self.lookups
        )
        return pl.concat([labels, *features], how="horizontal")


def _search(
    lookups: Sequence[TableLookup], labels: pl.LazyFrame, rows: int, most: int, waiting: Spill
) -> None:
    for (keys, timestamp), sharing in _by_columns(lookups).items():
        asked = portions(labels, keys, timestamp, rows, most, waiting)
        for some in ahead(map(SortedLabels, asked)):
            give_back()
            search = partial(TableLookup.search, labels=some)
            deque(side_by_side(search, sharing, _WORKERS), maxlen=0)


def _by_columns(
    lookups: Sequence[TableLookup],
) -> dict[tuple[tuple[str, ...], str | None], list[TableLookup]]:
    """Put lookups by the same columns of the labels together: they share the sorted labels."""
    sharing: dict[tuple[tuple[str, ...], str | None], list[TableLookup]] = defaultdict(list)
    for lookup in lookups:
        sharing[tuple(lookup.rule.keys), lookup.rule.timestamp].append(lookup)
    return sharing


def _as_features(plan: PlannedLookup, values: pl.DataFrame) -> pl.DataFrame:
    return with_defaults(values.rename(dict(plan.outputs)), plan.lookup.default_values)


def _report(plan: PlannedLookup, labels: pl.LazyFrame, rows: int, matched: int) -> LookupReport:
    import polars as pl

    key = pl.any_horizontal(pl.col(plan.lookup.lookup_key).is_null())
    column = plan.lookup.timestamp_lookup_key
    time = pl.col(column).is_null() if column else pl.lit(value=False)
    counts = labels.select(key.sum().alias("keys"), (time & ~key).sum().alias("times"))
    null_keys, null_times = counts.collect(engine="streaming").row(0)
    unmatched = rows - matched - null_keys - null_times
    return LookupReport(plan.table.name, rows, null_keys, null_times, unmatched)
