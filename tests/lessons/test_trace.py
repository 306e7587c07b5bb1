from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

EVIDENCE = "transformations/gold/evidence.sql"
MOMENT = "TIMESTAMP '2013-11-27 21:00:00'"
RIGHT = f"""\
CREATE MATERIALIZED VIEW gold.evidence AS
SELECT _source_file, _source_line, flight_id, arrived_at
FROM bronze.flights
WHERE carrier = 'WN' AND arrived_at > {MOMENT} - INTERVAL '24' HOUR AND arrived_at <= {MOMENT}
"""
DEPARTURE = "TIMESTAMP '2013-11-27 23:05:00'"


@pytest.fixture(scope="module")
def answers(begin):
    desk = begin("trace")
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run", "train experiments/delay.yml", "promote delay 2 --to production")
    desk.slh("score november")
    told["scored"] = desk.check()
    desk.write(EVIDENCE, RIGHT.replace(MOMENT, DEPARTURE))
    desk.slh("run")
    told["until departure"] = desk.check()
    desk.write(EVIDENCE, RIGHT)
    desk.slh("run")
    told["evidence"] = desk.check()
    landed = "landing/flights/flights_2013-09.csv"
    september = desk.read(landed)
    desk.write(landed, september.replace("T10:0", "T10:1", 1))
    told["edited"] = desk.check()
    desk.slh("rebuild delay@production --from-raw", code=1)
    told["rebuilt from edited files"] = desk.check()
    desk.write(landed, september)
    desk.slh("rebuild delay@production --from-raw")
    told["done"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    assert answers["untouched"].missing == [check.title for check in find_lesson("8").checks]


def test_a_prediction_alone_explains_nothing(answers):
    assert answers["scored"].missing == [
        "Every line behind the feature is named",
        "The lines add up to what the model was given",
        "The model is the same when it is built again",
    ]


def test_lines_that_came_after_the_prediction_are_no_evidence(answers):
    said = answers["until departure"].found("Every line")
    assert "is in it, and is not in the window" in said
    assert "The newest row of features.carrier_delay at predict_at is of 2013-11-27 21:00" in said


def test_edited_files_are_no_evidence(answers):
    said = answers["edited"].found("The files that it came from")
    assert "It is not the file that was taken" in said
    said = answers["rebuilt from edited files"].found("The model is the same")
    assert "the first link that differs is" in said


def test_the_right_lines_and_a_rebuild_pass(answers):
    assert answers["evidence"].missing == ["The model is the same when it is built again"]
    assert answers["done"].missing == []
    assert answers["done"].seen[-1]["where"].startswith("landing/flights/flights_2013-11.csv:")
