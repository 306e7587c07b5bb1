"""Splitting a training set by time into the parts for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.errors import TrainingError
from sololakehouse.models.experiment import PARTS, Experiment, Period
from sololakehouse.models.trainers import model_input

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl


@dataclass(frozen=True)
class Part:
    """One part of the data: inputs of shape (n, features) and labels 0 or 1 of shape (n,)."""

    name: str
    inputs: pd.DataFrame
    labels: np.ndarray


def split_by_time(
    frame: pl.DataFrame, experiment: Experiment, columns: tuple[str, ...]
) -> dict[str, Part]:
    """Split a training set into `train`, `validation` and `test`; rows outside are left out.

    Parameters
    ----------
    columns
        The feature columns.

    Raises
    ------
    TrainingError
        The label is not 0 or 1 everywhere, or a part is empty or holds only one class.
    """
    label = experiment.training_set.label
    _check_label(frame, label)
    parts = {}
    for name in PARTS:
        rows = _rows_in(frame, experiment.timestamp, name, getattr(experiment.split, name))
        truth = rows[label].cast(int).to_numpy()
        if len(set(truth.tolist())) < 2:
            raise TrainingError(
                f"The part {name!r} of {len(truth):,} rows holds only {label} = {truth[0]}. "
                "Nothing can be learned or measured there: give it more time in 'split'."
            )
        parts[name] = Part(name, model_input(rows, columns), truth)
    return parts


def _check_label(frame: pl.DataFrame, label: str) -> None:
    unknown = frame[label].null_count()
    if unknown:
        raise TrainingError(f"The label {label!r} is NULL in {unknown:,} rows. It must be 0 or 1.")
    found = frame[label].unique().sort().to_list()
    if not {int(v) if isinstance(v, bool | int) else v for v in found} <= {0, 1}:
        shown = ", ".join(repr(value) for value in found[:3])
        raise TrainingError(f"The label {label!r} must be 0 or 1, but it holds {shown}.")


def _rows_in(frame: pl.DataFrame, timestamp: str, name: str, period: Period) -> pl.DataFrame:
    import polars as pl

    moment = pl.col(timestamp)
    inside = moment < period.until
    if period.begin is not None:
        inside &= moment >= period.begin
    rows = frame.filter(inside)
    if rows.is_empty():
        since = period.begin.isoformat() if period.begin else "the beginning"
        first, last = frame[timestamp].min(), frame[timestamp].max()
        raise TrainingError(
            f"The part {name!r} of the split is empty: no {timestamp} from {since} until "
            f"{period.until.isoformat()}. The training set reaches from {first!s} to {last!s}."
        )
    return rows
