"""Confidence intervals of metrics: a bootstrap, the same resamples for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.models.metrics import THRESHOLD, Metric

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Statistic = Callable[[Array], Array]

LEVEL = 0.95
RESAMPLES = 1000
_FEWEST = 200
_DRAWN_ROWS = 30_000_000
_ROWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Measure:
    """A metric of probabilities, shape (n,); classes are 1 from `threshold` on."""

    metric: Metric
    probability: Array
    threshold: float = THRESHOLD


@dataclass(frozen=True)
class Interval:
    """The bounds between which 95 % of the resampled values lie."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> Interval:
        """Return the percentile interval of resampled values (Efron and Tibshirani 1993, 13.3)."""
        import numpy as np

        tail = (1 - LEVEL) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return cls(float(low), float(high))


def resampled(
    truth: Array,
    measures: Sequence[Measure],
    seed: int,
    resamples: int | None = None,
    groups: Array | None = None,
) -> Array:
    """Compute metrics on resamples of the rows; each resample is the same for all measures.

    Rows are drawn with replacement within each class, as in pROC (Robin et al. 2011,
    doi:10.1186/1471-2105-12-77): a resample has as many rows of each class as the data, and no
    metric is undefined. The difference of two rows of the result is a paired bootstrap.

    Rows that are not independent are drawn by groups, such as days, all rows of a group together
    (Field and Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). Curves are then NaN in a resample
    that holds one class only.

    Parameters
    ----------
    truth
        0 or 1, shape (n,); both must occur.
    resamples
        Default: 1,000; fewer, at least 200, if there are more than 30,000 rows.
    groups
        The number of each row's group, from 0, shape (n,); None: each row is drawn alone.

    Returns
    -------
    ndarray
        Shape (measures, resamples).
    """
    import numpy as np

    count = resamples or max(_FEWEST, min(RESAMPLES, _DRAWN_ROWS // len(truth)))
    statistics = [_statistic(truth, measure) for measure in measures]
    blocks = [
        [statistic(counts) for statistic in statistics]
        for counts in _counts(truth, seed, count, groups)
    ]
    return np.concatenate([np.stack(block) for block in blocks], axis=1)


def _counts(truth: Array, seed: int, resamples: int, groups: Array | None) -> Iterator[Array]:
    """Give how often each row was drawn, in blocks of shape (some resamples, n)."""
    import numpy as np

    draw = np.random.default_rng(seed)
    strata = [np.flatnonzero(truth == one) for one in (0, 1)]
    if groups is not None:
        strata = [np.arange(int(groups.max()) + 1)]
    left, most = resamples, max(1, _ROWS_AT_ONCE // len(truth))
    while left:
        counts = np.empty((min(left, most), sum(map(len, strata))))
        for row in counts:
            for members in strata:
                drawn = draw.integers(len(members), size=len(members))
                row[members] = np.bincount(drawn, minlength=len(members))
        left -= len(counts)
        yield counts if groups is None else counts[:, groups]


def _statistic(truth: Array, measure: Measure) -> Statistic:
    import numpy as np

    metric, probability = measure.metric, measure.probability
    if metric.of_classes and metric.function in _OF_CONFUSION:
        return _of_confusion(metric.function, truth, probability >= measure.threshold)
    if metric.function in _OF_CURVE:
        return _of_curve(metric.function, truth, probability)
    if metric.function in _OF_LOSS:
        loss = _OF_LOSS[metric.function](truth, probability)
        return lambda counts: counts @ loss / counts.sum(axis=1)
    given = probability >= measure.threshold if metric.of_classes else probability
    return lambda counts: np.array([_by_library(metric, truth, given, row) for row in counts])


def _by_library(metric: Metric, truth: Array, given: Array, counts: Array) -> float:
    from sklearn import metrics as library

    return float(getattr(library, metric.function)(truth, given, sample_weight=counts))


def _squared(truth: Array, probability: Array) -> Array:
    difference: Array = (probability.astype(float) - truth) ** 2
    return difference


def _logarithmic(truth: Array, probability: Array) -> Array:
    """Return each row's loss; a probability of 0 or 1 is moved by one epsilon, as in scikit-learn.

    >>> import numpy as np
    >>> _logarithmic(np.array([1, 0]), np.array([0.5, 0.5])).round(3).tolist()
    [0.693, 0.693]
    """
    import numpy as np

    epsilon = np.finfo(probability.dtype).eps
    chance = np.clip(probability, epsilon, 1 - epsilon).astype(float)
    loss: Array = -np.log(np.where(truth == 1, chance, 1 - chance))
    return loss


def _of_confusion(function: str, truth: Array, predicted: Array) -> Statistic:
    right, wrong = truth == 1, truth == 0

    def statistic(counts: Array) -> Array:
        cells = (right & predicted, wrong & predicted, right & ~predicted, wrong & ~predicted)
        return _OF_CONFUSION[function](*(counts @ cell.astype(float) for cell in cells))

    return statistic


def _of_curve(function: str, truth: Array, probability: Array) -> Statistic:
    """Sum over the thresholds of the curve; equal probabilities are one threshold."""
    import numpy as np

    order = np.argsort(-probability, kind="stable")
    steps = np.flatnonzero(np.diff(probability[order]))
    ends = np.append(steps, len(truth) - 1)
    positive = truth[order].astype(float)

    def statistic(counts: Array) -> Array:
        drawn = counts[:, order]
        all_drawn = np.cumsum(drawn, axis=1)[:, ends]
        true = np.cumsum(drawn * positive, axis=1)[:, ends]
        return _OF_CURVE[function](true, all_drawn - true)

    return statistic


def _area(true: Array, false: Array) -> Array:
    import numpy as np

    trapezoids = np.diff(false, axis=1, prepend=0) * (2 * true - np.diff(true, axis=1, prepend=0))
    area: Array = _or_nan(trapezoids.sum(axis=1), 2 * true[:, -1] * false[:, -1])
    return area


def _average_precision(true: Array, false: Array) -> Array:
    import numpy as np

    precision = _share(true, true + false)
    found = (np.diff(true, axis=1, prepend=0) * precision).sum(axis=1)
    average: Array = _or_nan(found, true[:, -1] * (false[:, -1] > 0))
    return average


def _or_nan(part: Array, whole: Array) -> Array:
    """Divide; by 0 it is NaN: there is no curve of one class."""
    import numpy as np

    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _share(part: Array, whole: Array) -> Array:
    """Divide; 0 of 0 is 0, as in scikit-learn."""
    import numpy as np

    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


_OF_LOSS: Mapping[str, Callable[[Array, Array], Array]] = {
    "brier_score_loss": _squared,
    "log_loss": _logarithmic,
}
_OF_CURVE: Mapping[str, Callable[[Array, Array], Array]] = {
    "roc_auc_score": _area,
    "average_precision_score": _average_precision,
}
# Of true positives, false positives, false negatives and true negatives.
_OF_CONFUSION: Mapping[str, Callable[[Array, Array, Array, Array], Array]] = {
    "f1_score": lambda tp, fp, fn, tn: _share(2 * tp, 2 * tp + fp + fn),  # noqa: ARG005
    "accuracy_score": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "precision_score": lambda tp, fp, fn, tn: _share(tp, tp + fp),  # noqa: ARG005
    "recall_score": lambda tp, fp, fn, tn: _share(tp, tp + fn),  # noqa: ARG005
}
