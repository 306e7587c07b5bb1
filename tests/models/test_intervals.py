from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as library

from sololakehouse.models.intervals import Interval, Measure, resampled
from sololakehouse.models.metrics import METRICS, Metric, compute_metrics

DRAW = np.random.default_rng(3)
TRUTH = (DRAW.random(300) < 0.3).astype(int)
PROBABILITY = np.clip(0.3 * TRUTH + 0.7 * DRAW.random(300), 0, 1)
OTHERS = (
    Metric("precision", "precision_score", greater_is_better=True, of_classes=True),
    Metric("recall", "recall_score", greater_is_better=True, of_classes=True),
    Metric("balanced", "balanced_accuracy_score", greater_is_better=True, of_classes=True),
)


def drawn(truth: np.ndarray, seed: int, resamples: int) -> list[np.ndarray]:
    """Resample as the module says that it does, in plain numpy: classes 0 and 1, one after one."""
    draw = np.random.default_rng(seed)
    classes = [np.flatnonzero(truth == one) for one in (0, 1)]
    return [
        np.concatenate(
            [members[draw.integers(len(members), size=len(members))] for members in classes]
        )
        for _ in range(resamples)
    ]


@st.composite
def cases(draw) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, and probabilities with ties, 0 and 1 among them."""
    size = draw(st.integers(2, 30))
    labels = draw(st.lists(st.sampled_from([0, 1]), min_size=size, max_size=size))
    truth = np.array([0, 1, *labels])
    steps = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    chances = draw(st.lists(steps, min_size=len(truth), max_size=len(truth)))
    kind = draw(st.sampled_from([np.float64, np.float32]))
    return truth, np.array(chances, kind)


@given(cases(), st.sampled_from([*METRICS.values(), *OTHERS]))
def test_a_resampled_metric_is_what_scikit_learn_says_of_the_drawn_rows(case, metric):
    truth, probability = case
    (found,) = resampled(truth, [Measure(metric, probability)], seed=5, resamples=3)
    given_ = (probability >= 0.5).astype(int) if metric.of_classes else probability
    function = getattr(library, metric.function)
    extra = {"zero_division": 0.0} if metric.function in ("precision_score", "f1_score") else {}
    expected = [function(truth[rows], given_[rows], **extra) for rows in drawn(truth, 5, 3)]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_blocks_make_no_difference(monkeypatch):
    measures = [Measure(METRICS["roc_auc"], PROBABILITY), Measure(METRICS["brier"], PROBABILITY)]
    whole = resampled(TRUTH, measures, seed=1, resamples=20)
    monkeypatch.setattr("sololakehouse.models.intervals._ROWS_AT_ONCE", 3 * len(TRUTH))
    assert np.allclose(resampled(TRUTH, measures, seed=1, resamples=20), whole, rtol=1e-12)


def test_the_interval_covers_the_metric_and_depends_on_the_seed_alone():
    names = list(METRICS)
    measures = [Measure(METRICS[name], PROBABILITY) for name in names]
    values = resampled(TRUTH, measures, seed=1)
    assert values.shape == (len(names), 1000)
    exact = compute_metrics(names, TRUTH, PROBABILITY)
    for name, row in zip(names, values, strict=True):
        interval = Interval.of(row)
        assert interval.low < exact[name] < interval.high
        assert np.mean((row >= interval.low) & (row <= interval.high)) == pytest.approx(
            0.95, abs=0.01
        )
    assert np.array_equal(values, resampled(TRUTH, measures, seed=1))
    assert not np.array_equal(values, resampled(TRUTH, measures, seed=2))


def test_a_width_is_that_of_the_theory():
    """The standard error of a mean of squares, from the rows themselves."""
    measure = Measure(METRICS["brier"], PROBABILITY)
    interval = Interval.of(resampled(TRUTH, [measure], seed=1)[0])
    loss = (PROBABILITY - TRUTH) ** 2
    within = sum(loss[one == TRUTH].var() * (one == TRUTH).sum() for one in (0, 1))
    error = np.sqrt(within) / len(TRUTH)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_equal_models_differ_by_nothing_and_the_threshold_counts():
    f1 = METRICS["f1"]
    one, same, other = resampled(
        TRUTH,
        [Measure(f1, PROBABILITY), Measure(f1, PROBABILITY), Measure(f1, PROBABILITY, 0.2)],
        1,
    )
    assert Interval.of(one - same) == Interval(0, 0)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("rows", "resamples"), [(30_000, 1000), (100_000, 300), (1_000_000, 200)])
def test_many_rows_are_resampled_less_often(rows, resamples, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "sololakehouse.models.intervals._counts",
        lambda truth, _, count, __: asked.append(count) or iter([np.ones((1, len(truth)))]),
    )
    truth = np.arange(rows) % 2
    resampled(truth, [Measure(METRICS["brier"], truth.astype(float))], seed=1)
    assert asked == [resamples]


def test_rows_of_one_group_are_drawn_together():
    truth, probability = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4])
    measures = [Measure(METRICS["roc_auc"], probability)]
    (found,) = resampled(truth, measures, seed=1, resamples=50, groups=np.array([0, 0, 1, 1]))
    assert set(found.round(4).tolist()) == {0.0, 0.75, 1.0}


def test_days_that_are_alike_within_give_wider_intervals():
    draw = np.random.default_rng(1)
    day = np.repeat(np.arange(30), 50)
    good = draw.random(30)[day] < 0.5
    truth = draw.integers(0, 2, len(day))
    measures = [Measure(METRICS["brier"], np.where(good, truth * 0.8 + 0.1, 0.5))]
    alone, together = (
        Interval.of(resampled(truth, measures, seed=1, resamples=200, groups=groups)[0])
        for groups in (None, day)
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_a_resample_of_one_class_has_no_curve(name):
    truth, probability = np.array([0, 1]), np.array([0.2, 0.4])
    measures = [Measure(METRICS[name], probability), Measure(METRICS["brier"], probability)]
    curve, brier = resampled(truth, measures, seed=1, resamples=40, groups=np.array([0, 1]))
    assert set(curve[~np.isnan(curve)].tolist()) == {1.0}
    assert 0 < np.isnan(curve).sum() < 40
    assert not np.isnan(brier).any()
