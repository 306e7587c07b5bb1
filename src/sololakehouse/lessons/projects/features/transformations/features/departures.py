"""Departures of the last hours from an airport, at each full hour."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession

from sololakehouse.windows import Aggregate, TrailingAggregates

spark = SparkSession.active()

DEPARTURES = TrailingAggregates(
    keys="origin",
    timestamp="departed_at",
    aggregates=[
        Aggregate("count", windows="3h", name="departures_{window}"),
        Aggregate("mean", "departure_delay", windows="3h"),
    ],
    every="1h",
)


@dp.materialized_view(
    name="features.departures",
    comment="Departures and their mean delay in minutes, known at feature_ts",
    table_properties=DEPARTURES.table_properties("silver.flights.departed_at"),
)
def departures() -> DataFrame:
    """Count what has departed, and how late."""
    return DEPARTURES.of(spark.read.table("silver.flights").where("departed_at IS NOT NULL"))
