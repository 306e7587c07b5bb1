"""Features that say the label nearly alone: most often, they know what happened afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.buffers import Buffers
from sololakehouse.features.association import FEWEST_ROWS, Categories, PairSums, sums_beside

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

LIMIT = 0.98
SUSPECTS = "suspects"

Measure = Literal["share of equal values", "correlation", "correlation ratio", "missing values"]


@dataclass(frozen=True)
class Suspect:
    """A feature that is suspiciously close to the label.

    Attributes
    ----------
    measure
        `share of equal values`; `correlation`: Pearson's of numbers (with two classes that is the
        point-biserial one); `correlation ratio`: of categories, the root of Kelley's epsilon
        squared (1935), which takes chance for many categories into account; `missing values`: the
        correlation of being NULL, NaN or infinite with the label.
    value
        From -1 to 1; its absolute value is at least `LIMIT`.
    """

    feature: str
    measure: Measure
    value: float

    def __str__(self) -> str:
        return (
            f"{self.feature!r} says the label nearly alone ({self.measure}: {self.value:.3f}). Is "
            "it known at the label's moment?"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a commit record."""
        return asdict(self)


def recorded_suspects(details: Mapping[str, Any]) -> tuple[Suspect, ...]:
    """Return the suspects that the details of a training set's commit name."""
    return tuple(Suspect(**one) for one in details.get(SUSPECTS, ()))


def suspects(frame: pl.DataFrame, label: str, features: Iterable[str]) -> tuple[Suspect, ...]:
    """Return the features of a frame that equal the label or predict it nearly alone."""
    suspicions = Suspicions(label, features, frame.height)
    suspicions.add(frame)
    return suspicions.suspects()


class Suspicions:
    """What rows that come frame by frame say of features and the label.

    Rows whose label is NULL do not count. A feature that is NaN or infinite is missing there. With
    fewer than 20 rows, or a label of one value, nothing is suspicious. No correlation ratio is
    known of a category with more than a million values. `rows` is how many rows come at most.
    """

    def __init__(self, label: str, features: Iterable[str], rows: int) -> None:
        self._label = label
        self._features = {name: _Closeness(rows) for name in features}
        self._first: Any = None
        self._differ = False

    def watched(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Give the frames again, and add each."""
        for frame in frames:
            self.add(frame)
            yield frame

    def add(self, frame: pl.DataFrame) -> None:
        """Take more rows into account."""
        import polars as pl

        unknown = frame[self._label].null_count()
        known = frame.filter(pl.col(self._label).is_not_null()) if unknown else frame
        if known.is_empty():
            return
        label = known[self._label]
        if self._first is None:
            self._first = label[0]
        self._differ = self._differ or bool((label != self._first).any())
        truth = _Truth.of(label, self._first)
        for name, closeness in self._features.items():
            closeness.add(known[name], truth)

    def suspects(self) -> tuple[Suspect, ...]:
        """Return the features that equal the label or predict it nearly alone."""
        if not self._differ:
            return ()
        found = ((name, one.greatest()) for name, one in self._features.items())
        return tuple(Suspect(name, *greatest) for name, greatest in found if greatest)


@dataclass(frozen=True)
class _Truth:
    """Labels, and if they are numbers: those, less the first one, and their sums."""

    label: pl.Series
    y: Array | None
    sums: PairSums

    @classmethod
    def of(cls, label: pl.Series, first: Any) -> _Truth:
        numbers = _as_numbers(label)
        if numbers is None:
            return cls(label, None, PairSums())
        finite = _finite(numbers)
        y = finite.to_numpy() - float(first)
        return cls(finite, y, PairSums.of_zeros(y))


class _Closeness:
    """How close one feature is to the label, of at most so many rows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows = 0
        self._equal = 0
        self._origin: float | None = None
        self._squares_are_finite = True
        self._numbers = PairSums()
        self._nulls = PairSums()
        self._categories = Categories()

    def add(self, feature: pl.Series, truth: _Truth) -> None:
        """Take more rows into account."""
        values = _as_numbers(feature)
        if self._may_be_equal:
            self._equal += _equal(feature if values is None else values, truth.label)
        self._rows += len(feature)
        if truth.y is None:
            return
        if values is not None:
            missing = self._add_numbers(values, truth.y, truth.sums)
        else:
            missing = truth.y[feature.is_null().to_numpy()]
            if not feature.dtype.is_nested() and not feature.dtype.is_temporal():
                self._categories.add(feature, truth.y)
        n, sums = len(missing), truth.sums
        self._nulls += PairSums(sums.n, n, sums.y, n, sums.yy, float(missing.sum()))

    def _add_numbers(self, values: pl.Series, y: Array, sums: PairSums) -> Array:
        """Add the pairs in which no number is missing; return `y` where one is.

        The square of what is not finite is not either: only once their sum is not, it is looked
        for, in these rows and those to come.
        """
        import numpy as np

        if self._origin is None:
            finite = values.filter(values.is_finite())
            self._origin = float(finite[0]) if len(finite) else None
        origin = self._origin or 0.0
        with np.errstate(invalid="ignore", over="ignore"):
            if self._squares_are_finite:
                pairs, missing = sums_beside(Buffers.of(values), origin, y, sums)
                self._squares_are_finite = math.isfinite(pairs.xx)
            if not self._squares_are_finite:
                pairs, missing = sums_beside(Buffers.of(_finite(values)), origin, y, sums)
        self._numbers += pairs
        return missing

    @property
    def _may_be_equal(self) -> bool:
        """Whether equal values could still reach the limit, if all values to come were equal."""
        return (self._most - (self._rows - self._equal)) / self._most >= LIMIT

    def greatest(self) -> tuple[Measure, float] | None:
        """Return the first measure that reaches the limit; None if none does."""
        if self._rows < FEWEST_ROWS:
            return None
        measures: list[tuple[Measure, float]] = [
            ("share of equal values", self._equal / self._rows),
            ("correlation", self._numbers.correlation),
            ("correlation ratio", self._categories.correlation_ratio),
            ("missing values", self._nulls.correlation),
        ]
        return next((one for one in measures if abs(one[1]) >= LIMIT), None)


def _as_numbers(values: pl.Series) -> pl.Series | None:
    """Return numbers and booleans as doubles."""
    import polars as pl

    if values.dtype == pl.Boolean:
        values = values.cast(pl.UInt8)  # From bits straight to doubles takes four times as long.
    return values.cast(pl.Float64) if values.dtype.is_numeric() else None


def _finite(numbers: pl.Series) -> pl.Series:
    """Return numbers; what is not finite is missing, as NULL is."""
    finite = numbers.is_finite()
    return numbers if finite.all() else numbers.set(~finite, None)


def _equal(feature: pl.Series, label: pl.Series) -> int:
    return int((feature == label).sum()) if feature.dtype == label.dtype else 0
