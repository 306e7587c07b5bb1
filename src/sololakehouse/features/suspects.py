"""Features that say the label nearly alone: most often, they know what happened afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

LIMIT = 0.98
SUSPECTS = "suspects"
_FEWEST_ROWS = 20

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
        correlation of being NULL with the label.
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
    """Return the features that equal the label or predict it nearly alone.

    Rows whose label is NULL do not count. With fewer than 20 rows, or a label of one value, nothing
    is suspicious.
    """
    import polars as pl

    known = frame.filter(pl.col(label).is_not_null())
    if known.height < _FEWEST_ROWS or known[label].n_unique() < 2:
        return ()
    found = (_suspect(known[name], known[label]) for name in features)
    return tuple(one for one in found if one is not None)


def _suspect(feature: pl.Series, label: pl.Series) -> Suspect | None:
    numbers = _as_numbers(label)
    measures: list[tuple[Measure, float]] = [("share of equal values", _equal(feature, label))]
    if numbers is not None:
        values = _as_numbers(feature)
        if values is not None:
            measures.append(("correlation", _pearson(values, numbers)))
        elif not feature.dtype.is_nested() and not feature.dtype.is_temporal():
            measures.append(("correlation ratio", _correlation_ratio(feature, numbers)))
        measures.append(("missing values", _pearson(feature.is_null().cast(float), numbers)))
    close = [one for one in measures if abs(one[1]) >= LIMIT]
    return Suspect(feature.name, *close[0]) if close else None


def _as_numbers(values: pl.Series) -> pl.Series | None:
    import polars as pl

    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return values.cast(pl.Float64)
    return None


def _equal(feature: pl.Series, label: pl.Series) -> float:
    import polars as pl

    if _as_numbers(feature) is not None and _as_numbers(label) is not None:
        feature, label = feature.cast(pl.Float64), label.cast(pl.Float64)
    if feature.dtype != label.dtype:
        return 0.0
    return float((feature == label).fill_null(False).sum()) / len(label)


def _pearson(one: pl.Series, other: pl.Series) -> float:
    import polars as pl

    both = pl.DataFrame([one.alias("one"), other.alias("other")]).drop_nulls()
    if both.height < _FEWEST_ROWS:
        return 0.0
    found = both.select(pl.corr("one", "other")).item()
    return found if found is not None and math.isfinite(found) else 0.0


def _correlation_ratio(feature: pl.Series, label: pl.Series) -> float:
    import polars as pl

    both = pl.DataFrame([feature.alias("f"), label.alias("y")]).drop_nulls()
    groups = both["f"].n_unique()
    total = float(both.select(((pl.col("y") - pl.col("y").mean()) ** 2).sum()).item() or 0.0)
    if both.height < _FEWEST_ROWS or groups >= both.height / 2 or not total:
        return 0.0
    within = both.select(((pl.col("y") - pl.col("y").mean().over("f")) ** 2).sum()).item()
    epsilon = 1 - within / total * (both.height - 1) / (both.height - groups)
    return math.sqrt(max(epsilon, 0.0))
