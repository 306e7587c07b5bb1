"""Metrics of binary classification, by the names that an experiment file uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np

# From which probability on a row is predicted to be 1, unless a model says otherwise.
THRESHOLD = 0.5


@dataclass(frozen=True)
class Metric:
    """How a metric is computed from the truth (0 or 1) and the probability of 1.

    `function` is the name of a function in `sklearn.metrics`; `of_classes` says that it takes
    predicted classes (1 where the probability is at least the threshold) instead of probabilities.
    """

    name: str
    function: str
    greater_is_better: bool
    of_classes: bool = False

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is strictly better than `other`."""
        return one > other if self.greater_is_better else one < other


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", "roc_auc_score", greater_is_better=True),
        Metric("average_precision", "average_precision_score", greater_is_better=True),
        Metric("brier", "brier_score_loss", greater_is_better=False),
        Metric("log_loss", "log_loss", greater_is_better=False),
        Metric("f1", "f1_score", greater_is_better=True, of_classes=True),
        Metric("accuracy", "accuracy_score", greater_is_better=True, of_classes=True),
    )
}


def metric(name: str) -> Metric:
    """Return a metric by name.

    Raises
    ------
    NotFoundError
        There is no such metric; the message lists those that exist.
    """
    if name not in METRICS:
        raise NotFoundError.of("metric", name, METRICS)
    return METRICS[name]


def compute_metrics(
    names: Iterable[str],
    truth: np.ndarray,
    probability: np.ndarray,
    threshold: float = THRESHOLD,
) -> dict[str, float]:
    """Compute metrics of probabilities against the truth.

    Parameters
    ----------
    truth
        0 or 1, shape (n,); both must occur.
    probability
        Of class 1, shape (n,).
    threshold
        From which probability on a row counts as predicted 1.
    """
    from sklearn import metrics as library

    classes = (probability >= threshold).astype(int)
    found = {}
    for wanted in map(metric, names):
        function: Callable[..., Any] = getattr(library, wanted.function)
        found[wanted.name] = float(function(truth, classes if wanted.of_classes else probability))
    return found
