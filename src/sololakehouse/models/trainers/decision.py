"""From an estimator's scores to decisions: calibrated probabilities, and the threshold.

Both are chosen on the validation part, by the means of scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sololakehouse.models.metrics import THRESHOLD
from sololakehouse.models.model_settings import ModelSettings, ThresholdByCost

if TYPE_CHECKING:
    import numpy as np


def calibrated(estimator: Any, settings: ModelSettings, inputs: Any, labels: np.ndarray) -> Any:
    """Return the fitted estimator, with probabilities that are corrected on these rows.

    Raises
    ------
    ValueError
        There are fewer than two rows of a class.
    """
    if settings.calibration is None:
        return estimator
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    # A frozen estimator is not fitted again, so the number of folds decides nothing.
    corrected = CalibratedClassifierCV(
        FrozenEstimator(estimator), method=settings.calibration, cv=2
    )
    return corrected.fit(inputs, labels)


def with_threshold(estimator: Any, settings: ModelSettings, inputs: Any, labels: np.ndarray) -> Any:
    """Return the fitted estimator, whose `predict` goes by the threshold of the settings."""
    wanted = settings.threshold
    if wanted == THRESHOLD:
        return estimator
    if not isinstance(wanted, float | int):
        wanted = best_threshold(wanted, labels, estimator.predict_proba(inputs)[:, 1])
    return deciding(estimator, wanted, inputs, labels)


def deciding(estimator: Any, wanted: float, inputs: Any, labels: np.ndarray) -> Any:
    """Return the fitted estimator, whose `predict` goes by this threshold.

    Parameters
    ----------
    inputs, labels
        Some rows of any part, by which scikit-learn sees what the estimator is.
    """
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    decided = FixedThresholdClassifier(
        FrozenEstimator(estimator), threshold=float(wanted), response_method="predict_proba"
    )
    return decided.fit(inputs, labels)


def best_threshold(wanted: Any, labels: np.ndarray, probability: np.ndarray) -> float:
    """Return the probability from which on a row is taken for 1; the greatest of equal ones.

    Parameters
    ----------
    wanted
        `f1` for the greatest F1, or the costs of the mistakes for the least cost; where that is to
        predict 1 for no row, the threshold is just above all probabilities.
    """
    import numpy as np
    from sklearn.metrics import confusion_matrix_at_thresholds

    _, false, missed, true, thresholds = confusion_matrix_at_thresholds(labels, probability)
    if isinstance(wanted, ThresholdByCost):
        cost = wanted.cost
        worth = -(cost.false_positive * false + cost.false_negative * missed)
        nothing = -cost.false_negative * labels.sum()
    else:
        worth, nothing = 2 * true / (2 * true + false + missed), 0.0
    best = int(worth.argmax())
    if worth[best] < nothing:
        return float(np.nextafter(thresholds[0], 2))
    return float(thresholds[best])


def threshold_of(model: Any) -> float:
    """Return from which probability on a fitted model predicts 1."""
    from sklearn.model_selection import FixedThresholdClassifier

    estimator = model.named_steps["estimator"]
    if isinstance(estimator, FixedThresholdClassifier):
        return float(estimator.threshold)
    return THRESHOLD


def innermost(model: Any) -> Any:
    """Return the estimator inside of calibration and threshold."""
    from sklearn.frozen import FrozenEstimator

    estimator = model.named_steps["estimator"]
    while isinstance(inner := getattr(estimator, "estimator", None), FrozenEstimator):
        estimator = inner.estimator
    return estimator
