"""Splitting a training set by time into the parts for training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sololakehouse.errors import TrainingError, shortened
from sololakehouse.models.experiment import PARTS, Experiment, Period
from sololakehouse.models.inputs import model_input
from sololakehouse.models.part import Part

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

__all__ = [
    "LEARNED_FROM",
    "Cut",
    "Part",
    "cut_by_time",
    "refuse_empty",
    "split_by_time",
    "splitting_columns",
]

LEARNED_FROM = ("train", "validation")


@dataclass(frozen=True)
class Cut:
    """The rows of one part with all their columns; the rest is as in `Part`."""

    name: str
    rows: pl.DataFrame
    labels: np.ndarray
    unknown: int
    embargoed: int
    moments: np.ndarray | None
    known_at: np.ndarray | None


def split_by_time(
    frame: pl.DataFrame, experiment: Experiment, columns: tuple[str, ...]
) -> dict[str, Part]:
    """Split a training set into `train`, `validation` and `test`; rows outside are left out.

    With an `embargo`, a row of `train` or `validation` is left out if its timestamp lies within it
    before the next part begins, `timestamp >= begin - embargo`. With `label_known_at`, a row of
    these parts is left out unless its label was known at the end of that part,
    `label_known_at <= until`: who trains at the split knows no more. A row of `test` stays: nothing
    is learned from it, and it can be measured whenever its label comes.

    Parameters
    ----------
    columns
        The feature columns, at least one.

    Raises
    ------
    TrainingError
        The label is not an integer or boolean of 0 and 1, a part is empty or holds only one class,
        there is no feature, or one is NULL in the whole `train` part.
    ConfigError, RunError
        A feature is of a type or holds a value that no model takes.
    """
    parts = {
        cut.name: Part(
            cut.name,
            model_input(cut.rows, columns),
            cut.labels,
            unknown=cut.unknown,
            embargoed=cut.embargoed,
            moments=cut.moments,
            known_at=cut.known_at,
        )
        for cut in cut_by_time(frame, experiment, columns)
    }
    train = parts["train"]
    empty = [str(name) for name in train.inputs.columns if train.inputs[name].isna().all()]
    refuse_empty(empty, len(train.labels))
    return parts


def cut_by_time(
    frame: pl.DataFrame, experiment: Experiment, columns: Sequence[str]
) -> Iterator[Cut]:
    """Give the rows of each part; only label and moments are looked at, see `split_by_time`.

    Raises
    ------
    TrainingError
        As `split_by_time`, apart from what the features hold.
    """
    label, where = experiment.training_set.label, experiment.training_set.name
    if not columns:
        raise TrainingError(
            f"{where} has no features, only the label and its moments. Add 'feature_lookups', or "
            "take columns out of 'exclude_columns'."
        )
    _check_label(frame, label, where)
    for name in PARTS:
        period = _rows_in(frame, experiment, name)
        early = _before_embargo(period, experiment, name)
        rows = _known_rows(early, experiment, name)
        truth = rows[label].cast(int).to_numpy()
        if len(set(truth.tolist())) < 2:
            raise TrainingError(
                f"The part {name!r} of {len(truth):,} rows holds only {label} = {truth[0]}. "
                "Nothing can be learned or measured there: give it more time in 'split'."
            )
        yield Cut(
            name,
            rows,
            truth,
            unknown=early.height - rows.height,
            embargoed=period.height - early.height,
            moments=_moments(rows, experiment.timestamp),
            known_at=_moments(rows, experiment.training_set.label_known_at),
        )


def splitting_columns(experiment: Experiment) -> list[str]:
    """Return the columns that `cut_by_time` looks at: the label and the moments."""
    recipe = experiment.training_set
    decisive = {recipe.label, experiment.timestamp, recipe.label_known_at}
    return sorted(filter(None, decisive))


def _check_label(frame: pl.DataFrame, label: str, where: str) -> None:
    import polars as pl

    from sololakehouse.lake.contract import counted

    kind = frame.schema[label]
    if not (kind.is_integer() or kind == pl.Boolean):
        raise TrainingError(
            f"{where}: the label {label!r} is of type {kind}. It must be an integer or a boolean: "
            "models are for two classes. Cast it in the query of the labels."
        )
    unknown = frame[label].null_count()
    if unknown:
        raise TrainingError(
            f"{where}: the label {label!r} must be 0 or 1, but {counted(unknown)} a NULL there. "
            "Leave out of the labels what is not known yet."
        )
    others = frame[label].cast(pl.Int64).unique().sort().to_list()
    others = [str(value) for value in others if value not in (0, 1)]
    if others:
        shown = shortened(others, limit=3)
        raise TrainingError(
            f"{where}: the label {label!r} must be 0 or 1, but it holds {shown}. "
            "Models are for two classes: make such a column of it."
        )


def refuse_empty(columns: Sequence[str], rows: int) -> None:
    """Refuse features that are NULL in the whole part `train`.

    Raises
    ------
    TrainingError
        There are some.
    """
    if columns:
        raise TrainingError(
            f"Nothing can be learned from {shortened(columns)}: NULL in all {rows:,} "
            "rows of the part 'train'. Check the lookups, or list it in 'exclude_columns'."
        )


def _rows_in(frame: pl.DataFrame, experiment: Experiment, name: str) -> pl.DataFrame:
    import polars as pl

    period: Period = getattr(experiment.split, name)
    moment = pl.col(experiment.timestamp)
    inside = moment < period.until
    if period.begin is not None:
        inside &= moment >= period.begin
    rows = frame.filter(inside)
    if rows.is_empty():
        since = f"from {_written(period.begin)} " if period.begin else ""
        raise TrainingError(
            f"The part {name!r} of the split is empty: no {experiment.timestamp} {since}until "
            f"{_written(period.until)}. {_reach(frame, experiment)}"
        )
    return rows


def _before_embargo(rows: pl.DataFrame, experiment: Experiment, name: str) -> pl.DataFrame:
    import polars as pl

    embargo = experiment.split.embargo
    if not embargo or name not in LEARNED_FROM:
        return rows
    following = PARTS[PARTS.index(name) + 1]
    begin: datetime = getattr(experiment.split, following).begin
    early = rows.filter(pl.col(experiment.timestamp) < begin - embargo)
    if early.is_empty():
        raise TrainingError(
            f"The part {name!r} of the split has {rows.height:,} rows, and all of them lie within "
            f"the embargo of {embargo} before {_written(begin)}. Give it more time in 'split', or "
            "shorten 'embargo'."
        )
    return early


def _moments(rows: pl.DataFrame, column: str | None) -> np.ndarray | None:
    import polars as pl

    if column is None:
        return None
    moments = rows[column].dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return moments.cast(pl.Datetime("us")).to_numpy()


def _known_rows(rows: pl.DataFrame, experiment: Experiment, name: str) -> pl.DataFrame:
    import polars as pl

    column = experiment.training_set.label_known_at
    if column is None or name not in LEARNED_FROM:
        return rows
    until = getattr(experiment.split, name).until
    known = rows.filter(pl.col(column) <= until)
    if known.is_empty():
        raise TrainingError(
            f"The part {name!r} of the split has {rows.height:,} rows, and the label of none was "
            f"known by its end, {_written(until)}: {column!r} is later or NULL. Give it more time "
            "in 'split'."
        )
    return known


def _reach(frame: pl.DataFrame, experiment: Experiment) -> str:
    where, moments = experiment.training_set.name, frame[experiment.timestamp].drop_nulls()
    if moments.is_empty():
        return f"{where} has {frame.height:,} rows, and none with a {experiment.timestamp}."
    first, last = moments.sort().gather([0, -1]).dt.convert_time_zone("UTC").to_list()
    return f"{where} reaches from {_written(first)} to {_written(last)}."


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
