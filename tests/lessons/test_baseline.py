from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

EXPERIMENT = "experiments/delay.yml"
LOOKUPS = """\
  feature_lookups:
    - table_name: features.carrier_delay
      lookup_key: [carrier]
      timestamp_lookup_key: predict_at
    - table_name: features.departures
      lookup_key: [origin]
      timestamp_lookup_key: predict_at
      lookback_window: 12h
"""
LEAK = """\
    - table_name: features.route_day
      lookup_key: [origin, dest]
      timestamp_lookup_key: predict_at
"""
DEEP = "params: {max_iter: 300, learning_rate: 0.3}"
CALM = "params: {max_iter: 60, learning_rate: 0.05, max_leaf_nodes: 4}"
WEAK = "estimator: logistic_regression\n  params: {C: 1.0e-6}\n"


@pytest.fixture(scope="module")
def answers(begin):
    desk = begin("baseline")
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run", f"train {EXPERIMENT}")
    told["refused"] = desk.slh("promote delay 2 --to production", code=1)
    desk.slh("promote delay 2 --to production --force --reason impatience")
    told["forced"] = desk.check()
    as_it_came = desk.read(EXPERIMENT)
    desk.change(EXPERIMENT, DEEP, CALM)
    desk.change(EXPERIMENT, "estimator: logistic_regression\n", WEAK)
    desk.slh(f"train {EXPERIMENT}", "promote delay 4 --to production")
    told["weak baseline"] = desk.check()
    desk.write(EXPERIMENT, as_it_came.replace(DEEP, CALM))
    desk.change(EXPERIMENT, "\nsplit:", f"{LOOKUPS}{LEAK}\nsplit:")
    desk.slh(f"train {EXPERIMENT}", "promote delay 6 --to production")
    desk.slh("replay --cutoffs 2", code=1)
    told["with the leak"] = desk.check()
    desk.slh("rollback delay --reason 'it knew the evening'")
    desk.change(EXPERIMENT, LEAK, "")
    desk.slh(f"train {EXPERIMENT}", "promote delay 8 --to production")
    told["not replayed"] = desk.check()
    desk.slh("replay --cutoffs 2 --select training.delay")
    told["done"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    assert answers["untouched"].missing == [check.title for check in find_lesson("5").checks]


def test_the_model_as_it_came_is_refused_and_force_does_not_count(answers):
    assert "baseline (failed)" in answers["refused"]
    said = answers["forced"].found("A model is in production")
    assert "It was forced past its gates: impatience" in said
    assert "is not better than" in answers["forced"].found("It beats the number")


def test_a_weaker_baseline_moves_the_goal(answers):
    assert "The rules are those of the start" in answers["weak baseline"].missing
    said = answers["weak baseline"].found("The rules")
    assert "baseline is another one than at the start" in said
    assert "Whoever moves the goal" in said


def test_a_leaking_feature_does_not_count(answers):
    assert answers["with the leak"].missing == ["It knows nothing that it could not have known"]
    said = answers["with the leak"].found("It knows nothing")
    assert "is the score of the leak" in said
    assert "nobody has that value" in said


def test_clean_features_and_a_calm_model_pass(answers):
    assert answers["not replayed"].missing == ["It knows nothing that it could not have known"]
    assert answers["done"].missing == []
    first, own, model = answers["done"].seen
    assert first["test_roc_auc"] < own["test_roc_auc"] < model["test_roc_auc"]
    assert model["low"] < model["test_roc_auc"] < model["high"]
