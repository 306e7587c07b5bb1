"""Arrival delay of a route over the trailing 28 days, known at each arrival."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from sololakehouse.quality import expect_or_fail
from sololakehouse.windows import Aggregate, TrailingAggregates

spark = SparkSession.active()

# A route without an arrival has no new row: its last one stands, as it was known then.
DELAY = TrailingAggregates(
    keys=["origin", "dest"],
    timestamp="arrived_at",
    aggregates=[
        Aggregate("count", windows="28d", name="arrivals_{window}"),
        Aggregate("mean", "arrival_delay", windows="28d", name="mean_arrival_delay_{window}"),
        Aggregate("mean", "is_late", windows="28d", name="late_share_{window}"),
    ],
    closed="both",
    emit="events",
)


@dp.materialized_view(
    name="features.route_delay",
    comment="Arrival delay of a route over the last 28 days",
    table_properties=DELAY.table_properties("silver.flights.arrived_at"),
)
@expect_or_fail(
    "has_key_and_time", "origin IS NOT NULL AND dest IS NOT NULL AND feature_ts IS NOT NULL"
)
@expect_or_fail("share_is_a_share", "late_share_28d BETWEEN 0 AND 1")
def route_delay() -> DataFrame:
    """Count, mean delay in minutes and share late."""
    return DELAY.of(spark.read.table("arrivals"))
