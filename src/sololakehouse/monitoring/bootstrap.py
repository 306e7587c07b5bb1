"""Intervals of metrics by resampling: pure functions of truth, probability and seed.

Efron, B. (1979), Bootstrap methods: another look at the jackknife, The Annals of Statistics 7(1);
the percentile interval. Rows of one group, such as a day, are drawn together, because they are not
independent: Field, C. A. and Welsh, A. H. (2007), Bootstrapping clustered data, JRSS B 69(3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ROUNDS = 200
LEVEL = 0.95
_VALUES_AT_ONCE = 2_000_000


def resampled_metrics(
    truth: Array,
    probability: Array,
    *,
    seed: int,
    groups: Array | None = None,
    rounds: int = ROUNDS,
) -> dict[str, Array]:
    """Return the metrics of resampled rows, one value for each round.

    Two models that are given the same truth, groups and seed are measured on the same resamples,
    so the differences of their values are paired.

    Parameters
    ----------
    truth
        0 or 1, shape (n,).
    probability
        Of class 1, shape (n,).
    groups
        Numbers from 0 of the groups that are drawn as a whole, shape (n,); None: each row alone.

    Returns
    -------
    dict
        `roc_auc`, `average_precision`, `brier` and `log_loss`, each of shape (rounds,); NaN where a
        resample holds one class only.

    Examples
    --------
    >>> import numpy as np
    >>> found = resampled_metrics(np.array([0, 1]), np.array([0.1, 0.9]), seed=1, rounds=3)
    >>> found["brier"].round(2).tolist()
    [0.01, 0.01, 0.01]
    """
    import numpy as np

    order = np.argsort(probability, kind="stable")
    y, p = truth[order].astype(float), probability[order].astype(float)
    ordered_groups = None if groups is None else groups[order]
    sorted_rows = _SortedRows(y, p)
    parts = [
        sorted_rows.metrics(weights)
        for weights in _weights(len(y), ordered_groups, rounds, np.random.default_rng(seed))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(values: Array, level: float = LEVEL) -> tuple[float | None, float | None]:
    """Return the percentile interval of resampled values; NaN are left out, None without any."""
    import numpy as np

    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weights(
    rows: int, groups: Array | None, rounds: int, draw: np.random.Generator
) -> Iterator[Array]:
    """Give how often each row is drawn, some rounds at a time: shape (some, rows)."""
    import numpy as np

    units = rows if groups is None else int(groups.max()) + 1
    at_once = max(1, _VALUES_AT_ONCE // rows)
    for first in range(0, rounds, at_once):
        some = min(at_once, rounds - first)
        drawn = (np.bincount(draw.integers(0, units, units), minlength=units) for _ in range(some))
        counts = np.stack(list(drawn)).astype(float)
        yield counts if groups is None else counts[:, groups]


class _SortedRows:
    """Rows in the order of their probability, with those of one probability put together."""

    def __init__(self, truth: Array, probability: Array) -> None:
        import numpy as np

        self._truth = truth
        self._begins = np.flatnonzero(np.diff(probability, prepend=-1.0))
        clipped = np.clip(probability, np.finfo(float).eps, 1 - np.finfo(float).eps)
        self._squares = (probability - truth) ** 2
        self._logs = -np.where(truth == 1, np.log(clipped), np.log1p(-clipped))

    def metrics(self, weights: Array) -> Mapping[str, Array]:
        """Return the metrics for each row of weights, shape (k, n)."""
        import numpy as np

        total = weights.sum(axis=1)
        positive = np.add.reduceat(weights * self._truth, self._begins, axis=1)
        negative = np.add.reduceat(weights, self._begins, axis=1) - positive
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "roc_auc": _roc_auc(positive, negative),
                "average_precision": _average_precision(positive, negative),
                "brier": weights @ self._squares / total,
                "log_loss": weights @ self._logs / total,
            }


def _roc_auc(positive: Array, negative: Array) -> Array:
    """Return the share of pairs of a 1 and a 0 that are in order; a tie counts a half.

    Mann, H. B. and Whitney, D. R. (1947), The Annals of Mathematical Statistics 18(1).
    """
    below = negative.cumsum(axis=1) - negative / 2
    area: Array = (positive * below).sum(axis=1)
    share: Array = area / (positive.sum(axis=1) * negative.sum(axis=1))
    return share


def _average_precision(positive: Array, negative: Array) -> Array:
    """Return the mean of the precision at each 1, from the greatest probability down."""
    import numpy as np

    found = positive[:, ::-1].cumsum(axis=1)
    chosen = found + negative[:, ::-1].cumsum(axis=1)
    precision = np.divide(found, chosen, out=np.zeros_like(found), where=chosen > 0)
    mean: Array = (precision * positive[:, ::-1]).sum(axis=1)
    return np.where(negative.sum(axis=1) > 0, mean / positive.sum(axis=1), np.nan)
