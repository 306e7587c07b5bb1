"""What later restatements change: the same lookups with three kinds of knowledge.

`event time` takes each row as it was restated last and asks only whether it was valid at the
label's moment: what a join without `known_at` gives. `as known` takes what was known at the label's
moment. `as of a day` takes what was known on one fixed day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

EVENT_TIME = "event time"
AS_KNOWN = "as known"
AS_OF_A_DAY = "as of a day"
_ALWAYS = datetime.max.replace(tzinfo=UTC)
_EXAMPLES = 3


@dataclass(frozen=True)
class FeatureChange:
    """How one feature differs between two kinds of knowledge.

    Attributes
    ----------
    rows
        Labels whose value differs; NULL equals NULL, and NaN equals NaN.
    share
        Of all labels, between 0 and 1.
    mean_change
        Mean of the absolute differences where both are numbers; None for other types.
    examples
        Row number, and both values, of at most three of them.
    """

    feature: str
    rows: int
    share: float
    mean_change: float | None
    examples: tuple[tuple[int, Any, Any], ...]


@dataclass(frozen=True)
class KnowledgeChange:
    """How the features differ between two kinds of knowledge; unchanged ones are left out.

    Attributes
    ----------
    labels
        Labels with at least one feature that differs.
    """

    before: str
    after: str
    labels: int
    features: tuple[FeatureChange, ...]


@dataclass(frozen=True)
class RestatementReport:
    """The three comparisons, of all labels.

    Attributes
    ----------
    rows
        Number of labels.
    known_as_of
        The fixed day.
    """

    rows: int
    known_as_of: datetime
    changes: tuple[KnowledgeChange, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def restatements(
    looked_up: Callable[[datetime | None], pl.DataFrame], known_as_of: datetime
) -> RestatementReport:
    """Compare the features that three kinds of knowledge give.

    Parameters
    ----------
    looked_up
        Gives the features of all labels, in their order, for a fixed moment of knowledge; None: as
        known at each label's moment.
    known_as_of
        The fixed day, with a time zone.
    """
    frames = {
        EVENT_TIME: looked_up(_ALWAYS),
        AS_KNOWN: looked_up(None),
        AS_OF_A_DAY: looked_up(known_as_of),
    }
    changes = [_compared(*pair) for pair in combinations(frames.items(), 2)]
    return RestatementReport(frames[AS_KNOWN].height, known_as_of, tuple(changes))


def _compared(one: tuple[str, pl.DataFrame], other: tuple[str, pl.DataFrame]) -> KnowledgeChange:
    import polars as pl

    (before, old), (after, new) = one, other
    differ = pl.DataFrame([old[name].ne_missing(new[name]).alias(name) for name in old.columns])
    features = [_changed(old[name], new[name], differ[name]) for name in old.columns]
    labels = differ.select(pl.any_horizontal(pl.all()).sum()).item() if old.columns else 0
    return KnowledgeChange(before, after, labels, tuple(one for one in features if one.rows))


def _changed(old: pl.Series, new: pl.Series, differ: pl.Series) -> FeatureChange:
    rows = int(differ.sum())
    mean = _distance(old, new).filter(differ).mean() if old.dtype.is_numeric() else None
    places = differ.arg_true().head(_EXAMPLES).to_list()
    return FeatureChange(
        feature=old.name,
        rows=rows,
        share=rows / max(len(old), 1),
        mean_change=mean,  # type: ignore[arg-type]
        examples=tuple((place, old[place], new[place]) for place in places),
    )


def _distance(old: pl.Series, new: pl.Series) -> pl.Series:
    """Return the absolute differences as doubles: of small integers they may not fit the type."""
    import polars as pl

    return (new.cast(pl.Float64) - old.cast(pl.Float64)).abs()
