"""Values at which rows are cut into ranges of about as many rows each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_SAMPLE = 100_000


def cuts_of(rows: pl.LazyFrame, column: str, count: int, most: int) -> pl.Series:
    """Return the values at which to cut `count` rows, so that a range has about `most` or fewer.

    They are sorted, none is NULL and none is there twice. Rows with the same value are not cut
    apart, however many they are. The values of every n-th row tell, of about 100,000 in all.

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
