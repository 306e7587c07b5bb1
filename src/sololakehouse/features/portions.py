"""The labels that are searched at once: all, or where they are too many, a range of keys each time.

Feature tables in the order of their keys are then read once in all, not once for each portion: of
other keys' rows, statistics tell that they can be skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sololakehouse.features.asof import asked_of
from sololakehouse.features.key_numbers import has_bounds
from sololakehouse.lake.cuts import cuts_of

if TYPE_CHECKING:
    import polars as pl

_PLACE = "place of the label"


def portions(
    labels: pl.LazyFrame, keys: Sequence[str], timestamp: str | None, rows: int, most: int
) -> Iterator[pl.DataFrame]:
    """Give the labels that can have a match, in portions for `SortedLabels`, none of them empty.

    Parameters
    ----------
    rows
        Number of the labels.
    most
        How many labels a portion has at most.

    Raises
    ------
    FeatureLookupError
        The timestamp is naive, or finer than a microsecond.
    """
    columns = dict.fromkeys([*keys, *([timestamp] if timestamp else [])])
    numbered = labels.select(*columns).with_row_index(_PLACE)
    ranges = _ranges(labels, keys[0], rows, most) if rows > most else [None]
    for inside in ranges:
        part = numbered if inside is None else numbered.filter(inside)
        for some in _slices(part, most):
            asked = asked_of(some, keys, timestamp, some[_PLACE])
            if not asked.is_empty():
                yield asked


def _slices(part: pl.LazyFrame, most: int) -> Iterator[pl.DataFrame]:
    first = 0
    while True:
        some = part.slice(first, most).collect(engine="streaming")
        yield some
        if some.height < most:
            return
        first += most


def _ranges(labels: pl.LazyFrame, key: str, rows: int, most: int) -> list[pl.Expr | None]:
    """Return conditions that cut the labels into ranges of a key, of about as many rows each."""
    import polars as pl

    if not has_bounds(labels.collect_schema()[key]):
        return [None]
    bounds = [None, *cuts_of(labels, key, rows, most), None]
    return [_between(pl.col(key), *pair) for pair in pairwise(bounds)]


def _between(key: pl.Expr, least: Any, below: Any) -> pl.Expr | None:
    import polars as pl

    bounds = [*([] if least is None else [key >= least]), *([] if below is None else [key < below])]
    return pl.all_horizontal(bounds) if bounds else None
