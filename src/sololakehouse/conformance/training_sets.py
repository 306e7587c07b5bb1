"""Holding a saved training set to the rules: a sample of its rows, on the versions it was made of.

The oracle chooses the feature rows; nothing of the join is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from sololakehouse.conformance.cases import oracle_options, plain
from sololakehouse.conformance.oracle import Key, Row, chosen
from sololakehouse.errors import RunError
from sololakehouse.features.asof import AsOf
from sololakehouse.features.defaults import default_value
from sololakehouse.features.join import PlannedLookup
from sololakehouse.features.saved import open_training_set, saved_version
from sololakehouse.lake import Lakehouse

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class RowDifference:
    """A row of a training set that is not what the oracle says.

    Attributes
    ----------
    row
        Its number, from 0.
    label
        The label's columns.
    expected, got
        The features of the lookup by their names in the training set.
    """

    row: int
    label: dict[str, Any]
    expected: dict[str, Any]
    got: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        sides = {"label": self.label, "expected": self.expected, "got": self.got}
        return {"row": self.row} | {name: plain(side) for name, side in sides.items()}


@dataclass(frozen=True)
class LookupResult:
    """How the rows of a sample did in one lookup, or, as `labels`, the labels themselves."""

    lookup: str
    rows: int
    failed: int
    example: RowDifference | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "lookup": self.lookup,
            "rows": self.rows,
            "passed": self.rows - self.failed,
            "failed": self.failed,
            "example": self.example and self.example.as_dict(),
        }


@dataclass(frozen=True)
class TrainingSetReport:
    """How a sample of a training set's rows did.

    Attributes
    ----------
    training_set
        With its version.
    rows
        Number of rows of the training set.
    """

    training_set: str
    seed: int
    rows: int
    results: tuple[LookupResult, ...]

    @property
    def failed(self) -> int:
        """Number of rows that are otherwise, summed over the lookups."""
        return sum(result.failed for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "training_set": self.training_set,
            "seed": self.seed,
            "rows": self.rows,
            "failed": self.failed,
            "lookups": [result.as_dict() for result in self.results],
        }


def check_training_set(
    lake: Lakehouse, name: str, rows: int = 200, seed: int = 1
) -> TrainingSetReport:
    """Hold rows of a saved training set to the point-in-time rules.

    Parameters
    ----------
    name
        `training.NAME` or `NAME`, also at a version: `flight_delay@v2`.
    rows
        How many rows to draw; all of them if there are not as many.
    seed
        The same seed draws the same rows.

    Raises
    ------
    NotFoundError
        There is no such training set, or a version that it was made from is gone.
    FeatureLookupError
        The table is no training set, or does not keep enough of its labels.
    RunError
        It has more or fewer rows than its labels.
    """
    saved = saved_version(lake, name)
    training_set = open_training_set(lake, name)
    labels, found = training_set.labels, saved.to_polars()
    if labels.height != found.height:
        raise RunError(
            f"{saved.name}@v{saved.version} has {found.height:,} rows, and its labels "
            f"{labels.height:,}. Rows in must be rows out."
        )
    places = sorted(Random(seed).sample(range(labels.height), min(rows, labels.height)))
    sample = _Sample(places, labels[places], found[places])
    results = [sample.compared("labels", sample.labels)]
    for plan in training_set.lookups:
        table = f"{plan.table.name}@v{plan.table.version}"
        results.append(
            sample.compared(table, _expected(sample.labels, plan, training_set.rule_of(plan)))
        )
    return TrainingSetReport(f"{saved.name}@v{saved.version}", seed, found.height, tuple(results))


@dataclass(frozen=True)
class _Sample:
    places: list[int]
    labels: pl.DataFrame
    found: pl.DataFrame

    def compared(self, lookup: str, expected: pl.DataFrame) -> LookupResult:
        """Compare the columns that the training set has not excluded; NaN equals NaN."""
        import polars as pl

        columns = [name for name in expected.columns if name in self.found.columns]
        right, found = expected.select(columns), self.found.select(columns)
        differs = pl.DataFrame([found[name].ne_missing(right[name]) for name in columns])
        failed = differs.select(pl.any_horizontal(pl.all())).to_series().arg_true()
        example = None
        if len(failed):
            first = int(failed[0])
            rows = (frame.row(first, named=True) for frame in (self.labels, right, found))
            example = RowDifference(self.places[first], *rows)
        return LookupResult(lookup, len(self.places), len(failed), example)


def _expected(labels: pl.DataFrame, plan: PlannedLookup, rule: AsOf) -> pl.DataFrame:
    """Return the features of the rows that the oracle chooses."""
    import polars as pl

    keys = rule.feature_keys or rule.keys
    asked = labels.select(
        pl.col(ours).alias(key) for ours, key in zip(rule.keys, keys, strict=True)
    )
    scan = plan.table.scan(list(plan.outputs))
    rows = scan.join(asked.unique().lazy(), on=list(keys), how="semi").collect()
    known: dict[Key, list[int]] = {}
    numbers = list(_numbers(rows, keys, rule.feature_timestamp, rule.known_at))
    for place, (key, *_) in enumerate(numbers):
        known.setdefault(key, []).append(place)
    places = []
    for key, event, _ in _numbers(labels, rule.keys, rule.timestamp, None):
        candidates = known.get(key, [])
        best = chosen(key, event, [numbers[place] for place in candidates], **oracle_options(rule))
        places.append(None if best is None else candidates[best])
    defaults = plan.lookup.default_values
    return pl.DataFrame(
        _column(output, rows[name], places, defaults.get(output))
        for name, output in plan.outputs.items()
    )


def _numbers(
    frame: pl.DataFrame, keys: Sequence[str], timestamp: str | None, known_at: str | None
) -> Iterator[Row]:
    """Give keys and moments in microseconds, 0 for a lookup without time."""
    nothing = [0] * frame.height
    moments = frame[timestamp].to_physical().to_list() if timestamp else nothing
    known = frame[known_at].to_physical().to_list() if known_at else nothing
    values = zip(*(frame[key].to_list() for key in keys), strict=True)
    return zip(values, moments, known, strict=True)


def _column(output: str, values: pl.Series, places: list[int | None], default: Any) -> pl.Series:
    import polars as pl

    found = (None if place is None else values[place] for place in places)
    (filling,) = default_value(default, values.dtype)
    filled = [filling if value is None else value for value in found]
    return pl.Series(output, filled, values.dtype)
