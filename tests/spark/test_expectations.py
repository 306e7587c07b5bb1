"""The same expectations under Apache Spark's own runner: they drop the same rows, and no others."""

from __future__ import annotations

import polars as pl

from sololakehouse.provenance import content_manifest
from tests.conftest import SPEC
from tests.pipelines.test_expectations import QUARANTINED, define

SOURCES = {
    "checked.py": f"""
@dp.materialized_view(name="silver.checked", {QUARANTINED})
@expect_or_drop("has an amount", "amount IS NOT NULL")
@expect_all_or_drop({{"is known": "shop <> 'west'", "is early": "id < 100"}})
@expect("is dear", "amount > 8")
@expect_unique("one row each", ["id"])
@expect_fresh("arrives", "sold_at", within="2 hours")
def checked():
    return spark.table("bronze.sales")


@dp.table(name="silver.events", {QUARANTINED})
@expect_or_drop("is dear", "amount > 8")
@expect_unique_or_fail("one row each", "id")
def events():
    return spark.readStream.table("bronze.sales").select("id", "amount")
""",
    "totals.sql": """\
CREATE MATERIALIZED VIEW gold.totals
TBLPROPERTIES (
  'expect.has_sales' = 'sales > 0',
  'expect_unique.one_row_each' = 'shop',
  'expect_fresh.arrives' = 'newest WITHIN 3 weeks'
)
AS SELECT shop, count(*) AS sales, max(sold_at) AS newest FROM silver.checked GROUP BY shop;
""",
}
TABLES = ("silver.checked", "silver.events", "gold.totals")


def test_the_same_rows_are_dropped_on_both(spark, sales, tmp_path):
    for name, text in SOURCES.items():
        define(sales, text, name)
    sales.run()
    spark.put(
        {"bronze.sales": sales.lake.read("bronze.sales").file_uris()}, ["bronze", "silver", "gold"]
    )
    storage = f"file://{tmp_path / 'checkpoints'}"
    sales.write("spark-pipeline.yml", SPEC.replace(".pipeline-storage", storage))
    assert "Run is COMPLETED." in spark.run_pipeline(sales.folder)
    spark.take({name: str(tmp_path / "taken" / name) for name in TABLES})
    ours = {name: sales.lake.read(name).record.manifest for name in TABLES}
    theirs = {
        name: content_manifest(pl.scan_parquet(tmp_path / "taken" / name / "*.parquet"))
        for name in TABLES
    }
    assert theirs == ours
    assert [ours[name].rows for name in TABLES] == [2, 1, 1]
    assert sales.lake.read("silver.checked_quarantine").rows == 1
