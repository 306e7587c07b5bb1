"""Arrival delay of a carrier over the last 24 hours and 7 days, at each full hour."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from sololakehouse.windows import Aggregate, TrailingAggregates

spark = SparkSession.active()

DELAY = TrailingAggregates(
    keys="carrier",
    timestamp="arrived_at",
    aggregates=[Aggregate("mean", "arrival_delay", windows=["24h", "7d"])],
    every="1h",
)


@dp.materialized_view(
    name="features.carrier_delay",
    comment="Arrival delay of a carrier in minutes, known at feature_ts",
    table_properties=DELAY.table_properties("silver.flights.arrived_at"),
)
def carrier_delay() -> DataFrame:
    """Take the mean of what has arrived."""
    return DELAY.of(spark.read.table("silver.flights").where("arrived_at IS NOT NULL"))
