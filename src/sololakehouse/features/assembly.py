"""Labels with their features, of any number: look up, then put together one range after the other.

Each feature table is read twice, other columns each time: keys and times, to find the row of each
label; then the values of the rows that were found. The values wait, cut by ranges of labels, until
all tables have been read. Then each range of labels gets its columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.features.asof import AsOf, asked_of
from sololakehouse.features.batches import each_batch
from sololakehouse.features.join import LookupReport, PlannedLookup, with_defaults
from sololakehouse.features.latest import ROW, SortedLabels
from sololakehouse.features.memory import DEFAULT, Memory
from sololakehouse.features.spill import Spill, by_range

if TYPE_CHECKING:
    import polars as pl

LABEL = "label number"


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
    spill = Spill(folder, memory.found)
    lookups = [
        _Lookup(
            str(number),
            plan,
            plan.rule(allow_exact_match=allow_exact_match, known_as_of=known_as_of),
            plan.table.scan(list(plan.outputs)),
            spill,
        )
        for number, plan in enumerate(plans)
    ]
    for first in range(0, rows, memory.labels):
        _search(labels.slice(first, memory.labels), first, lookups)
    at_once = memory.rows_of(width)
    matched = [lookup.take_values(at_once) for lookup in lookups]
    reports = (_report(plan, labels, rows, some) for plan, some in zip(plans, matched, strict=True))
    return FoundFeatures(labels, rows, at_once, tuple(lookups), tuple(reports))


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
    lookups: tuple[_Lookup, ...]
    reports: tuple[LookupReport, ...]

    def ranges(self) -> Iterator[pl.DataFrame]:
        """Give the labels with their features, once, one range after the other; at least one."""
        import polars as pl

        for number, first in enumerate(range(0, max(self.rows, 1), self.at_once)):
            labels = self.labels.slice(first, self.at_once).collect()
            features = (lookup.features(number, labels.height) for lookup in self.lookups)
            yield pl.concat([labels, *features], how="horizontal")


@dataclass(frozen=True)
class _Lookup:
    """One lookup at work; `name` tells what it spills from what others do."""

    name: str
    plan: PlannedLookup
    rule: AsOf
    scan: pl.LazyFrame
    spill: Spill

    def search(self, labels: SortedLabels) -> None:
        """Find the feature rows of some labels."""
        self.spill.add([(f"{self.name}-rows", labels.search(self.scan, self.rule))])

    def take_values(self, at_once: int) -> int:
        """Take the values of the rows that were found, by ranges of labels; return how many."""
        import numpy as np
        import polars as pl

        chosen = self.spill.take(f"{self.name}-rows")
        if chosen is None or chosen.is_empty():
            return 0
        if not chosen["row"].is_sorted():
            chosen = chosen.sort("row")
        labels, rows = chosen["label"].to_numpy(), chosen["row"].to_numpy()

        def take(batch: pl.DataFrame) -> None:
            first = batch[ROW][0]
            ends = np.array([first, first + batch.height], rows.dtype)
            some = slice(*np.searchsorted(rows, ends))
            if some.start == some.stop:
                return
            ranges, places = np.divmod(labels[some], at_once)
            order, parts = by_range(ranges)
            values = batch.select(pl.col(names).gather(rows[some][order] - first))
            values = values.with_columns(pl.Series(LABEL, places[order]))
            self.spill.add((f"{self.name}-{number}", values[part]) for number, part in parts)

        names = list(self.plan.outputs)
        between = pl.col(ROW).is_between(int(rows[0]), int(rows[-1]))
        each_batch(self.scan.filter(between).select(ROW, *names), take)
        return len(rows)

    def features(self, number: int, count: int) -> pl.DataFrame:
        """Return the features of a range of labels, by their names in the result."""
        import numpy as np
        import polars as pl

        found = self.spill.take(f"{self.name}-{number}")
        schema = {name: self.plan.table.schema[name] for name in self.plan.outputs}
        if found is None:
            values = pl.DataFrame(schema=schema).clear(count)
        else:
            places = np.full(count, found.height, np.uint32)
            places[found[LABEL].to_numpy()] = np.arange(found.height, dtype=np.uint32)
            at = pl.Series(places)
            values = found.select(pl.col(*schema).gather(at.set(at == found.height, None)))
        renamed = values.rename(dict(self.plan.outputs))
        return with_defaults(renamed, self.plan.lookup.default_values)


def _search(labels: pl.LazyFrame, first: int, lookups: Sequence[_Lookup]) -> None:
    """Find the feature rows of some labels; lookups by the same columns share the sorted labels."""
    of_columns: dict[tuple[tuple[str, ...], str | None], SortedLabels | None] = {}
    for lookup in lookups:
        rule = lookup.rule
        by = (tuple(rule.keys), rule.timestamp)
        if by not in of_columns:
            columns = {name for name in (*rule.keys, rule.timestamp) if name}
            asked = asked_of(labels.select(columns).collect(), *by, first)
            of_columns[by] = None if asked.is_empty() else SortedLabels(asked)
        found = of_columns[by]
        if found is not None:
            lookup.search(found)


def _report(plan: PlannedLookup, labels: pl.LazyFrame, rows: int, matched: int) -> LookupReport:
    import polars as pl

    key = pl.any_horizontal(pl.col(plan.lookup.lookup_key).is_null())
    column = plan.lookup.timestamp_lookup_key
    time = pl.col(column).is_null() if column else pl.lit(value=False)
    counts = labels.select(key.sum().alias("keys"), (time & ~key).sum().alias("times"))
    null_keys, null_times = counts.collect(engine="streaming").row(0)
    unmatched = rows - matched - null_keys - null_times
    return LookupReport(plan.table.name, rows, null_keys, null_times, unmatched)
