"""The proof of the standard: the same sources under Apache Spark's own runner, the same tables."""

from __future__ import annotations

import polars as pl

from sololakehouse.provenance import content_manifest
from tests.reference import fresh_copy

COMPUTED = ("silver", "gold", "features")


def test_spark_pipelines_makes_the_same_tables_from_the_same_sources(spark, demo, tmp_path):
    names = demo.lake.table_names()
    bronze = {n: demo.lake.read(n).file_uris() for n in names if n.startswith("bronze.")}
    spark.put(bronze, ["bronze", *COMPUTED])
    said = spark.run_pipeline(fresh_copy(tmp_path / "nyc_flights"))
    assert "Run is COMPLETED." in said
    computed = [name for name in names if name.split(".")[0] in COMPUTED]
    spark.take({name: str(tmp_path / name) for name in computed})
    ours = {name: demo.lake.read(name).record.manifest for name in computed}
    theirs = {
        name: content_manifest(pl.scan_parquet(tmp_path / name / "*.parquet"), ours[name].left_out)
        for name in computed
    }
    assert len(computed) == 14
    assert theirs == ours
