"""Change data and Apache Spark: what its own runner takes, and where it stops.

Spark 4.2 executes an auto CDC flow only into tables that can be merged into, and its own Parquet
tables cannot. So the same source is resolved by both, and mistakes are refused by both, but only
ours fills the table.
"""

from __future__ import annotations

import subprocess

import pytest

from sololakehouse.errors import DefinitionError
from tests.conftest import SPEC
from tests.pipelines.test_cdc import CONFIG, HISTORY, NEWEST, deliver, people
from tests.pipelines.test_run import define
from tests.spark.server import environment

VIEW = """
@dp.temporary_view
def changes():
    return spark.readStream.table("bronze.changes").where("id IS NOT NULL")
"""
SOURCE = VIEW + NEWEST.replace("bronze.changes", "changes")


@pytest.fixture
def project(make_project):
    project = make_project(config=CONFIG)
    deliver(project, "1", "1,10,U,Ada,Bern", "2,10,U,Bob,Rome", "1,20,U,Ada,Oslo")
    return project


def asked(spark, project, verb: str, source: str) -> str:
    """Run `spark-pipelines` on one source and return what it says."""
    name = "people.sql" if source.startswith("CREATE") else "people.py"
    for old in (project.folder / "transformations").glob("*.*"):
        old.unlink()
    define(project, source, name)
    storage = f"file://{project.folder / 'checkpoints'}"
    project.write("spark-pipeline.yml", SPEC.replace(".pipeline-storage", storage))
    done = subprocess.run(
        [spark.home / "bin" / "spark-pipelines", "--remote", spark.address, verb],
        cwd=project.folder,
        env=environment(spark.home),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_apache_spark_resolves_the_same_source_and_needs_a_table_with_merge(spark, project):
    files = project.lake.read("bronze.changes").file_uris()
    spark.put({"bronze.changes": files}, ["bronze", "silver"])
    assert "Run is COMPLETED." in asked(spark, project, "dry-run", SOURCE)
    assert "AUTOCDC_TARGET_DOES_NOT_SUPPORT_MERGE" in asked(spark, project, "run", SOURCE)
    project.run()
    assert people(project) == [(1, "Ada", "Oslo"), (2, "Bob", "Rome")]


@pytest.mark.spark_suite
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SOURCE.replace('["id"]', '["idd"]'), "AUTOCDC_KEY_NOT_IN_SELECTED_SCHEMA"),
        (
            "CREATE STREAMING TABLE silver.people;\nCREATE FLOW f AS AUTO CDC INTO silver.people "
            "FROM STREAM(bronze.changes) KEYS (id) SEQUENCE BY seq;",
            "Syntax error at or near 'AUTO'",
        ),
    ],
)
def test_what_apache_spark_refuses_is_refused_here(spark, project, source, said):
    files = project.lake.read("bronze.changes").file_uris()
    spark.put({"bronze.changes": files}, ["bronze", "silver"])
    assert said in asked(spark, project, "dry-run", source)
    with pytest.raises(DefinitionError):
        project.plan()


@pytest.mark.spark_suite
def test_apache_spark_says_that_histories_are_not_its_own(spark, project):
    spark.put({}, ["silver"])
    said = asked(spark, project, "dry-run", HISTORY)
    assert "Apache Spark's own runner has no SCD type 2" in said
