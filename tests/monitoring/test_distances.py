"""Each formula against scipy on the values themselves, or against a value computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sololakehouse.monitoring.bins import NumberBins, NumberCounts, TextCounts
from sololakehouse.monitoring.comparison import compare
from sololakehouse.monitoring.distances import (
    chi_squared,
    corrected,
    jensen_shannon_distance,
    kolmogorov_smirnov,
    population_stability_index,
)


def counted(bins: NumberBins, values: np.ndarray) -> NumberCounts:
    return NumberCounts(bins, bins.hits(values), float(np.nansum(values)))


def test_the_population_stability_index_by_hand():
    here, there = np.array([29, 69]), np.array([49, 49])
    p, q = np.array([29.5, 69.5]) / 99, np.array([49.5, 49.5]) / 99
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert population_stability_index(here, there) == pytest.approx(expected)
    assert population_stability_index(there, here) == pytest.approx(expected)
    assert population_stability_index(here, here) == 0
    assert population_stability_index(np.array([0, 5]), np.array([5, 0])) > 1


def test_the_jensen_shannon_distance_by_hand():
    here, there = np.array([3, 1]), np.array([1, 3])
    middle = np.array([0.5, 0.5])
    divergence = 0.5 * sum(
        p * math.log2(p / m) for p, m in zip([0.75, 0.25], middle, strict=True)
    ) + 0.5 * sum(q * math.log2(q / m) for q, m in zip([0.25, 0.75], middle, strict=True))
    assert jensen_shannon_distance(here, there) == pytest.approx(math.sqrt(divergence))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["same", "moved", "wider", "ties"]))
def test_kolmogorov_smirnov_in_bins_is_scipys_up_to_a_bin(seed, how):
    draw = np.random.default_rng(seed)
    there, here = draw.normal(size=4000), draw.normal(size=1500)
    here = {"moved": here + 0.4, "wider": here * 2, "ties": np.round(here)}.get(how, here)
    there = np.round(there) if how == "ties" else there
    bins = NumberBins.of(there)
    found, p_value = kolmogorov_smirnov(
        counted(bins, here).hits[:-1], counted(bins, there).hits[:-1]
    )
    exact = stats.ks_2samp(here, there, method="asymp")
    assert found <= exact.statistic + 1e-12
    assert found >= exact.statistic - 1 / 60
    assert p_value >= exact.pvalue * 0.5
    if how == "ties":
        assert found == pytest.approx(exact.statistic)


def test_chi_squared_is_scipys_and_puts_rare_bins_together():
    here, there = np.array([30, 20, 50]), np.array([60, 90, 50])
    expected = stats.chi2_contingency([here, there], correction=False).pvalue
    assert chi_squared(here, there) == pytest.approx(expected)
    rare = chi_squared(np.append(here, [1, 0]), np.append(there, [0, 1]))
    together = stats.chi2_contingency(
        [np.append(here, 1), np.append(there, 1)], correction=False
    ).pvalue
    assert rare == pytest.approx(together)
    assert chi_squared(np.array([5, 0]), np.array([9, 0])) == 1.0


def test_p_values_are_corrected_by_hand():
    assert corrected([0.01, 0.04, None, 0.03, 0.5]) == pytest.approx(
        [0.04, 0.16 / 3, None, 0.16 / 3, 0.5]
    )
    assert corrected([None]) == [None]


def test_bins_are_tenths_of_the_sample_and_ties_stay_together():
    sample = np.concatenate([np.zeros(700), np.linspace(1, 2, 300)])
    bins = NumberBins.of(sample)
    counts = counted(bins, np.append(sample, [np.nan, np.nan]))
    assert (counts.rows, counts.missing) == (1002, 2)
    assert counts.coarse[0] == 700
    assert counts.coarse[1:-1] == pytest.approx([100, 100, 100], abs=9)
    assert counts.coarse[-1] == 2
    assert counts.mean == pytest.approx(sample.mean())
    assert len(bins.labels) == len(counts.coarse) - 1


def test_a_sample_without_any_value_has_one_bin():
    bins = NumberBins.of(np.array([np.nan, np.nan]))
    counts = counted(bins, np.array([1.0, np.nan]))
    assert counts.coarse.tolist() == [1, 1]


def test_texts_that_were_never_seen_are_counted_and_named():
    here = TextCounts({"a": 50, "new": 30, "newer": 10, None: 10})
    there = TextCounts({"a": 90, "b": 10})
    found = compare(here, there)
    assert found.unseen == pytest.approx(0.4)
    assert found.unseen_examples == ("new", "newer")
    assert (found.missing, found.reference_missing) == (0.1, 0.0)
    assert found.missing_p_value == pytest.approx(
        chi_squared(np.array([10, 90]), np.array([0, 100]))
    )
    assert {one["label"]: one["share"] for one in found.bins}["missing"] == 0.1
    assert found.ks is None


@given(st.integers(0, 1000))
@settings(max_examples=30)
def test_every_value_is_counted_in_the_bin_between_its_edges(seed):
    draw = np.random.default_rng(seed)
    sample = draw.choice([draw.normal(size=500), draw.integers(-3, 3, 500).astype(float)])
    bins = NumberBins.of(sample)
    special = [np.nan, np.inf, -np.inf, -0.0, *bins.edges]
    values = draw.permutation(np.concatenate([draw.choice(sample, 200), special, [np.nan]]))
    expected = np.zeros(bins.size, int)
    for value in values:
        place = -1 if np.isnan(value) else sum(value > edge for edge in bins.edges)
        expected[place] += 1
    assert bins.hits(values).tolist() == expected.tolist()
