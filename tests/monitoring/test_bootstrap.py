from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from sololakehouse.models.metrics import compute_metrics
from sololakehouse.monitoring.bootstrap import _SortedRows, interval, resampled_metrics
from sololakehouse.monitoring.measures import METRICS

FUNCTIONS = {
    "roc_auc": sklearn_metrics.roc_auc_score,
    "average_precision": sklearn_metrics.average_precision_score,
    "brier": sklearn_metrics.brier_score_loss,
    "log_loss": sklearn_metrics.log_loss,
}
ROWS = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.integers(0, 3)
    ),
    min_size=2,
    max_size=30,
)


@settings(deadline=None)
@given(ROWS)
def test_weighted_metrics_are_those_of_scikit_learn(rows):
    truth, probability, weights = (np.array(column) for column in zip(*rows, strict=True))
    if len(set(truth[weights > 0].tolist())) < 2:
        return
    order = np.argsort(probability, kind="stable")
    found = _SortedRows(truth[order].astype(float), probability[order]).metrics(
        weights[order][None, :].astype(float)
    )
    for name, function in FUNCTIONS.items():
        expected = function(truth, probability, sample_weight=weights)
        assert found[name][0] == pytest.approx(expected, abs=1e-9), name


def drawn(rows: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    probability = draw.random(rows)
    return (draw.random(rows) < probability).astype(int), probability


def test_the_interval_covers_the_value_of_all_rows_in_most_samples():
    truth, probability = drawn(20_000)
    whole = compute_metrics(METRICS, truth, probability)
    draw = np.random.default_rng(5)
    inside = 0
    for turn in range(40):
        some = draw.integers(0, len(truth), 400)
        found = resampled_metrics(truth[some], probability[some], seed=turn, rounds=100)
        low, high = interval(found["roc_auc"])
        inside += low <= whole["roc_auc"] <= high
    assert inside >= 34


def test_the_same_seed_gives_the_same_and_another_one_does_not():
    truth, probability = drawn(300)
    one, same, other = (resampled_metrics(truth, probability, seed=s)["brier"] for s in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()
    assert len(one) == 200


def test_rows_of_one_group_are_drawn_together():
    truth, probability = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4])
    groups = np.array([0, 0, 1, 1])
    found = resampled_metrics(truth, probability, seed=1, groups=groups, rounds=50)
    assert set(found["roc_auc"].round(4).tolist()) == {0.0, 0.75, 1.0}


def test_days_that_are_alike_within_give_wider_intervals():
    draw = np.random.default_rng(1)
    day = np.repeat(np.arange(30), 50)
    good = draw.random(30)[day] < 0.5
    truth = draw.integers(0, 2, len(day))
    probability = np.where(good, truth * 0.8 + 0.1, 0.5)
    alone = interval(resampled_metrics(truth, probability, seed=1)["brier"])
    together = interval(resampled_metrics(truth, probability, seed=1, groups=day)["brier"])
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_one_class_has_no_order():
    found = resampled_metrics(np.array([1, 1]), np.array([0.2, 0.4]), seed=1, rounds=5)
    assert interval(found["roc_auc"]) == (None, None)
    assert interval(found["brier"])[0] is not None
