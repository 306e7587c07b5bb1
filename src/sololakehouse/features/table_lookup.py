"""A lookup in one feature table of any size.

The table is read twice, other columns each time: keys and times, to find the row of each label;
then the values of the rows that were found. They wait, cut by ranges of labels, until they are
asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sololakehouse.features.asof import AsOf
from sololakehouse.features.latest import ROW, SortedLabels
from sololakehouse.lake.batches import each_batch
from sololakehouse.lake.spill import Spill

if TYPE_CHECKING:
    import polars as pl


class TableLookup:
    """A lookup that finds rows first, then takes their values, and gives them at last.

    Parameters
    ----------
    name
        Tells what waits from what other lookups have in the same place.
    features
        Keys, times, values, and the number of each row in `ROW`.
    values
        The columns to take.
    at_once
        How many labels make a range.
    waiting
        Where rows and values wait.
    rows_at_once
        The values of how many rows of the table are taken in one go.
    """

    def __init__(
        self,
        name: str,
        features: pl.LazyFrame,
        values: Sequence[str],
        rule: AsOf,
        at_once: int,
        waiting: Spill,
        rows_at_once: int = 1 << 24,
    ) -> None:
        self.rule = rule
        self.matched = 0
        self._name = name
        self._rows = f"rows of {name}"
        self._features = features
        self._values = list(values)
        self._at_once = at_once
        self._waiting = waiting
        self._rows_at_once = rows_at_once

    def search(self, labels: SortedLabels) -> None:
        """Find the rows of some labels."""
        found = labels.search(self._features, self.rule)
        self._waiting.add(self._rows, found, found["row"].to_numpy() // self._rows_at_once)
        self.matched += found.height

    def take_values(self) -> None:
        """Take the values of all rows that were found."""
        for number in self._waiting.numbers(self._rows):
            found = self._waiting.take(self._rows, number)
            if found is not None:
                rows = self._features.slice(number * self._rows_at_once, self._rows_at_once)
                self._take(rows, found if found["row"].is_sorted() else found.sort("row"))

    def _take(self, features: pl.LazyFrame, found: pl.DataFrame) -> None:
        """Take the values of rows of a part of the table; `found` is in the order of its rows."""
        import numpy as np
        import polars as pl

        labels, rows = found["label"].to_numpy(), found["row"].to_numpy()

        def take(batch: pl.DataFrame) -> None:
            first = batch[ROW][0]
            ends = np.array([first, first + batch.height], rows.dtype)
            some = slice(*np.searchsorted(rows, ends))
            ranges, places = np.divmod(labels[some], self._at_once)
            values, at = batch.select(self._values), rows[some] - first
            self._waiting.add(self._name, values, ranges, at=at, places=places)

        inside = pl.col(ROW).is_between(int(rows[0]), int(rows[-1]))
        each_batch(features.filter(inside).select(ROW, *self._values), take)

    def values(self, number: int, count: int) -> pl.DataFrame:
        """Return the values of the labels of one range, once; NULL where no row was found.

        Parameters
        ----------
        count
            How many labels the range has.
        """
        found = self._waiting.take_in_place(self._name, number, count)
        if found is None:
            schema = self._features.select(self._values).collect_schema()
            return schema.to_frame().clear(count)
        return found
