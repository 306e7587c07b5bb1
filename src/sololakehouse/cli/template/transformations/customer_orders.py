"""What is known of a customer at each moment: a feature table."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from sololakehouse.quality import expect_or_fail

spark = SparkSession.active()


@dp.materialized_view(
    name="features.customer_orders",
    comment="Orders of a customer up to and including feature_ts",
    table_properties={"feature.keys": "customer_id", "feature.timestamp": "feature_ts"},
)
@expect_or_fail("counts begin with 1", "orders_so_far >= 1")
def customer_orders() -> DataFrame:
    """Count and sum a customer's orders at the instant of each of them."""
    so_far = (
        Window.partitionBy("customer_id")
        .orderBy("feature_ts")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    per_instant = (
        spark.table("silver.orders")
        .groupBy("customer_id", F.col("ordered_at").alias("feature_ts"))
        .agg(
            F.count("*").alias("orders"),
            F.sum(F.round(F.col("amount") * 100).cast("bigint")).alias("cents"),
        )
    )
    return per_instant.select(
        "customer_id",
        "feature_ts",
        F.sum("orders").over(so_far).alias("orders_so_far"),
        (F.sum("cents").over(so_far) / 100).alias("amount_so_far"),
    )
