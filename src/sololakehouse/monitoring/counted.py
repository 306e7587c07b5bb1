"""Stored predictions and training rows, counted in the same bins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sololakehouse.lake.batches import each_batch
from sololakehouse.monitoring.bins import Bins, Counts, NumberBins, Split, Tally, TextBins
from sololakehouse.monitoring.periods import by_period
from sololakehouse.monitoring.predictions import Predictions
from sololakehouse.monitoring.reference import Reference, columns_at_once

if TYPE_CHECKING:
    import polars as pl

PROBABILITY = "probability"
_MOMENT = "moment of the row"
_ALL = "all"


@dataclass(frozen=True)
class Counted:
    """Counts by column: of the training rows, and of each period of the predictions.

    Attributes
    ----------
    trained
        Of the features over all training rows, of `probability` over their sample.
    periods
        In the order of time.
    """

    trained: Mapping[str, Counts]
    periods: Mapping[str, Mapping[str, Counts]]


def counted(predictions: Predictions, reference: Reference) -> Counted:
    """Count both, a few columns at a time; rows without a moment belong to no period."""
    bins = {name: _bins(column) for name, column in _columns(reference.sample)}
    trained = _counts_of_all(reference.scan(), bins)
    periods = _counts_by_period(predictions, bins)
    # The model is loaded after the counting: it takes as much memory.
    said = reference.probabilities() if PROBABILITY in predictions.table.columns else None
    if said is not None:
        bins = {PROBABILITY: _bins(said)}
        trained |= _counts_of_all(said.to_frame(PROBABILITY).lazy(), bins)
        for period, counts in _counts_by_period(predictions, bins).items():
            periods[period] |= counts
    return Counted(trained, {name: periods[name] for name in sorted(periods)})


def _counts_of_all(rows: pl.LazyFrame, bins: Mapping[str, Bins]) -> dict[str, Counts]:
    return _counts(rows, bins, lambda batch: [(_ALL, batch)])[_ALL]


def _counts_by_period(
    predictions: Predictions, bins: Mapping[str, Bins]
) -> dict[str, dict[str, Counts]]:
    import polars as pl

    split = partial(by_period, timestamp=_MOMENT, period=predictions.job.drift.period)
    moment = pl.col(predictions.timestamp).alias(_MOMENT)
    return _counts(predictions.table.scan(), bins, split, moment)


def _columns(sample: pl.DataFrame) -> Iterable[tuple[str, pl.Series]]:
    return zip(sample.columns, sample.get_columns(), strict=True)


def _bins(column: pl.Series) -> Bins:
    import polars as pl

    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return NumberBins.of(column.cast(pl.Float64).to_numpy())
    return TextBins()


def _counts(
    rows: pl.LazyFrame, bins: Mapping[str, Bins], split: Split, *beside: pl.Expr
) -> dict[str, dict[str, Counts]]:
    """Count the columns in each part that `split`, which may look `beside` them, gives."""
    import polars as pl

    found: dict[str, dict[str, Counts]] = {}
    for names in columns_at_once(list(bins)):
        tally = Tally({name: bins[name] for name in names}, split)
        columns = [
            pl.col(name).cast(pl.Float64 if isinstance(bins[name], NumberBins) else pl.String)
            for name in names
        ]
        each_batch(rows.select(*beside, *columns), tally.add)
        for part in tally.rows:
            found.setdefault(part, {}).update({name: tally.counts(part, name) for name in names})
    return found
