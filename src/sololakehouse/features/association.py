"""Measures of association between a feature and the label, from rows that come part by part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import add, attrgetter, sub
from typing import TYPE_CHECKING, Any

from sololakehouse.buffers import Buffers

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

FEWEST_ROWS = 20
_MOST_GROUPS = 1_000_000
_BLOCK = 8_192
_SUMS = attrgetter("n", "x", "y", "xx", "yy", "xy")


@dataclass(frozen=True)
class PairSums:
    """Sums over pairs of numbers; those of parts add up to those of the whole.

    Attributes
    ----------
    n
        Number of pairs.
    x, y, xx, yy, xy
        Sums of the numbers and of their products. The numbers should be near 0: take away one of
        them first, or what is left of large sums is lost in rounding.
    """

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    @classmethod
    def of_zeros(cls, y: Array) -> PairSums:
        """Sum up pairs of 0 and each of `y`, doubles of shape (n,)."""
        import numpy as np

        # Not `y @ y`: that takes threads, which wait actively for each other.
        return cls(n=len(y), y=float(y.sum()), yy=float(np.einsum("i,i->", y, y)))

    def __add__(self, other: PairSums) -> PairSums:
        """Sum over the pairs of both."""
        return self._combined(other, add)

    def __sub__(self, other: PairSums) -> PairSums:
        """Sum over the pairs that are left without those of `other`."""
        return self._combined(other, sub)

    def _combined(self, other: PairSums, how: Callable[[float, float], float]) -> PairSums:
        return PairSums(*map(how, _SUMS(self), _SUMS(other)))

    @property
    def correlation(self) -> float:
        """Pearson's; 0 for fewer than 20 pairs, for a constant, and for what is not finite."""
        if self.n < FEWEST_ROWS:
            return 0.0
        spread_x = self.xx - self.x * self.x / self.n
        spread_y = self.yy - self.y * self.y / self.n
        together = self.xy - self.x * self.y / self.n
        if not (spread_x > 0 and spread_y > 0 and math.isfinite(together)):
            return 0.0
        return max(-1.0, min(1.0, float(together / math.sqrt(spread_x) / math.sqrt(spread_y))))


def sums_beside(column: Buffers, origin: float, y: Array, of_y: PairSums) -> tuple[PairSums, Array]:
    """Sum up the pairs of a column's numbers, less `origin`, and `y`, where there is a number.

    A block of doubles stays in the processor's cache, and its products take no threads.

    Parameters
    ----------
    column
        Doubles of shape (n,).
    y
        Doubles of the same shape.
    of_y
        `PairSums.of_zeros(y)`: what is NULL counts as 0 at first.

    Returns
    -------
    The sums, and `y` where the column is NULL.
    """
    import numpy as np

    near = np.empty(min(len(y), _BLOCK))
    x = xx = xy = 0.0
    missing = []
    for start in range(0, len(y), _BLOCK):
        stop = min(start + _BLOCK, len(y))
        some, beside = near[: stop - start], y[start:stop]
        np.subtract(column.values[start:stop], origin, out=some)
        nulls = column.nulls(start, stop)
        if nulls is not None:
            unknown = np.flatnonzero(nulls)
            some[unknown] = 0.0
            missing.append(beside[unknown])
        x += float(some.sum())
        xx += float(some @ some)
        xy += float(some @ beside)
    sums = PairSums(of_y.n, x, of_y.y, xx, of_y.yy, xy)
    if not missing:
        return sums, y[:0]
    without = np.concatenate(missing)
    return sums - PairSums.of_zeros(without), without


class Categories:
    """Sums of a number for each value of a category."""

    def __init__(self) -> None:
        self._groups: list[pl.DataFrame] = []
        self._squares = 0.0
        self._are_too_many = False

    def add(self, category: pl.Series, y: Array) -> None:
        """Add rows; a category that is NULL does not count."""
        import polars as pl

        if self._are_too_many:
            return
        both = pl.DataFrame([category.alias("value"), pl.Series("y", y)]).drop_nulls("value")
        self._squares += float((both["y"] ** 2).sum())
        groups = both.group_by("value").agg(pl.len().alias("n"), pl.col("y").sum())
        self._groups = [pl.concat([*self._groups, groups]).group_by("value").sum()]
        self._are_too_many = self._groups[0].height > _MOST_GROUPS

    @property
    def correlation_ratio(self) -> float:
        """The root of Kelley's epsilon squared; 0 for fewer than 20 rows or too many categories."""
        import polars as pl

        if self._are_too_many or not self._groups:
            return 0.0
        groups, size = self._groups[0], pl.col("n")
        rows, y, between = groups.select(
            size.sum(), pl.col("y").sum(), s=(pl.col("y") ** 2 / size).sum()
        ).row(0)
        total = self._squares - y * y / rows if rows else 0.0
        if rows < FEWEST_ROWS or groups.height >= rows / 2 or not total > 0:
            return 0.0
        within = self._squares - between
        epsilon = 1 - within / total * (rows - 1) / (rows - groups.height)
        return math.sqrt(max(epsilon, 0.0))
