"""Bins of columns, made from a sample of the training rows, and how often each is hit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

Split: TypeAlias = "Callable[[pl.DataFrame], Iterable[tuple[str, pl.DataFrame]]]"

COARSE = 10
_FINE_IN_COARSE = 12
MOST_CATEGORIES = 20


@dataclass(frozen=True)
class NumberBins:
    """Bins of a number, between quantiles of a sample; NULL and NaN are a bin of their own.

    Attributes
    ----------
    edges
        Ascending, shape (k,). A value is in bin i if it is greater than edge i - 1 and not greater
        than edge i: there are k + 1 bins, and the last one of all is for missing values.
    coarse
        The coarse bin of each fine one, shape (k + 1,): about a tenth of the sample each.
    labels
        Names of the coarse bins.
    """

    edges: Array
    coarse: Array
    labels: tuple[str, ...]

    @classmethod
    def of(cls, sample: Array) -> NumberBins:
        """Make bins of about as many sampled values each; NaN are left out.

        A value that is more frequent than a bin is wide has a bin alone or at the end of one.
        """
        import numpy as np

        known = sample[~np.isnan(sample)]
        steps = COARSE * _FINE_IN_COARSE
        if not len(known):
            return cls(np.array([]), np.zeros(1, int), ("any",))
        wanted = np.linspace(0, 1, steps + 1)[1:-1]
        quantiles = np.quantile(known, wanted, method="inverted_cdf")
        edges = np.unique(quantiles)
        outer = np.unique(quantiles[_FINE_IN_COARSE - 1 :: _FINE_IN_COARSE])
        upper = np.append(edges, np.inf)
        coarse = np.searchsorted(outer, upper, side="left")
        return cls(edges, coarse, _labels(outer))

    @property
    def size(self) -> int:
        """Number of bins, that of missing values included."""
        return len(self.edges) + 2

    def hits(self, values: Array) -> Array:
        """Return how often each bin is hit, missing values last: shape (k + 2,)."""
        import numpy as np

        # Sorting takes a tenth of the time that a search for each value takes.
        ordered = np.sort(values)
        known = np.searchsorted(ordered, np.nan)
        up_to = np.searchsorted(ordered[:known], self.edges, side="right")
        return np.diff(np.concatenate([[0], up_to, [known, len(ordered)]]))


@dataclass(frozen=True)
class TextBins:
    """Each text is a bin; NULL is one of its own."""


Bins: TypeAlias = NumberBins | TextBins


@dataclass(frozen=True)
class NumberCounts:
    """How often the fine bins were hit, missing values last, and the sum of the values."""

    bins: NumberBins
    hits: Array
    total: float

    @property
    def rows(self) -> int:
        """All rows, those without a value included."""
        return int(self.hits.sum())

    @property
    def missing(self) -> int:
        """The rows without a value."""
        return int(self.hits[-1])

    @property
    def mean(self) -> float | None:
        """The mean of the values to 12 digits, as later ones depend on the order of adding."""
        known = self.rows - self.missing
        return float(f"{self.total / known:.12g}") if known else None

    @property
    def coarse(self) -> Array:
        """Hits of the coarse bins, missing values last."""
        import numpy as np

        known = np.bincount(self.bins.coarse, self.hits[:-1], minlength=len(self.bins.labels))
        return np.append(known, self.hits[-1])


@dataclass(frozen=True)
class TextCounts:
    """How often each text was there; None stands for NULL."""

    hits: Mapping[str | None, int]

    @property
    def rows(self) -> int:
        """All rows, those without a value included."""
        return sum(self.hits.values())

    @property
    def missing(self) -> int:
        """The rows without a value."""
        return self.hits.get(None, 0)

    @property
    def known(self) -> dict[str, int]:
        """The texts with their counts."""
        return {text: count for text, count in self.hits.items() if text is not None}


Counts: TypeAlias = NumberCounts | TextCounts


class Tally:
    """Counts of the values of columns by period, added up batch by batch.

    Parameters
    ----------
    split
        Gives the names of the periods in a batch, with their rows.
    """

    def __init__(self, bins: Mapping[str, Bins], split: Split) -> None:
        from threading import Lock

        self._bins = bins
        self._split = split
        self._hits: dict[tuple[str, str], Array] = {}
        self._totals: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._texts: dict[tuple[str, str], Counter[str | None]] = {}
        self._lock = Lock()
        self.rows: Counter[str] = Counter()

    def add(self, batch: pl.DataFrame) -> None:
        """Count a batch, whose numbers are doubles; any thread may."""
        for period, rows in self._split(batch):
            numbers, texts = {}, {}
            for name, bins in self._bins.items():
                if isinstance(bins, NumberBins):
                    numbers[name] = _hits(bins, rows[name])
                else:
                    texts[name] = dict(rows[name].value_counts().iter_rows())
            with self._lock:
                self._take(period, rows.height, numbers, texts)

    def counts(self, period: str, column: str) -> Counts:
        """Return what was counted of a column in a period."""
        bins = self._bins[column]
        if isinstance(bins, TextBins):
            return TextCounts(self._texts[period, column])
        at = (period, column)
        return NumberCounts(bins, self._hits[at], fsum(self._totals[at]))

    def _take(
        self,
        period: str,
        rows: int,
        numbers: Mapping[str, tuple[Array, float]],
        texts: Mapping[str, Mapping[str | None, int]],
    ) -> None:
        self.rows[period] += rows
        for name, (hits, total) in numbers.items():
            at = (period, name)
            known = self._hits.get(at)
            self._hits[at] = hits if known is None else known + hits
            self._totals[at].append(total)
        for name, counts in texts.items():
            self._texts.setdefault((period, name), Counter()).update(counts)


def _hits(bins: NumberBins, column: pl.Series) -> tuple[Array, float]:
    import numpy as np

    values = column.to_numpy()
    return bins.hits(values), float(np.nansum(values))


def _labels(outer: Sequence[float] | Array) -> tuple[str, ...]:
    texts = [f"{edge:.4g}" for edge in outer]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    return (f"up to {texts[0]}", *between, f"above {texts[-1]}")
