"""One row per flight, with the delays in minutes. Nothing is expected of the rows yet."""

from pyspark import pipelines as dp
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

spark = SparkSession.active()


def minutes_between(begin: str, end: str) -> Column:
    """Count whole minutes; NULL if one of the two is not known."""
    return F.expr(f"CAST((unix_seconds({end}) - unix_seconds({begin})) DIV 60 AS INT)")


@dp.materialized_view(name="silver.flights", comment="Flights with their delays")
def flights() -> DataFrame:
    """Say how late each flight was; one that never arrived counts as late."""
    arrival_delay = minutes_between("scheduled_arrival", "arrived_at")
    return spark.read.table("bronze.flights").select(
        "flight_id",
        "carrier",
        "flight",
        "origin",
        "dest",
        "distance",
        "scheduled_departure",
        "scheduled_arrival",
        "departed_at",
        "arrived_at",
        minutes_between("scheduled_departure", "departed_at").alias("departure_delay"),
        arrival_delay.alias("arrival_delay"),
        F.coalesce(arrival_delay >= 15, F.lit(True)).alias("is_late"),
    )
