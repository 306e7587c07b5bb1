from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

EXPERIMENT = "experiments/delay.yml"
ANSWER = "transformations/gold/what_changed.sql"
RIGHT = """\
CREATE MATERIALIZED VIEW gold.what_changed AS
SELECT column AS column_name, reference_value AS in_training, value AS now
FROM monitoring.drift
WHERE period = '2013-12' AND against = 'training' AND kind = 'feature' AND model_version = 2
ORDER BY impact DESC
LIMIT 1
"""
SPLIT = """\
  train: {until: 2013-10-20T00:00:00Z}
  validation: {from: 2013-10-20T00:00:00Z, until: 2013-11-01T00:00:00Z}
  test: {from: 2013-11-01T00:00:00Z, until: 2013-12-01T00:00:00Z}
"""
WITH_DECEMBER = """\
  train: {until: 2013-12-10T00:00:00Z}
  validation: {from: 2013-12-10T00:00:00Z, until: 2013-12-17T00:00:00Z}
  test: {from: 2013-12-17T00:00:00Z, until: 2014-01-01T00:00:00Z}
"""
LINE = "  kind: sklearn\n  estimator: logistic_regression\n"
TREES = """\
  kind: sklearn
  estimator: hist_gradient_boosting
  params: {max_iter: 60, learning_rate: 0.05, max_leaf_nodes: 4}
"""


@pytest.fixture(scope="module")
def answers(begin):
    desk = begin("drift")
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run", f"train {EXPERIMENT}", "promote delay 2 --to production")
    desk.slh("score winter")
    told["november"] = desk.check()
    desk.copy("later/flights_2013-12.csv", "landing/flights/flights_2013-12.csv")
    desk.slh("ingest", "run", "score winter")
    desk.slh("drift winter", code=3)
    told["alarm"] = desk.check()
    desk.write(ANSWER, RIGHT.replace("impact DESC", "psi DESC"))
    desk.slh("run")
    told["another column"] = desk.check()
    made_up = "CREATE MATERIALIZED VIEW gold.what_changed AS\nSELECT 'carrier' AS column_name, "
    desk.write(ANSWER, f"{made_up}1.0 AS in_training, 2.0 AS now\n")
    desk.slh("run")
    told["typed"] = desk.check()
    desk.write(ANSWER, RIGHT)
    desk.slh("run")
    told["said"] = desk.check()
    config = desk.read("lakehouse.yml")
    silent = "drift: {period: month, psi_warn: 90, psi_alarm: 99, missing: 1, performance: 1}"
    desk.change("lakehouse.yml", "drift: {period: month}", silent)
    desk.slh("drift winter")
    told["silenced"] = desk.check()
    desk.write("lakehouse.yml", config)
    desk.change(EXPERIMENT, SPLIT, WITH_DECEMBER)
    models = f"baseline:\n{LINE}\nmodel:\n{TREES}"
    desk.change(EXPERIMENT, models, f"baseline:\n{TREES}\nmodel:\n{LINE}")
    desk.slh(f"train {EXPERIMENT}", "promote delay 4 --to production")
    told["promoted"] = desk.check()
    desk.slh("score winter")
    desk._run(["drift", "winter"])
    told["done"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    titles = [check.title for check in find_lesson("7").checks]
    assert answers["untouched"].missing == answers["november"].missing == titles


def test_december_raises_the_alarm(answers):
    assert answers["alarm"].missing == [check.title for check in find_lesson("7").checks][1:]
    assert "alarms of version 2 in 2013-12" in answers["alarm"].found("The alarm")


def test_what_changed_must_be_what_matters(answers):
    said = answers["another column"].found("It is said what changed")
    assert "arrival_delay_mean_7d changed (PSI 1.77), but the model asks it less" in said


def test_an_answer_that_reads_no_drift_does_not_count(answers):
    said = answers["typed"].found("It is said what changed")
    assert "It does not read monitoring.drift" in said


def test_to_silence_the_alarm_is_no_action(answers):
    assert "It is said what changed" not in answers["said"].missing
    said = answers["silenced"].found("A model that knows December")
    assert "it has never seen December" in said
    assert "Other limits make an alarm silent, and no model better" in said


def test_trained_on_december_scored_and_looked_at_it_passes(answers):
    assert answers["promoted"].missing == ["It was looked at again"]
    assert answers["done"].missing == []
    assert {row["version"] for row in answers["done"].seen} == {2, 4}
