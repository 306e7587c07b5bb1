"""The flights to predict: as known beforehand, and with the answer."""

from pyspark import pipelines as dp
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sololakehouse.quality import expect_or_drop, expect_or_fail

spark = SparkSession.active()

REQUEST_COLUMNS = [
    "flight_id",
    "origin",
    "dest",
    "carrier",
    "tailnum",
    "predict_at",
    "scheduled_departure",
    "month",
    "day_of_week",
    "scheduled_hour",
    "distance",
    "scheduled_minutes",
]

# The longest delay of the year is 21.2 hours: what has not arrived a day after its time was
# cancelled or diverted.
LABEL_KNOWN_AFTER = F.expr("INTERVAL '24' HOUR")


def requests(*more: Column) -> DataFrame:
    """All flights with what the schedule says of them; month, day (1 = Monday), hour are local."""
    flights = spark.read.table("silver.flights")
    columns = {
        "predict_at": F.col("scheduled_departure") - F.expr("INTERVAL '2' HOUR"),
        "month": F.month("local_date"),
        # dayofweek counts from Sunday. (weekday() is shorter, but Sail 0.7.2 gives -1 for Sundays.)
        "day_of_week": (F.dayofweek("local_date") + 5) % 7 + 1,
        "scheduled_hour": F.col("local_hour"),
    }
    return flights.withColumns(columns).select(*REQUEST_COLUMNS, *more)


# The file withholds the tail number of cancelled flights only (2,512 of 8,255): its absence would
# give the answer away. Such flights are left out, of the labels and of what is scored.
@dp.materialized_view(
    name="gold.flight_schedule", comment="Flights as known two hours before departure"
)
@expect_or_drop("tailnum_is_known", "tailnum IS NOT NULL")
@expect_or_fail("predicted_before_departure", "predict_at < scheduled_departure")
def flight_schedule() -> DataFrame:
    """One row per flight without anything that is known only later: the input of scoring."""
    return requests()


@dp.materialized_view(
    name="gold.flight_labels", comment="Flights with the answer: 15 minutes late or more"
)
@expect_or_drop("tailnum_is_known", "tailnum IS NOT NULL")
@expect_or_fail("label_is_0_or_1", "is_late IN (0, 1)")
@expect_or_fail("label_is_known_after_the_prediction", "label_known_at > predict_at")
def flight_labels() -> DataFrame:
    """One row per flight; a cancelled or diverted flight counts as late (US DOT's on-time rule)."""
    return requests(
        F.col("is_late").cast("int").alias("is_late"),
        F.coalesce(F.col("arrived_at"), F.col("scheduled_arrival") + LABEL_KNOWN_AFTER).alias(
            "label_known_at"
        ),
    )
