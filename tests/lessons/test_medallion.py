from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

SOURCE = "transformations/silver/flights.py"
OCTOBER = "landing/flights/flights_2013-10.csv"
STRICT = """\
@dp.materialized_view(
    name="silver.flights",
    comment="Flights with their delays",
    table_properties={"pipelines.quarantine": "true"},
)
@expect_or_drop("has a destination", "dest IS NOT NULL")
@expect_or_drop("has a distance", "distance > 0")
@expect_or_drop("lands after it leaves", "arrived_at >= departed_at")
"""
RIGHT = STRICT.replace("arrived_at >=", "arrived_at IS NULL OR arrived_at >=")
PLAIN = '@dp.materialized_view(name="silver.flights", comment="Flights with their delays")\n'
FILTERED = """\
    return spark.read.table("bronze.flights").where(
        "dest IS NOT NULL AND distance > 0 AND (arrived_at IS NULL OR arrived_at >= departed_at)"
    ).select("""


@pytest.fixture(scope="module")
def answers(begin):
    desk = begin(2)
    source, october = desk.read(SOURCE), desk.read(OCTOBER)
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run")
    told["built"] = desk.check()
    desk.change(SOURCE, '    return spark.read.table("bronze.flights").select(', FILTERED)
    desk.slh("run")
    told["filtered"] = desk.check()
    imported = "from sololakehouse.quality import expect_or_drop\n\nspark ="
    expecting = source.replace("spark =", imported, 1)
    desk.write(SOURCE, expecting.replace(PLAIN, STRICT))
    desk.slh("run")
    told["too strict"] = desk.check()
    desk.write(SOURCE, expecting.replace(PLAIN, RIGHT))
    desk.slh("run")
    told["done"] = desk.check()
    desk.write(OCTOBER, "".join(line for line in october.splitlines(True) if ",-1," not in line))
    told["edited"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    assert answers["untouched"].missing == [check.title for check in find_lesson("2").checks]


def test_the_pipeline_as_it_came_lets_bad_rows_through(answers):
    assert "46 of 46 rows that cannot be flights are in it" in answers["built"].found("No bad row")
    assert "There is no such table: 46 rows" in answers["built"].found("What was dropped")


def test_a_filter_in_the_query_drops_without_a_trace(answers):
    assert answers["filtered"].missing == [
        "What was dropped is kept apart, with the reason",
        "Gold counts flights alone",
    ]
    assert "Let expectations drop them and not a WHERE" in answers["filtered"].found("What was")


def test_a_condition_that_is_null_drops_cancelled_flights(answers):
    assert answers["too strict"].missing == ["No good row is lost"]
    said = answers["too strict"].found("No good row")
    assert "good flights are missing" in said
    assert "never arrived: their arrived_at is NULL, and NULL counts as violated" in said


def test_expectations_with_a_quarantine_pass(answers):
    assert answers["done"].missing == []
    rows = {(row["table"], row["why"]): row["rows"] for row in answers["done"].seen}
    assert rows["bronze.flights_quarantine", "no row of the source"] == 3
    assert rows["silver.flights_quarantine", "lands after it leaves"] == 23
    assert rows["silver.flights_quarantine", "has a distance"] == 14
    assert rows["silver.flights_quarantine", "has a destination"] == 9


def test_an_edited_landing_file_does_not_count(answers):
    assert answers["edited"].missing == ["Bronze has all that came, as it came"]
    assert f"{OCTOBER}: It is not the file that was delivered" in answers["edited"].found("Bronze")
