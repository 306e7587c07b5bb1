"""What is measured of probabilities once the truth is known, over some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.config.evaluation import EvaluationSettings
from sololakehouse.models.intervals import Interval, Measure
from sololakehouse.models.intervals import resampled as resampled_metrics
from sololakehouse.models.metrics import compute_metrics, metric

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

METRICS = ("roc_auc", "average_precision", "brier", "log_loss")
NUMBERS = (
    *("share_positive", "mean_probability"),
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")),
    *("calibration_error", "threshold", "precision", "recall", "cost"),
)
SEED = 20_260_101
RESAMPLES = 200
THRESHOLDS = tuple(number / 50 for number in range(1, 50))
_BINS = 10


@dataclass(frozen=True)
class Rows:
    """Rows whose truth is known.

    Attributes
    ----------
    truth
        0 or 1, shape (n,).
    probability
        Of class 1, shape (n,).
    groups
        Number of the day of each row, from 0; rows of one day are resampled together.
    """

    truth: Array
    probability: Array
    groups: Array


def measured(rows: Rows, settings: EvaluationSettings) -> dict[str, Any]:
    """Measure probabilities; what one class or no row does not allow is None."""
    known = len(rows.truth)
    if not known:
        return dict.fromkeys(NUMBERS) | {"calibration": []}
    found: dict[str, Any] = {
        "share_positive": float(rows.truth.mean()),
        "mean_probability": float(rows.probability.mean()),
        **with_intervals(rows),
        **at_threshold(rows, settings),
    }
    bins = calibration(rows.truth, rows.probability)
    off = sum(one["rows"] * abs(one["predicted"] - one["observed"]) for one in bins)
    return found | {"calibration_error": off / known, "calibration": bins}


def with_intervals(rows: Rows) -> dict[str, float | None]:
    """Return each metric with the limits of its 95 % interval, as `roc_auc_low`."""
    if len(set(rows.truth.tolist())) < 2:
        return {name: None for name in NUMBERS if name.startswith(METRICS)}
    values = compute_metrics(METRICS, rows.truth, rows.probability)
    drawn = resampled(rows)
    found: dict[str, float | None] = {}
    for name in METRICS:
        low, high = limits(drawn[name])
        found |= {name: values[name], f"{name}_low": low, f"{name}_high": high}
    return found


def differences(rows: Rows, other: Rows) -> dict[str, float | None]:
    """Return each metric of some rows minus that of another model on the same rows, paired."""
    if len(set(rows.truth.tolist())) < 2:
        return {name: None for name in NUMBERS if name.startswith(METRICS)}
    mine, theirs = (compute_metrics(METRICS, one.truth, one.probability) for one in (rows, other))
    drawn, drawn_theirs = resampled(rows), resampled(other)
    found: dict[str, float | None] = {}
    for name in METRICS:
        low, high = limits(drawn[name] - drawn_theirs[name])
        found |= {name: mine[name] - theirs[name], f"{name}_low": low, f"{name}_high": high}
    return found


def resampled(rows: Rows) -> dict[str, Array]:
    """Resample by days if there are at least ten, else row by row, with the room's seed."""
    import numpy as np

    days, groups = np.unique(rows.groups, return_inverse=True)
    by_day = groups if len(days) >= _BINS else None
    measures = [Measure(metric(name), rows.probability) for name in METRICS]
    drawn = resampled_metrics(rows.truth, measures, SEED, RESAMPLES, by_day)
    return dict(zip(METRICS, drawn, strict=True))


def limits(values: Array) -> tuple[float | None, float | None]:
    """Return the limits of the interval of resampled values; NaN are left out, None without any."""
    import numpy as np

    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    found = Interval.of(known)
    return found.low, found.high


def at_threshold(rows: Rows, settings: EvaluationSettings) -> dict[str, float | None]:
    """Return precision, recall and mean cost of a row, if 1 is predicted from the threshold on."""
    chosen = rows.probability >= settings.threshold
    true = rows.truth == 1
    right, wrong, missed = (
        int(part.sum()) for part in (chosen & true, chosen & ~true, ~chosen & true)
    )
    cost = wrong * settings.cost_false_positive + missed * settings.cost_false_negative
    return {
        "threshold": settings.threshold,
        "precision": right / (right + wrong) if right + wrong else None,
        "recall": right / (right + missed) if right + missed else None,
        "cost": cost / len(rows.truth),
    }


def costs(rows: Rows, settings: EvaluationSettings, thresholds: Sequence[float]) -> list[float]:
    """Return the mean cost of a row at each of some thresholds."""
    found = []
    for threshold in thresholds:
        here = settings.model_copy(update={"threshold": threshold})
        found.append(float(at_threshold(rows, here)["cost"] or 0.0))
    return found


def calibration(truth: Array, probability: Array, bins: int = _BINS) -> list[dict[str, Any]]:
    """Compare predicted and observed shares of 1 in bins of about as many rows each.

    The mean distance over all rows is the expected calibration error of Naeini, M. P., Cooper,
    G. F. and Hauskrecht, M. (2015), Obtaining well calibrated probabilities using Bayesian binning.
    Rows of one probability are never in two bins.

    Examples
    --------
    >>> import numpy as np
    >>> calibration(np.array([0, 1, 1, 1]), np.array([0.2, 0.2, 0.9, 0.9]), bins=2)
    [{'rows': 2, 'predicted': 0.2, 'observed': 0.5}, {'rows': 2, 'predicted': 0.9, 'observed': 1.0}]
    """
    import numpy as np

    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    number = np.searchsorted(edges, probability, side="left")
    found = []
    for one in np.unique(number):
        inside = number == one
        found.append(
            {
                "rows": int(inside.sum()),
                "predicted": float(probability[inside].mean()),
                "observed": float(truth[inside].mean()),
            }
        )
    return found
