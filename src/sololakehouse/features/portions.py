"""The labels that are searched at once: all, or where they are too many, a range of keys each time.

Feature tables in the order of their keys are then read once in all, not once for each portion: of
other keys' rows, statistics tell that they can be skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sololakehouse.features.asof import asked_of
from sololakehouse.features.key_numbers import has_bounds
from sololakehouse.lake.ranges import in_ranges
from sololakehouse.lake.spill import Spill

if TYPE_CHECKING:
    import polars as pl

_PLACE = "__slh_place"


def portions(
    labels: pl.LazyFrame,
    keys: Sequence[str],
    timestamp: str | None,
    rows: int,
    most: int,
    waiting: Spill,
) -> Iterator[pl.DataFrame]:
    """Give the labels that can have a match, in portions for `SortedLabels`, none of them empty.

    Parameters
    ----------
    rows
        Number of the labels.
    most
        How many labels a portion has at most.
    waiting
        Where labels wait that are too many for one portion.

    Raises
    ------
    FeatureLookupError
        The timestamp is naive, or finer than a microsecond.
    """
    columns = dict.fromkeys([*keys, *([timestamp] if timestamp else [])])
    numbered = labels.select(*columns).with_row_index(_PLACE)
    for some in _cut(numbered, keys[0], rows, most, waiting):
        asked = asked_of(some, keys, timestamp, some[_PLACE])
        if not asked.is_empty():
            yield asked


def _cut(
    numbered: pl.LazyFrame, key: str, rows: int, most: int, waiting: Spill
) -> Iterator[pl.DataFrame]:
    if rows > most and has_bounds(numbered.collect_schema()[key]):
        for some in in_ranges(numbered, key, rows, most, waiting):
            yield from some.iter_slices(most)
    else:
        for first in range(0, rows, most):
            yield numbered.slice(first, most).collect(engine="streaming")
