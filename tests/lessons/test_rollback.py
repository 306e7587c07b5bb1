from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

FORCE = "promote delay 4 --to production --force --reason 'perfect on what it has seen'"


@pytest.fixture(scope="module")
def answers(begin):
    desk = begin("rollback")
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run", "train experiments/delay.yml", "promote delay 2 --to production")
    desk.slh("train experiments/deeper.yml")
    desk.slh("promote delay 4 --to production", code=1)
    told["good alone"] = desk.check()
    desk.slh(FORCE)
    told["not measured"] = desk.check()
    desk.slh("score december", "evaluate december")
    told["measured"] = desk.check()
    desk.slh("promote delay 2 --to production")
    told["promoted"] = desk.check()
    desk.slh(FORCE, "rollback delay --reason 'worse in December'")
    told["rolled back"] = desk.check()
    desk.slh("score december")
    told["scored"] = desk.check()
    desk.slh("evaluate december")
    told["done"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    titles = [check.title for check in find_lesson("6").checks]
    assert answers["untouched"].missing == answers["good alone"].missing == titles


def test_the_damage_must_be_measured(answers):
    said = answers["not measured"].found("The damage was measured")
    assert "slh score december && slh evaluate december" in said
    assert answers["measured"].missing == [
        "A rollback brought the good one back",
        "The predictions are those of the good one, and measured",
    ]


def test_to_promote_the_old_version_is_no_rollback(answers):
    assert "A rollback brought the good one back" in answers["promoted"].missing
    said = answers["promoted"].found("A rollback")
    assert "Version 2 was promoted, by 'promote'" in said
    assert "when something is on fire, you go back first" in said


def test_predictions_stay_what_they_are_until_they_are_scored_again(answers):
    assert answers["rolled back"].missing == [
        "The predictions are those of the good one, and measured"
    ]
    said = answers["rolled back"].found("The predictions")
    assert "Its predictions are those of version 4" in said
    assert "were not measured" in answers["scored"].found("The predictions")


def test_rolled_back_scored_and_measured_it_passes(answers):
    assert answers["done"].missing == []
    good, bad = answers["done"].seen
    assert (good["version"], good["stage"]) == (2, "production")
    assert good["train_roc_auc"] < bad["train_roc_auc"]
    assert good["december_roc_auc"] > bad["december_roc_auc"]
