"""Weather at the three New York airports, one row per origin and UTC hour."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sololakehouse.quality import expect, expect_or_fail

spark = SparkSession.active()

# No wind faster than this was ever measured outside a tornado (253 mph, Barrow Island 1996);
# Newark reports 1048 mph on 12 February.
IMPOSSIBLE_WIND_MPH = 253


@dp.materialized_view(name="silver.weather", comment="Hourly weather per origin")
@expect_or_fail(
    "hour_is_utc", "hour(from_utc_timestamp(observed_hour, 'America/New_York')) = local_hour"
)
@expect("wind_speed_is_known", "wind_speed IS NOT NULL")
@expect("temperature_is_known", "temp IS NOT NULL")
def weather() -> DataFrame:
    """Units: Fahrenheit, percent, degrees, mph, inches, millibar, miles.

    On 3 November the local hour 1 occurs twice and stays two rows: the UTC hours differ.
    """
    raw = spark.read.table("bronze.weather")
    possible_wind = F.when(F.col("wind_speed") < IMPOSSIBLE_WIND_MPH, F.col("wind_speed"))
    return raw.select(
        "origin",
        F.col("time_hour").alias("observed_hour"),
        F.col("hour").alias("local_hour"),
        "temp",
        "dewp",
        "humid",
        "wind_dir",
        possible_wind.alias("wind_speed"),
        "wind_gust",
        "precip",
        "pressure",
        "visib",
    )
