from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

SOURCE = "transformations/features/route_day.sql"
EXPERIMENT = "experiments/delay.yml"
STAMP = "to_utc_timestamp(local_day, 'America/New_York') AS feature_ts"
LATER = "to_utc_timestamp(local_day + INTERVAL '3' DAY, 'America/New_York') AS feature_ts"
LOOKUP = """\
    - table_name: features.route_day
      lookup_key: [origin, dest]
      timestamp_lookup_key: predict_at
"""
LABELS = "transformations/gold/flight_labels.sql"


@pytest.fixture(scope="module")
def answers(begin):
    desk = begin("leak")
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run", f"train {EXPERIMENT}")
    told["trained"] = desk.check()
    desk.slh("replay --cutoffs 2", code=1)
    told["found"] = desk.check()
    desk.change(EXPERIMENT, LOOKUP, "")
    desk.slh(f"train {EXPERIMENT}", "promote delay 3 --to archived")
    told["without the feature"] = desk.check()
    desk.change(EXPERIMENT, "\nsplit:", f"{LOOKUP}\nsplit:")
    desk.change(
        LABELS, "FROM silver.flights", "FROM silver.flights WHERE NOT is_late OR flight > 9"
    )
    desk.slh("run", f"train {EXPERIMENT}")
    told["without labels"] = desk.check()
    desk.change(LABELS, " WHERE NOT is_late OR flight > 9", "")
    desk.change(SOURCE, STAMP, LATER.replace("'3' DAY", "'12' HOUR"))
    desk.slh(
        "run --redefine features.route_day --reason 'it knew the evening'", f"train {EXPERIMENT}"
    )
    desk.slh("replay --cutoffs 2", code=1)
    told["stamped at noon"] = desk.check()
    desk.change(SOURCE, "'12' HOUR", "'3' DAY")
    desk.slh("run --redefine features.route_day --reason 'and the afternoon'")
    desk.slh(f"train {EXPERIMENT}")
    told["not replayed"] = desk.check()
    desk.slh("replay --cutoffs 2")
    told["done"] = desk.check()
    desk.change("lakehouse.yml", "arrived_at: coalesce", "arrived_at: scheduled_departure  # ")
    told["declared as known"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    assert answers["untouched"].missing == [check.title for check in find_lesson("4").checks]


def test_training_finds_no_leak(answers):
    assert answers["trained"].missing == [
        "A replay has found the leak",
        "Trained again, for an honest score",
        "A replay of the repaired features is clean",
    ]
    assert answers["found"].missing == answers["trained"].missing[1:]


def test_to_drop_the_feature_is_no_repair(answers):
    said = answers["without the feature"].found("The feature is still there")
    assert "The leak is gone because the feature is" in said


def test_to_drop_labels_is_no_repair(answers):
    assert "It is the same question as before" in answers["without labels"].missing
    said = answers["without labels"].found("It is the same question")
    assert "To leave labels out is another question" in said


def test_a_smaller_leak_is_a_leak(answers):
    assert answers["stamped at noon"].missing == ["A replay of the repaired features is clean"]
    said = answers["stamped at noon"].found("A replay of the repaired")
    assert "still knows what came later" in said


def test_nothing_counts_before_it_was_replayed(answers):
    assert "Nothing was replayed under these definitions" in answers["not replayed"].found(
        "A replay of the repaired"
    )


def test_stamped_when_it_was_known_it_passes_with_two_scores(answers):
    assert answers["done"].missing == []
    leaky, honest = (row["test_roc_auc"] for row in answers["done"].seen)
    assert leaky > 0.85
    assert honest < 0.72


def test_to_declare_arrivals_as_known_is_no_repair(answers):
    assert answers["declared as known"].missing == ["A replay of the repaired features is clean"]
    said = answers["declared as known"].found("A replay of the repaired")
    assert "the flights still land when they land" in said
