"""Trailing aggregates in a pipeline: beside window SQL, in increments, and declared wrongly."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sololakehouse.engine import Engine
from sololakehouse.errors import DefinitionError, StepError
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.selection import Selection
from sololakehouse.provenance import Manifest, content_manifest
from sololakehouse.windows import Aggregate, TrailingAggregates
from tests.pipelines.test_increment import deliver_at
from tests.pipelines.test_run import define

ROUTE_DELAY = """
WITH instants AS (
  SELECT origin, dest, arrived_at AS feature_ts, count(*) AS arrivals,
    sum(arrival_delay) AS delay_minutes, sum(CAST(is_late AS INT)) AS late
  FROM silver.flights WHERE arrived_at IS NOT NULL GROUP BY origin, dest, arrived_at
),
trailing AS (
  SELECT origin, dest, feature_ts, sum(arrivals) OVER last_28d AS arrivals_28d,
    sum(delay_minutes) OVER last_28d AS delay_minutes_28d, sum(late) OVER last_28d AS late_28d
  FROM instants
  WINDOW last_28d AS (
    PARTITION BY origin, dest ORDER BY unix_seconds(feature_ts)
    RANGE BETWEEN 2419200 PRECEDING AND CURRENT ROW
  )
)
SELECT origin, dest, feature_ts, arrivals_28d,
  CAST(delay_minutes_28d AS DOUBLE) / arrivals_28d AS mean_arrival_delay_28d,
  CAST(late_28d AS DOUBLE) / arrivals_28d AS late_share_28d
FROM trailing
"""
CARRIER_DELAY = TrailingAggregates(
    keys="carrier",
    timestamp="arrived_at",
    aggregates=[
        aggregate
        for window in ("24h", "7d")
        for aggregate in (
            Aggregate("count", windows=window, name="arrivals_{window}"),
            Aggregate("mean", "arrival_delay", windows=window, name="mean_arrival_delay_{window}"),
            Aggregate("mean", "is_late", windows=window, name="late_share_{window}"),
        )
    ],
    every="1h",
    closed="left",
    emit="events",
)
SOURCE = """
from sololakehouse.windows import Aggregate, TrailingAggregates

trailing = TrailingAggregates(
    keys="shop",
    timestamp="sold_at",
    aggregates=[
        Aggregate("stddev", "amount", windows=["1h", "1d"]),
        Aggregate("max", "amount", windows="2h"),
        Aggregate("count", windows="3h"),
    ],
    {options}
)

@dp.materialized_view(
    name="features.trailing", table_properties=trailing.table_properties("bronze.sales.sold_at")
)
def trailing_sales():
    return trailing.of(spark.table("bronze.sales"))
"""
TWICE = "extra.py:8: Trailing aggregates by shop: two columns have the name 'amount_max_2h'."
NO_COLUMN = "extra.py:19: features.trailing: no column 'amont'. Did you mean 'amount'? Columns: "


def manifest(engine: Engine, frame: Any, folder: Path) -> Manifest:
    folder.mkdir()
    engine.write_parquet(frame, folder)
    return content_manifest(pl.scan_parquet(folder / "*.parquet"))


def test_declarations_give_what_window_sql_gives(demo, tmp_path):
    with Engine.start() as engine:
        engine.pin(demo.lake.read("silver.flights"))
        arrivals = engine.session.table("silver.flights").where("arrived_at IS NOT NULL")
        declared = manifest(engine, CARRIER_DELAY.of(arrivals), tmp_path / "carrier")
        written = manifest(engine, engine.session.sql(ROUTE_DELAY), tmp_path / "route")
    assert declared == demo.lake.read("features.carrier_delay").record.manifest
    assert written == demo.lake.read("features.route_delay").record.manifest


@pytest.mark.parametrize(
    "options", ["", "closed='left', emit='events'", "closed='both'", "every='1h', closed='left'"]
)
def test_an_increment_gives_what_computing_all_rows_gives(sales, options):
    define(sales, SOURCE.format(options=options))
    start = datetime(2026, 1, 2, 8)
    deliver_at(sales, "old", *(start + timedelta(minutes=n) for n in (0, 60, 61, 200, 2000)))
    sales.run()
    deliver_at(sales, "new", *(start + timedelta(minutes=n) for n in (120, 120, 200, 1500)))
    sales.run()
    record = sales.lake.read("features.trailing").record
    assert record.details["increment"]["from"] == "2026-01-02T10:00:00+00:00"
    with prepare(sales.lake, Selection(full_refresh_all=True)) as pipeline:
        execute(pipeline, sales.writer())
    assert sales.lake.read("features.trailing").record.manifest == record.manifest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("stddev", "stdev", "extra.py:12: No aggregate 'stdev'. Did you mean 'stddev'?"),
        ('"count", windows="3h"', '"max", "amount", windows="2h"', TWICE),
        ('"amount", windows="2h"', '"amont", windows="2h"', NO_COLUMN),
        ("return trailing.of", "return trailing.off", "extra.py:23: features.trailing: 'Trailing"),
    ],
)
def test_a_mistake_is_said_with_its_place(sales, old, new, said):
    define(sales, SOURCE.format(options="").replace(old, new))
    with pytest.raises(DefinitionError) as error:
        sales.plan()
    assert said in str(error.value)


def test_a_value_that_cannot_be_added_up_fails_the_step_and_is_named(sales):
    large = "spark.table('bronze.sales').selectExpr('shop', 'sold_at', 'amount * 1e9 AS amount')"
    source = SOURCE.format(options="").replace('spark.table("bronze.sales")', large)
    define(sales, source)
    with pytest.raises(
        StepError, match=r"features\.trailing.* The column 'amount' holds 10500000000"
    ):
        sales.run()
