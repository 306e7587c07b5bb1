from __future__ import annotations

import numpy as np
import pytest

from sololakehouse.errors import NotFoundError
from sololakehouse.models.metrics import METRICS, compute_metrics, metric

TRUTH = np.array([0, 0, 1, 1])
GOOD = np.array([0.1, 0.4, 0.6, 0.9])
BAD = GOOD[::-1]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_knows_its_direction(name):
    good, bad = (compute_metrics([name], TRUTH, p)[name] for p in (GOOD, BAD))
    assert METRICS[name].better(good, bad)
    assert not METRICS[name].better(bad, good)
    assert not METRICS[name].better(good, good)


def test_values():
    found = compute_metrics(["roc_auc", "brier", "accuracy"], TRUTH, np.array([0.5, 0.1, 0.4, 1.0]))
    assert found == pytest.approx({"roc_auc": 0.75, "brier": 0.155, "accuracy": 0.5})


def test_an_unknown_metric_has_candidates():
    with pytest.raises(NotFoundError, match=r"No metric 'auc'\..*Metrics: accuracy"):
        metric("auc")
