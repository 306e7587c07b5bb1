"""Rolling cross-validation: folds in order of time, cut out of the training part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import TrainingError
from sololakehouse.models.experiment import CrossValidation
from sololakehouse.models.part import Part

if TYPE_CHECKING:
    import numpy as np


def folds_of(
    train: Part, settings: CrossValidation, embargo: timedelta = timedelta(0)
) -> Iterator[tuple[Part, Part]]:
    """Give for each fold the part to learn from and the later part to measure on.

    The rows are cut by time into `folds` + 1 blocks of about as many rows each; rows of one moment
    stay together. Fold i is measured on block i + 1 and learns from what lies before it: all of it
    (`expanding`), or block i alone (`sliding`). As at the split, rows within the embargo before the
    measured block are left out, and rows whose label was not known when it begins.

    Raises
    ------
    TrainingError
        There are too few moments to cut at, or one side of a fold is empty or holds one class only.
    """
    import numpy as np

    moments = train.moments
    if moments is None:
        raise TrainingError("cross_validation needs the moments of the rows of 'train'.")
    edges = _edges(moments, settings.folds)
    for number, (begin, end) in enumerate(pairwise(edges[1:]), start=1):
        since = edges[0] if settings.window == "expanding" else edges[number - 1]
        learned = (moments >= since) & (moments < begin - np.timedelta64(embargo))
        if train.known_at is not None:
            learned &= train.known_at <= begin
        measured = (moments >= begin) & (moments < end)
        fold = (
            _cut(train, learned, number, "learn from"),
            _cut(train, measured, number, "measure on"),
        )
        yield fold


def spread(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return each metric of each fold, its mean and its standard deviation (n - 1)."""
    import numpy as np

    found: dict[str, float] = {}
    for name in scores[0]:
        values = [score[name] for score in scores]
        found |= {
            f"cross_validation_{name}_fold_{number}": value
            for number, value in enumerate(values, start=1)
        }
        found[f"cross_validation_{name}_mean"] = float(np.mean(values))
        found[f"cross_validation_{name}_std"] = float(np.std(values, ddof=1))
    return found


def _edges(moments: np.ndarray, folds: int) -> list[Any]:
    import numpy as np

    ordered = np.sort(moments)
    places = [len(ordered) * number // (folds + 1) for number in range(1, folds + 1)]
    edges = [ordered[0], *ordered[places], ordered[-1] + np.timedelta64(1, "us")]
    if len(set(edges)) < len(edges):
        raise TrainingError(
            f"cross_validation: the part 'train' has too few moments for {folds} folds, as rows of "
            "one moment stay together. Ask for fewer."
        )
    return edges


def _cut(train: Part, rows: np.ndarray, number: int, what: str) -> Part:
    labels = train.labels[rows]
    if len(set(labels.tolist())) < 2:
        held = f"only labels {labels[0]}" if len(labels) else "no rows"
        raise TrainingError(
            f"cross_validation: fold {number} has {held} to {what}. Ask for fewer folds, or give "
            "'train' more time."
        )
    return Part(f"{train.name} fold {number}", train.inputs[rows], labels)
