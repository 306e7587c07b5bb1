from __future__ import annotations

import pytest

from sololakehouse.models.metrics import metric
from sololakehouse.models.model_settings import Search
from sololakehouse.models.search import search

SPACE = {
    "depth": {"low": 2, "high": 8},
    "rate": {"low": 0.01, "high": 1.0, "log": True},
    "share": {"low": 0.5, "high": 1.0, "step": 0.25},
    "hidden": {"choices": [[8], [16, 8], None]},
}


def tried(trials=30, seed=3, name="log_loss"):
    asked = Search.model_validate({"trials": trials, "params": SPACE})
    return search(asked, metric(name), seed, lambda params: (params["rate"] - 0.1) ** 2)


def test_the_same_seed_draws_the_same():
    assert tried().trials == tried().trials
    assert tried().trials != tried(seed=4).trials


def test_draws_keep_to_the_space():
    trials = [trial["params"] for trial in tried(100).trials]
    assert {one["depth"] for one in trials} == set(range(2, 9))
    assert all(0.01 <= one["rate"] <= 1 for one in trials)
    assert {one["share"] for one in trials} == {0.5, 0.75, 1.0}
    assert {str(one["hidden"]) for one in trials} == {"[8]", "[16, 8]", "None"}


@pytest.mark.parametrize(("name", "best"), [("log_loss", min), ("roc_auc", max)])
def test_the_best_is_the_first_of_the_best_in_the_direction_of_the_metric(name, best):
    found = tried(name=name)
    value = best(trial["value"] for trial in found.trials)
    first = next(trial for trial in found.trials if trial["value"] == value)
    assert found.params == first["params"]


def test_later_draws_learn_from_earlier_ones():
    values = [trial["value"] for trial in tried(60).trials]
    assert sum(values[30:]) < sum(values[:30]) / 2
    greater = [trial["value"] for trial in tried(60, name="roc_auc").trials]
    assert sum(greater[30:]) > sum(greater[:30])
