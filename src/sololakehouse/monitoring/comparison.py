"""One column in two groups of rows: how far apart, what is missing, what was never seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.monitoring.bins import MOST_CATEGORIES, Counts, NumberCounts, TextCounts
from sololakehouse.monitoring.distances import (
    chi_squared,
    jensen_shannon_distance,
    kolmogorov_smirnov,
    population_stability_index,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MISSING, _OTHERS = "missing", "others"
_EXAMPLES = 3


@dataclass(frozen=True)
class Comparison:
    """How a column's values in some rows differ from those in the reference.

    Attributes
    ----------
    psi, js
        Population stability index and Jensen-Shannon distance, over tenths of the training rows'
        values or over texts; missing values are a bin.
    ks
        Kolmogorov-Smirnov distance of the known values; None for text.
    p_value
        Of the Kolmogorov-Smirnov test of a number, of the chi-squared test of a text.
    missing, reference_missing
        Shares of missing values, with the p-value of the chi-squared test of their difference.
    unseen
        Share of rows with a text that the reference has not; None for a number.
    unseen_examples
        The most frequent of those texts.
    bins
        `label`, `share` and `reference` of each bin, for charts.
    """

    psi: float
    js: float
    ks: float | None
    p_value: float
    missing: float
    reference_missing: float
    missing_p_value: float
    unseen: float | None
    unseen_examples: tuple[str, ...]
    bins: tuple[dict[str, Any], ...]


def compare(counts: Counts, reference: Counts) -> Comparison:
    """Compare a column in two groups of rows, both of which have some."""
    import numpy as np

    missing_p_value = chi_squared(_missing_or_not(counts), _missing_or_not(reference))
    shares = (counts.missing / counts.rows, reference.missing / reference.rows)
    if isinstance(counts, NumberCounts):
        assert isinstance(reference, NumberCounts)
        here, there = counts.coarse, reference.coarse
        ks, p_value = kolmogorov_smirnov(counts.hits[:-1], reference.hits[:-1])
        labels = [*counts.bins.labels, _MISSING]
        psi, js = population_stability_index(here, there), jensen_shannon_distance(here, there)
        bins = _bins(labels, here, there)
        return Comparison(psi, js, ks, p_value, *shares, missing_p_value, None, (), bins)
    assert isinstance(reference, TextCounts)
    texts = sorted(counts.known.keys() | reference.known.keys())
    here, there = (np.array([one.hits.get(t, 0) for t in texts]) for one in (counts, reference))
    p_value = chi_squared(here, there) if texts else 1.0
    new = {text: count for text, count in counts.known.items() if text not in reference.known}
    examples = sorted(new, key=lambda text: (-new[text], text))[:_EXAMPLES]
    labels, here, there = _frequent(texts, here, there)
    here, there = np.append(here, counts.missing), np.append(there, reference.missing)
    return Comparison(
        population_stability_index(here, there),
        jensen_shannon_distance(here, there),
        None,
        p_value,
        *shares,
        missing_p_value,
        sum(new.values()) / counts.rows,
        tuple(examples),
        _bins([*labels, _MISSING], here, there),
    )


def _missing_or_not(counts: Counts) -> Array:
    import numpy as np

    return np.array([counts.missing, counts.rows - counts.missing])


def _frequent(texts: list[str], here: Array, there: Array) -> tuple[list[str], Array, Array]:
    """Keep the most frequent texts, and put the others together.

    Of many rare texts the index would mostly measure how many there are.
    """
    import numpy as np

    order = np.argsort(-(here / max(here.sum(), 1) + there / max(there.sum(), 1)), kind="stable")
    kept, rest = order[:MOST_CATEGORIES], order[MOST_CATEGORIES:]
    names = [texts[at] for at in kept]
    if not len(rest):
        return names, here[kept], there[kept]
    here, there = (np.append(some[kept], some[rest].sum()) for some in (here, there))
    return [*names, _OTHERS], here, there


def _bins(labels: list[str], here: Array, there: Array) -> tuple[dict[str, Any], ...]:
    shares = zip(labels, here / here.sum(), there / there.sum(), strict=True)
    return tuple(
        {"label": label, "share": round(float(p), 6), "reference": round(float(q), 6)}
        for label, p, q in shares
        if p or q
    )
