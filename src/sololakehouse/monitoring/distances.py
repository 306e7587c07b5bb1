"""How far two distributions are from each other, and whether chance explains it.

Each formula says where it comes from; counts are of the same bins in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_LEAST_EXPECTED = 5


def population_stability_index(counts: Array, reference: Array) -> float:
    """Return the sum of (p - q) ln(p / q) over all bins.

    Siddiqi, N. (2006), Credit Risk Scorecards, chapter 10; it is the symmetric divergence of
    Jeffreys, H. (1946). A half is added to each count, so that an empty bin has a logarithm.
    0 means the same; by custom less than 0.1 is little and 0.25 or more is a lot.

    Examples
    --------
    >>> import numpy as np
    >>> round(population_stability_index(np.array([60, 40]), np.array([50, 50])), 3)
    0.04
    """
    import numpy as np

    p, q = _shares(counts + 0.5), _shares(reference + 0.5)
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon_distance(counts: Array, reference: Array) -> float:
    """Return the square root of the Jensen-Shannon divergence in bits: 0 the same, 1 disjoint.

    Endres, D. M. and Schindelin, J. E. (2003), A new metric for probability distributions, IEEE
    Transactions on Information Theory 49(7).

    Examples
    --------
    >>> import numpy as np
    >>> jensen_shannon_distance(np.array([1, 0]), np.array([0, 1]))
    1.0
    """
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(_shares(counts), _shares(reference), base=2))


def kolmogorov_smirnov(counts: Array, reference: Array) -> tuple[float, float]:
    """Return the greatest distance of the cumulative shares, and its asymptotic p-value.

    Counts are of ordered bins, so the distance is that between the distributions at the edges of
    bins: never greater than that of the values themselves, and less by at most the share of a bin.
    The p-value, from Smirnov, N. (1948), Table for estimating the goodness of fit of empirical
    distributions, The Annals of Mathematical Statistics 19(2), is then never too small.
    """
    import numpy as np
    from scipy.stats import kstwobign

    n, m = counts.sum(), reference.sum()
    if not n or not m:
        return 0.0, 1.0
    apart = np.abs(_shares(counts).cumsum() - _shares(reference).cumsum())
    distance = float(apart[:-1].max(initial=0.0))
    return distance, float(kstwobign.sf(distance * np.sqrt(n * m / (n + m))))


def chi_squared(counts: Array, reference: Array) -> float:
    """Return the p-value of the test that both come from one distribution.

    Pearson, K. (1900). Bins with an expected count below 5 are put together first, as Cochran, W.
    G. (1954), Some methods for strengthening the common chi-squared tests, asks for.
    """
    import numpy as np
    from scipy.stats import chi2_contingency

    both = np.stack([counts, reference])
    if not both.sum(axis=1).all():
        return 1.0
    expected = both.sum(axis=1, keepdims=True) * both.sum(axis=0) / both.sum()
    rare = expected.min(axis=0) < _LEAST_EXPECTED
    table = np.column_stack([both[:, ~rare], both[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for being many: the false discovery rate at which each is a discovery.

    Benjamini, Y. and Hochberg, Y. (1995), Controlling the false discovery rate, JRSS B 57(1). None
    stays None and is not counted.

    Examples
    --------
    >>> corrected([0.01, None, 0.5])
    [0.02, None, 0.5]
    """
    from scipy.stats import false_discovery_control

    known = [p for p in p_values if p is not None]
    if not known:
        return list(p_values)
    found = iter(false_discovery_control(known).tolist())
    return [None if p is None else next(found) for p in p_values]


def _shares(counts: Array) -> Array:
    shares: Array = counts / counts.sum()
    return shares
