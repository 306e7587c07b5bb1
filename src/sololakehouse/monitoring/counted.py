"""Stored predictions and training rows, counted in the same bins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.lake.batches import each_batch
from sololakehouse.monitoring.bins import Bins, Counts, NumberBins, Tally, TextBins
from sololakehouse.monitoring.periods import period_of
from sololakehouse.monitoring.predictions import Predictions
from sololakehouse.monitoring.reference import Reference

if TYPE_CHECKING:
    import polars as pl

PROBABILITY = "probability"
_PERIOD = "period of the row"
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
    """Count both in one pass each; rows without a moment belong to no period."""
    import polars as pl

    features = {name: _bins(column) for name, column in _columns(reference.sample)}
    trained = _tally(reference.scan(), pl.lit(_ALL), features)
    found = {name: trained.counts(_ALL, name) for name in features}
    bins = dict(features)
    said = reference.probabilities() if PROBABILITY in predictions.table.columns else None
    if said is not None:
        bins[PROBABILITY] = _bins(said)
        of_sample = _tally(
            said.to_frame(PROBABILITY).lazy(), pl.lit(_ALL), {PROBABILITY: bins[PROBABILITY]}
        )
        found[PROBABILITY] = of_sample.counts(_ALL, PROBABILITY)
    timestamp = predictions.timestamp
    rows = predictions.table.scan().filter(pl.col(timestamp).is_not_null())
    now = _tally(rows, period_of(timestamp, predictions.job.drift.period), bins)
    periods = {period: {name: now.counts(period, name) for name in bins} for period in now.periods}
    return Counted(found, periods)


def _columns(sample: pl.DataFrame) -> Iterable[tuple[str, pl.Series]]:
    return zip(sample.columns, sample.get_columns(), strict=True)


def _bins(column: pl.Series) -> Bins:
    import polars as pl

    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return NumberBins.of(column.cast(pl.Float64).to_numpy())
    return TextBins()


def _tally(rows: pl.LazyFrame, period: pl.Expr, bins: Mapping[str, Bins]) -> Tally:
    import polars as pl

    tally = Tally(bins, _PERIOD)
    columns = [
        pl.col(name).cast(pl.Float64 if isinstance(kind, NumberBins) else pl.String)
        for name, kind in bins.items()
    ]
    each_batch(rows.select(period.alias(_PERIOD), *columns), tally.add)
    return tally
