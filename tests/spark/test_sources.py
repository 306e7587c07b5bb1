"""Settings, variables, statements, schemas and sinks: the same under Apache Spark's own runner."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import SPEC
from tests.pipelines.test_run import define
from tests.pipelines.test_streaming import deliver
from tests.spark.test_streams import files, manifest

CONFIGURATION = """\
configuration:
  my.limit: '8'
  my.table: bronze.sales
  pipelines.as_of: '2026-01-01T12:00:00Z'
"""
SOURCES = {
    "statements.sql": """\
-- Several statements; one file.
SET spark.sql.shuffle.partitions = 2;
SET my.own = its; USE SCHEMA gold;
CREATE TEMPORARY VIEW dear AS SELECT * FROM ${my.table} WHERE amount > ${my.limit}; /* ; */
CREATE MATERIALIZED VIEW dear_ones (shop STRING COMMENT 'which; one', id BIGINT)
COMMENT 'Dear; ''really''' AS SELECT id, shop FROM dear;
CREATE MATERIALIZED VIEW texts AS
SELECT '${my.limit}; -- no comment' AS limited, "it's" AS quoted, id AS `odd; name`
FROM dear_ones WHERE 'a;b' <> 'FROM texts';
CREATE STREAMING TABLE grown;
CREATE FLOW `a flow` AS INSERT INTO grown BY NAME SELECT id, shop FROM STREAM(bronze.sales);
USE SCHEMA silver;
CREATE MATERIALIZED VIEW early AS
SELECT id, shop FROM bronze.sales WHERE sold_at <= TIMESTAMP '${pipelines.as_of}'
""",
    "python.py": """
LIMIT = spark.conf.get("my.limit")
CONF = {"spark.sql.shuffle.partitions": "3"}


@dp.materialized_view(name="gold.read", schema="b STRING, a INT, id BIGINT, way STRING")
def read():
    rows = spark.sql("SELECT ${my.limit} AS a, '${my.limit}' AS b, id FROM ${my.table}")
    return rows.withColumn("way", F.lit(LIMIT))


@dp.materialized_view(name="gold.before", cluster_by=["id"], spark_conf=CONF)
def before():
    moment = F.lit(spark.conf.get("pipelines.as_of")).cast("timestamp")
    return spark.table("bronze.sales").where(F.col("sold_at") <= moment).select("id")
""",
}
SINKS = """
for format in ("csv", "json", "parquet"):
    options = {{"path": "{folder}/" + format}}
    if format == "csv":
        options["header"] = "true"
    dp.create_sink(format, format, options=options)


@dp.append_flow(target="csv", name="to_csv")
def to_csv():
    return spark.readStream.table("bronze.sales").select("id", "shop", "amount")


@dp.append_flow(target="json", name="to_json")
def to_json():
    return spark.readStream.table("bronze.sales").select("id", "shop", "amount")


@dp.append_flow(target="parquet", name="to_parquet")
def to_parquet():
    return spark.readStream.table("bronze.sales").select("id", "shop", "amount")
"""
TABLES = (
    *("gold.dear_ones", "gold.texts", "gold.grown", "silver.early"),
    *("gold.read", "gold.before"),
)
SCHEMAS = ["bronze", "silver", "gold"]


def spec(storage: Path) -> str:
    return SPEC.replace(".pipeline-storage", f"file://{storage}") + CONFIGURATION


def test_settings_and_statements_mean_the_same(spark, sales, tmp_path):
    sales.write("spark-pipeline.yml", spec(tmp_path / "storage"))
    for name, text in SOURCES.items():
        define(sales, text, name)
    sales.run()
    spark.put({"bronze.sales": files(sales)}, SCHEMAS)
    spark.run_pipeline(sales.folder)
    spark.take({name: str(tmp_path / "taken" / name) for name in TABLES})
    ours = {name: sales.lake.read(name).record.manifest for name in TABLES}
    assert {name: manifest(tmp_path / "taken" / name) for name in TABLES} == ours
    assert [ours[name].rows for name in TABLES] == [1, 1, 3, 2, 3, 2]
    taken = {name: columns(tmp_path / "taken" / name) for name in TABLES}
    assert taken == {name: sales.lake.read(name).to_polars().columns for name in TABLES}


@pytest.mark.spark_suite
def test_what_spark_refuses_is_refused(spark, sales, tmp_path):
    refused = {
        "set.sql": "SET my.own = 5; CREATE MATERIALIZED VIEW gold.x AS SELECT ${my.own} AS a",
        "schema.sql": "CREATE MATERIALIZED VIEW gold.x (id INT) AS SELECT id FROM bronze.sales",
    }
    sales.write("spark-pipeline.yml", spec(tmp_path / "storage2"))
    for name, text in refused.items():
        define(sales, text, name)
        with pytest.raises(Exception, match=name):
            sales.plan()
        with pytest.raises(AssertionError, match="Exception"):
            spark.run_pipeline(sales.folder)
        (sales.folder / "transformations" / name).unlink()


@pytest.mark.spark_suite
def test_sinks_get_the_same_rows(spark, sales, tmp_path):
    sales.write("spark-pipeline.yml", spec(tmp_path / "storage3"))
    define(sales, SINKS.format(folder="ours"))
    sales.run()
    define(sales, SINKS.format(folder=tmp_path / "theirs"))
    first = files(sales)
    spark.put({"bronze.sales_of_sinks": first}, SCHEMAS)
    text = (sales.folder / "transformations/extra.py").read_text("utf-8")
    define(sales, text.replace("bronze.sales", "bronze.sales_of_sinks"))
    spark.run_pipeline(sales.folder)
    assert rows(tmp_path / "theirs") == rows(sales.folder / "ours")
    deliver(sales, "2026-02", 4, 50)
    spark.append({"bronze.sales_of_sinks": sorted(set(files(sales)) - set(first))})
    spark.run_pipeline(sales.folder)
    define(sales, SINKS.format(folder="ours"))
    sales.run()
    assert rows(tmp_path / "theirs") == rows(sales.folder / "ours")
    assert [len(found) for found in rows(sales.folder / "ours")] == [5, 5, 5]


def rows(folder: Path) -> list[list[tuple]]:
    texts = [
        row
        for file in folder.glob("csv/*.csv")
        for row in list(csv.reader(file.read_text("utf-8").splitlines()))[1:]
    ]
    objects = [
        json.loads(line)
        for file in folder.glob("json/*.json")
        for line in file.read_text("utf-8").splitlines()
    ]
    frame = pl.read_parquet(folder / "parquet" / "*.parquet")
    return [
        sorted(tuple(row) for row in texts),
        sorted((row["id"], row["shop"], row.get("amount", -1.0)) for row in objects),
        sorted(frame.fill_null(-1.0).rows()),
    ]


def columns(folder: Path) -> list[str]:
    return pl.scan_parquet(folder / "*.parquet").collect_schema().names()
