"""Predictions beside the labels that are known by now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sololakehouse.errors import NotFoundError, TrainingError
from sololakehouse.features.asof import instant_unit
from sololakehouse.lake import Snapshot
from sololakehouse.local_time import in_utc, naive_columns
from sololakehouse.monitoring.measures import Rows
from sololakehouse.monitoring.predictions import Predictions

if TYPE_CHECKING:
    import polars as pl

TRUTH, DAY, CHALLENGER = "truth", "day", "challenger"


def labelled(
    predictions: Predictions,
    labels: Snapshot,
    keys: Sequence[str],
    columns: Sequence[str] = (),
    challenger: pl.Series | None = None,
) -> pl.DataFrame:
    """Return one row for each prediction, by time and keys, with its label where it is known.

    Parameters
    ----------
    keys
        The columns that identify a row in both tables; unique in the labels.
    columns
        More columns of the predictions.
    challenger
        Another model's probabilities of the same rows, in the order of the table.

    Returns
    -------
    `keys`, the timestamp, `columns`, `probability`, `challenger` if there is one, `day` (a number,
    in UTC) and `truth` (0, 1, or NULL where the label is not known).

    Raises
    ------
    NotFoundError
        A column does not exist.
    TrainingError
        The keys are not unique in the labels, or a label is neither 0 nor 1.
    FeatureLookupError
        A key is a moment in the predictions, and has no time zone in the labels.
    """
    import polars as pl

    label, timestamp = predictions.recipe.label, predictions.timestamp
    predictions.require(*keys, *columns, "probability")
    for column in (*keys, label):
        if column not in labels.columns:
            raise NotFoundError.of("column", column, labels.columns, where=labels.name)
    local = _local_keys(predictions, labels, keys)
    for column in () if predictions.zone else local:
        instant_unit(labels.schema[column], column, labels.name)
    known = in_utc(labels.scan(), local, predictions.zone, labels.name)
    answers = known.select(*keys, pl.col(label).alias(TRUTH)).collect()
    if answers.select(keys).is_duplicated().any():
        raise TrainingError(
            f"{labels.name}: {', '.join(keys)} is not unique, so a prediction would count twice. "
            "Name the columns that identify a row under 'keys' of the scoring job, or with --keys."
        )
    wanted = list(dict.fromkeys([*keys, timestamp, *columns, "probability"]))
    asked = predictions.table.scan().select(wanted).collect()
    if challenger is not None:
        asked = asked.with_columns(challenger.alias(CHALLENGER))
    day = pl.col(timestamp).dt.convert_time_zone("UTC").dt.date().to_physical().alias(DAY)
    joined = asked.join(answers, on=list(keys), how="left").with_columns(day)
    _refuse_other_labels(joined[TRUTH], labels)
    return joined.with_columns(pl.col(TRUTH).cast(pl.Int8)).sort([timestamp, *keys])


def zone_of_keys(predictions: Predictions, labels: Snapshot | None) -> tuple[str, ...]:
    """Return the project's zone if keys of the labels are read in it, for fingerprints."""
    zone, keys = predictions.zone, predictions.job.keys
    return (zone,) if zone and labels and _local_keys(predictions, labels, keys) else ()


def _local_keys(predictions: Predictions, labels: Snapshot, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that are moments in the predictions, and have no time zone in the labels."""
    moments = set(keys) - set(naive_columns(predictions.table.schema))
    return naive_columns(labels.schema, moments)


def known_rows(part: pl.DataFrame, probability: str = "probability") -> Rows:
    """Return the rows whose label is known."""
    import polars as pl

    known = part.filter(pl.col(TRUTH).is_not_null() & pl.col(probability).is_not_null())
    columns = (TRUTH, probability, DAY)
    return Rows(*(known[name].to_numpy() for name in columns))


def _refuse_other_labels(truth: pl.Series, labels: Snapshot) -> None:
    others = [value for value in truth.unique().to_list() if value not in (0, 1, None)]
    if others:
        raise TrainingError(
            f"{labels.name}: labels must be 0, 1 or NULL, but one is {others[0]!r}. Probabilities "
            "of a class are compared with nothing else."
        )
