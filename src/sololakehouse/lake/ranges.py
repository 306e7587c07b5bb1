"""Rows of any number, cut into ranges of a column that are of about the same size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sololakehouse.lake.batches import each_batch
from sololakehouse.lake.spill import Spill

if TYPE_CHECKING:
    import polars as pl

_SAMPLE = 100_000
_RANGES = "ranges"


def in_ranges(
    rows: pl.LazyFrame, column: str, count: int, most: int, waiting: Spill
) -> Iterator[pl.DataFrame]:
    """Give rows in ranges of a column, the least values first, in no order within a range.

    NULL is less than any value. Rows with the same value are in one range, however many they are.
    The rows are read once, and wait in `waiting`.

    Parameters
    ----------
    count
        Number of the rows.
    most
        How many rows a range has, about.
    """
    cuts = cuts_of(rows, column, count, most)

    def cut(batch: pl.DataFrame) -> None:
        waiting.add(_RANGES, batch, cuts.search_sorted(batch[column], side="right").to_numpy())

    each_batch(rows, cut)
    for number in waiting.numbers(_RANGES):
        some = waiting.take(_RANGES, number)
        if some is not None:
            yield some


def cuts_of(rows: pl.LazyFrame, column: str, count: int, most: int) -> pl.Series:
    """Return the values at which to cut `count` rows, so that a range has about `most` or fewer.

    They are sorted, none is NULL and none is there twice. The values of every n-th row tell, of
    about 100,000 in all.

    Examples
    --------
    >>> import polars as pl
    >>> cuts_of(pl.LazyFrame({"v": [5, 1, 4, None, 2, 3]}), "v", 6, most=2).to_list()
    [2, 3, 4]
    """
    import polars as pl

    some = pl.col(column).gather_every(max(1, count // _SAMPLE)).drop_nulls()
    sample = rows.select(some).collect(engine="streaming").to_series().sort()
    ranges = count // most + 1
    places = [len(sample) * number // ranges for number in range(1, ranges)]
    return sample.gather(places if len(sample) else []).unique().sort()
