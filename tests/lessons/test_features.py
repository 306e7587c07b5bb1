from __future__ import annotations

import pytest

from sololakehouse.lessons.catalog import find_lesson

SOURCE = "transformations/features/carrier_delay.py"
WINDOWS = '''\
"""How late a carrier has been over the last 24 hours."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from sololakehouse.windows import Aggregate, TrailingAggregates

spark = SparkSession.active()

DELAY = TrailingAggregates(
    keys="carrier",
    timestamp="arrived_at",
    aggregates=[
        Aggregate("count", windows="24h", name="arrivals_{window}"),
        Aggregate("mean", "arrival_delay", windows="24h", name="mean_arrival_delay_{window}"),
    ],
)


@dp.materialized_view(
    name="features.carrier_delay",
    table_properties=DELAY.table_properties("silver.flights.arrived_at"),
)
def carrier_delay() -> DataFrame:
    """Count what has landed."""
    return DELAY.of(spark.read.table("silver.flights").where("arrived_at IS NOT NULL"))
'''
DAY = """\
CREATE MATERIALIZED VIEW features.carrier_delay
TBLPROPERTIES ('feature.keys' = 'carrier', 'feature.timestamp' = 'feature_ts')
AS
SELECT
  carrier,
  date_trunc('DAY', arrived_at) AS feature_ts,
  count(*) AS arrivals_24h,
  avg(arrival_delay) AS mean_arrival_delay_24h
FROM silver.flights
WHERE arrived_at IS NOT NULL
GROUP BY carrier, date_trunc('DAY', arrived_at)
"""


@pytest.fixture(scope="module")
def answers(begin):
    desk = begin(3)
    told = {"untouched": desk.check()}
    desk.slh("ingest", "run")
    told["built"] = desk.check()
    desk.write("transformations/features/day.sql", DAY)
    desk.slh("run")
    told["a day, stamped with its first moment"] = desk.check()
    as_text = "CAST(avg(arrival_delay) AS STRING) AS mean"
    desk.change("transformations/features/day.sql", "avg(arrival_delay) AS mean", as_text)
    desk.slh("run")
    told["as text"] = desk.check()
    (desk.folder / "transformations/features/day.sql").unlink()
    desk.write(SOURCE, WINDOWS.replace('"arrived_at",', '"scheduled_departure",', 1))
    desk.slh("run")
    told["stamped with the departure"] = desk.check()
    desk.write(SOURCE, WINDOWS.replace("    ],\n)", '    ],\n    emit="events",\n)'))
    desk.slh("run")
    told["only at arrivals"] = desk.check()
    desk.write(SOURCE, WINDOWS)
    desk.slh("run")
    told["done"] = desk.check()
    return told


def test_an_untouched_project_fails_every_check(answers):
    titles = [check.title for check in find_lesson("3").checks]
    assert answers["untouched"].missing == answers["built"].missing == titles


@pytest.mark.parametrize(
    "wrong", ["a day, stamped with its first moment", "stamped with the departure"]
)
def test_a_table_that_knows_the_future_is_told_so(answers, wrong):
    assert "No row knows what came later" in answers[wrong].missing
    said = answers[wrong].found("No row knows")
    assert "the table knows the future" in said
    assert "by then" in said


def test_rows_at_arrivals_alone_grow_stale(answers):
    answer = answers["only at arrivals"]
    assert answer.missing == ["Every label finds what was true at its moment"]
    said = answer.found("Every label")
    assert "A window also changes when a flight leaves it" in said
    assert "emit='changes'" in said


def test_trailing_windows_pass_and_show_what_labels_saw(answers):
    assert answers["done"].missing == []
    rows = answers["done"].seen
    assert len(rows) == 4
    assert all(row["feature_ts"] <= row["predict_at"] for row in rows)


def test_columns_of_another_type_are_a_mistake_and_no_traceback(answers):
    said = answers["as text"].found("No row knows")
    assert "They are not those that the task asks for" in said
    assert "slh describe TABLE" in said
