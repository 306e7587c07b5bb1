"""Arrival delay of a route over the trailing 28 days, known at each arrival."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from sololakehouse.quality import expect_or_fail

spark = SparkSession.active()

ROUTE = ["origin", "dest"]
WINDOW_SECONDS = 28 * 24 * 3600


@dp.materialized_view(
    name="features.route_delay",
    comment="Arrival delay of a route over the last 28 days",
    table_properties={
        "feature.keys": "origin,dest",
        "feature.timestamp": "feature_ts",
        "pipelines.incremental.source": "silver.flights.arrived_at",
        "pipelines.incremental.lookback": "28d",
    },
)
@expect_or_fail(
    "has_key_and_time", "origin IS NOT NULL AND dest IS NOT NULL AND feature_ts IS NOT NULL"
)
@expect_or_fail("share_is_a_share", "late_share_28d BETWEEN 0 AND 1")
def route_delay() -> DataFrame:
    """Count, mean delay in minutes and share late; both ends of the window are included.

    One row per instant first, and sums of integers: no tie and no order of addition can show.
    """
    instants = (
        spark.read.table("arrivals")
        .groupBy(*ROUTE, F.col("arrived_at").alias("feature_ts"))
        .agg(
            F.count("*").alias("arrivals"),
            F.sum("arrival_delay").alias("delay_minutes"),
            F.sum(F.col("is_late").cast("int")).alias("late"),
        )
    )
    last_28d = (
        Window.partitionBy(*ROUTE)
        .orderBy(F.unix_seconds("feature_ts"))
        .rangeBetween(-WINDOW_SECONDS, Window.currentRow)
    )
    trailing = instants.select(
        *ROUTE,
        "feature_ts",
        F.sum("arrivals").over(last_28d).alias("arrivals_28d"),
        F.sum("delay_minutes").over(last_28d).alias("delay_minutes_28d"),
        F.sum("late").over(last_28d).alias("late_28d"),
    )
    arrivals = F.col("arrivals_28d")
    return trailing.select(
        *ROUTE,
        "feature_ts",
        "arrivals_28d",
        (F.col("delay_minutes_28d").cast("double") / arrivals).alias("mean_arrival_delay_28d"),
        (F.col("late_28d").cast("double") / arrivals).alias("late_share_28d"),
    )
