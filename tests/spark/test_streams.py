"""The same streaming sources under Apache Spark's own runner, in two runs with new rows between."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sololakehouse.provenance import content_manifest
from tests.conftest import SPEC
from tests.pipelines.test_run import define
from tests.pipelines.test_streaming import deliver

SOURCES = {
    "events.py": """
@dp.table(name="silver.events")
@expect_or_drop("has an amount", "amount IS NOT NULL")
def events():
    return spark.readStream.table("bronze.sales").select("id", "shop", "amount")


dp.create_streaming_table("silver.late")


@dp.append_flow(target="silver.late")
def later():
    return spark.readStream.table("silver.events").where("id > 1")
""",
    "dear.sql": """\
CREATE STREAMING TABLE silver.dear;

CREATE FLOW dear AS INSERT INTO silver.dear BY NAME
SELECT 'dear' AS way, id FROM STREAM(bronze.sales) WHERE amount > 8;

CREATE MATERIALIZED VIEW gold.totals AS
SELECT shop, count(*) AS sales, sum(amount) AS amount FROM silver.events GROUP BY shop;
""",
}
TABLES = ("silver.events", "silver.late", "silver.dear", "gold.totals")


def test_streams_take_each_row_once_on_both(spark, sales, tmp_path):
    for name, text in SOURCES.items():
        define(sales, text, name)
    sales.run()
    spark.put({"bronze.sales": files(sales)}, ["bronze", "silver", "gold"])
    storage = f"file://{tmp_path / 'checkpoints'}"
    sales.write("spark-pipeline.yml", SPEC.replace(".pipeline-storage", storage))
    spark.run_pipeline(sales.folder)
    taken = files(sales)
    deliver(sales, "2026-02", 4, 50)
    sales.run()
    spark.append({"bronze.sales": sorted(set(files(sales)) - set(taken))})
    spark.run_pipeline(sales.folder)
    spark.take({name: str(tmp_path / "taken" / name) for name in TABLES})
    ours = {name: sales.lake.read(name).record.manifest for name in TABLES}
    theirs = {name: manifest(tmp_path / "taken" / name) for name in TABLES}
    assert theirs == ours
    assert [ours[name].rows for name in TABLES] == [4, 3, 2, 2]


def files(project) -> list[str]:
    return project.lake.read("bronze.sales").file_uris()


def manifest(folder: Path):
    return content_manifest(pl.scan_parquet(folder / "*.parquet"))
