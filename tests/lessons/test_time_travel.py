from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

GOOD, BROKEN = "landing/flights/flights_2013-10.csv", "delivery/flights_2013-10.csv"


@pytest.fixture(scope="module")
def answers(begin):
    """Walk the lesson, with two ways that do not count."""
    desk = begin(1)
    original = desk.read(GOOD)
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run")
    told["built"] = desk.check()
    desk.copy(BROKEN, GOOD)
    desk.slh("ingest", "run")
    told["broken"] = desk.check()
    desk.write(GOOD, original)
    desk.slh("ingest", "run")
    told["by hand"] = desk.check()
    desk.slh("restore bronze.flights --to 1")
    told["restored"] = desk.check()
    desk.copy(BROKEN, GOOD)
    told["file left"] = desk.check()
    desk.move(GOOD, "delivery/taken_back.csv")
    desk.slh("run")
    told["done"] = desk.check()
    desk.slh("ingest", "run")
    told["run again"] = desk.check()
    desk.change("transformations/gold/months.sql", "AS month", "AS of_month")
    desk.change("transformations/gold/months.sql", "ORDER BY month", "ORDER BY of_month")
    desk.slh("run")
    told["other columns"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    assert answers["untouched"].missing == [check.title for check in find_lesson("1").checks]
    assert len(answers["built"].missing) == 5


def test_the_damage_alone_is_not_enough(answers):
    assert answers["broken"].missing == [
        "Bronze is back by a restore",
        "It stays that way",
        "Silver and gold are those from before",
    ]


def test_a_file_from_elsewhere_is_no_restore(answers):
    assert answers["by hand"].missing == ["Bronze is back by a restore", "It stays that way"]
    said = answers["by hand"].found("Bronze is back")
    assert "is a new delivery and no restore" in said
    assert "slh restore bronze.flights --to 1" in said


def test_a_restore_is_spoiled_by_the_file_that_still_lies_there(answers):
    said = answers["file left"].found("It stays")
    assert f"landing/: {GOOD} is not what bronze.flights was made of" in said
    assert "Silver and gold are those from before" in answers["restored"].missing


def test_restored_moved_away_and_run_it_passes_and_stays_so(answers):
    assert answers["done"].missing == []
    shown = {row[""]: (row["version"], row["late_share"]) for row in answers["done"].seen}
    assert shown["broken"] == (2, 0.0)
    assert shown["before"][1] == shown["now"][1] == pytest.approx(0.206)
    assert answers["run again"].missing == []


def test_other_columns_show_nothing_and_are_no_traceback(answers):
    assert answers["other columns"].missing == []
    assert answers["other columns"].seen == []


def test_a_month_that_was_only_built_when_it_was_broken_has_no_before(begin):
    desk = begin(1)
    desk.slh("ingest")
    desk.copy(BROKEN, GOOD)
    desk.slh("ingest", "run", "restore bronze.flights --to 1")
    desk.move(GOOD, "delivery/taken_back.csv")
    desk.slh("run")
    answer = desk.check()
    assert answer.missing == []
    assert [row[""] for row in answer.seen] == ["broken", "now"]
