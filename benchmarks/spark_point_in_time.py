"""The contestant `spark` of `point_in_time.py`: a local Apache Spark, in `.venv-spark`.

`.venv-spark/bin/python benchmarks/spark_point_in_time.py LABELS OUT TABLE...`: Parquet files. Its
fastest form here: labels and all tables in one union, and one window over it that carries the
last row of each table on to the labels. Spark 4.2 has no ASOF JOIN; that of 4.3 took as long.
"""

from __future__ import annotations

import os
import sys
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

HEAP = "8g"


def row_of(frame: DataFrame, number: int) -> Column:
    features = [name for name in frame.columns if name not in ("key", "feature_ts")]
    return f.struct(*features).alias(f"t{number}")


def main() -> None:
    labels_file, out, *files = sys.argv[1:]
    cores = len(os.sched_getaffinity(0))
    spark = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.driver.memory", HEAP)
        .config("spark.sql.shuffle.partitions", 8 * cores)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    labels = spark.read.parquet(labels_file)
    tables = [spark.read.parquet(file) for file in files]
    rows = [
        table.select(
            "key", f.col("feature_ts").alias("at"), f.lit(0).alias("kind"), row_of(table, number)
        )
        for number, table in enumerate(tables)
    ]
    asked = labels.select(
        "key", "at", f.lit(1).alias("kind"), f.struct("id", "label").alias("asked")
    )
    everything = reduce(
        lambda one, two: one.unionByName(two, allowMissingColumns=True), [asked, *rows]
    )
    before = (
        Window.partitionBy("key").orderBy("at", "kind").rowsBetween(Window.unboundedPreceding, 0)
    )
    names = [f"t{number}" for number in range(len(tables))]
    carried = [f.last(name, ignorenulls=True).over(before).alias(name) for name in names]
    found = everything.select("key", "at", "kind", "asked", *carried).where("kind = 1")
    result = found.select("asked.id", "key", "at", "asked.label", *(f"{name}.*" for name in names))
    result.orderBy("id").write.mode("overwrite").parquet(out)
    spark.stop()


if __name__ == "__main__":
    main()
