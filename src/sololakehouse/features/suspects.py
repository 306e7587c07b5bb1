"""Features that say the label nearly alone: most often, they know what happened afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.features.association import FEWEST_ROWS, Categories, PairSums

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
    suspicions = Suspicions(label, features)
    suspicions.add(frame)
    return suspicions.suspects()


class Suspicions:
    """What rows that come frame by frame say of features and the label.

    Rows whose label is NULL do not count. A feature that is NaN or infinite is missing there. With
    fewer than 20 rows, or a label of one value, nothing is suspicious. No correlation ratio is
    known of a category with more than a million values.
    """

    def __init__(self, label: str, features: Iterable[str]) -> None:
        self._label = label
        self._features = {name: _Closeness() for name in features}
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

        known = frame.filter(pl.col(self._label).is_not_null())
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
    numbers: Array | None
    y: Array
    sums: PairSums

    @classmethod
    def of(cls, label: pl.Series, first: Any) -> _Truth:
        import numpy as np

        values = _as_numbers(label)
        numbers = None if values is None else values.to_numpy()
        y = np.zeros(0) if numbers is None else numbers - float(first)
        return cls(label, numbers, y, PairSums.of(y, y))


class _Closeness:
    """How close one feature is to the label."""

    def __init__(self) -> None:
        self._rows = 0
        self._equal = 0
        self._origin: float | None = None
        self._numbers = PairSums()
        self._nulls = PairSums()
        self._categories = Categories()

    def add(self, feature: pl.Series, truth: _Truth) -> None:
        """Take more rows into account."""
        self._rows += len(feature)
        values = _as_numbers(feature)
        if truth.numbers is None or values is None:
            self._equal += _equal(feature, truth.label)
        if truth.numbers is None:
            return
        missing = (feature if values is None else values).is_null().arg_true().to_numpy()
        self._nulls += PairSums(
            n=len(feature),
            x=len(missing),
            y=truth.sums.y,
            xx=len(missing),
            yy=truth.sums.yy,
            xy=float(truth.y[missing].sum()),
        )
        if values is not None:
            self._add_numbers(values, missing, truth.numbers, truth.y)
        elif not feature.dtype.is_nested() and not feature.dtype.is_temporal():
            self._categories.add(feature, truth.y)

    def _add_numbers(self, values: pl.Series, missing: Array, numbers: Array, y: Array) -> None:
        """Add pairs in which neither is NULL: what is missing adds nothing where it is 0."""
        import numpy as np

        if self._origin is None and len(missing) < len(values):
            self._origin = float(values.drop_nulls()[0])
        origin = self._origin or 0.0
        filled = (values.fill_null(origin) if len(missing) else values).to_numpy()
        self._equal += int(np.count_nonzero(filled == numbers))
        self._equal -= int(np.count_nonzero(numbers[missing] == origin))
        with np.errstate(invalid="ignore", over="ignore"):
            pairs = PairSums.of(filled - origin, y)
        self._numbers += pairs - PairSums.of(np.zeros(len(missing)), y[missing])

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
    """Return numbers and booleans as doubles; what is not finite is missing, as NULL is."""
    import polars as pl

    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return None
    numbers = values.cast(pl.Float64)
    finite = numbers.is_finite()
    return numbers if finite.all() else numbers.set(~finite, None)


def _equal(feature: pl.Series, label: pl.Series) -> int:
    numbers, truth = _as_numbers(feature), _as_numbers(label)
    if numbers is not None and truth is not None:
        feature, label = numbers, truth
    if feature.dtype != label.dtype:
        return 0
    return int((feature == label).fill_null(False).sum())
