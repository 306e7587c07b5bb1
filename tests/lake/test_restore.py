from __future__ import annotations

import json

import polars as pl
import pytest

from sololakehouse.errors import FeatureTableError, NotFoundError, RunError, UsageError
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.lake.diff import diff
from sololakehouse.lake.reference import parse_moment
from sololakehouse.lake.restore import restore
from sololakehouse.provenance import Change

ONE = pl.DataFrame({"k": [1], "v": ["a"]})
TWO = pl.DataFrame({"k": [1, 2], "w": [1.5, 2.5]})
TOTALS = """\
CREATE MATERIALIZED VIEW gold.totals AS
SELECT shop, {} AS amount FROM bronze.sales GROUP BY shop
"""


@pytest.fixture
def project(make_project):
    """Give a project whose silver.t has other columns and properties in versions 1 and 3."""
    project = make_project()
    write(project, ONE, "first", {"feature.keys": "k"})
    write(project, TWO, "second", {"feature.keys": "k", "team": "blue"})
    return project


def write(project, frame, mark, properties=None):
    change = Change("TEST", mark, details={"comment": mark})
    return project.writer().write_frame("silver.t", frame, change, properties=properties)


def test_content_schema_and_properties_come_back_in_one_commit(project):
    before = project.lake.read("silver.t")
    restored = restore(project.writer(), "silver.t", 1)
    assert restored.version == before.version + 1
    assert restored.to_polars().equals(ONE)
    assert restored.columns == {"k": "long", "v": "string"}
    assert "team" not in restored.properties
    assert project.lake.read("silver.t", version=before.version).to_polars().equals(TWO)


def test_the_record_says_what_the_content_is_and_whence(project):
    target = project.lake.read("silver.t@v1")
    record = restore(project.writer(), "silver.t", 1).record
    assert (record.operation, record.content_operation) == ("RESTORE", "TEST")
    assert (record.fingerprint, record.manifest) == ("first", target.record.manifest)
    assert record.inputs == (target.table_version,)
    restored = {"restored": {"version": 1, "operation": "TEST"}}
    assert record.details == target.record.details | restored
    assert record.details["comment"] == "first"
    assert (record.rows_written, record.restored_version) == (1, 1)


def test_a_restored_version_is_unchanged_by_its_files(project):
    restored = restore(project.writer(), "silver.t", 1)
    found = diff(project.lake.read("silver.t@v1"), restored)
    assert found.is_empty
    assert found.by_manifest


def test_a_moment_may_be_restored(project):
    first = project.lake.read("silver.t@v1").commit.timestamp
    assert restore(project.writer(), "silver.t", parse_moment(first)).to_polars().equals(ONE)


def test_a_restore_may_be_restored(project):
    restore(project.writer(), "silver.t", 1)
    back = restore(project.writer(), "silver.t", 3)
    again = restore(project.writer(), "silver.t", 4)
    assert back.to_polars().equals(TWO)
    assert again.to_polars().equals(ONE)
    assert again.record.content_operation == "TEST"
    assert [entry.restored for entry in project.lake.history("silver.t", 3)] == [4, 3, 1]


def test_an_empty_table_may_be_restored(project):
    restored = restore(project.writer(), "silver.t", 0)
    assert (restored.rows, restored.to_polars().height) == (0, 0)
    assert restored.record.fingerprint != "first"


def test_the_current_version_is_nothing_to_restore(project):
    with pytest.raises(UsageError, match="is at version 3: there is nothing to restore"):
        restore(project.writer(), "silver.t", 3)
    assert project.versions() == {"silver.t": 3}


def test_unknown_tables_and_versions(project):
    with pytest.raises(NotFoundError, match="Its versions are 0 to 3"):
        restore(project.writer(), "silver.t", 9)
    with pytest.raises(NotFoundError, match=r"Did you mean 'silver\.t'"):
        restore(project.writer(), "silver.tt", 1)


def test_tables_of_the_system_are_not_restored(project):
    with pytest.raises(UsageError, match=r"system\.runs is a log .* 'slh show system\.runs@v1'"):
        restore(project.writer(), "system.runs", 1)


def test_missing_data_files_are_named_and_nothing_is_done(project):
    (file,) = {f.name for f in project.lake.path("silver.t").glob("*.parquet")} - {
        uri.rsplit("/", 1)[-1] for uri in project.lake.read("silver.t").file_uris()
    }
    (project.lake.path("silver.t") / file).unlink()
    with pytest.raises(RunError, match=f"1 of its data files are gone .*{file}. The table is as"):
        restore(project.writer(), "silver.t", 1)
    assert project.versions() == {"silver.t": 3}


def test_rows_of_another_writer_must_keep_the_feature_contract(make_project):
    from deltalake import DeltaTable, write_deltalake

    project = make_project()
    path = project.lake.path("features.t")
    path.mkdir(parents=True)
    rows = pl.DataFrame({"k": [1, 1]})
    write_deltalake(path, rows)
    properties = {"feature.keys": "k"}
    DeltaTable(path).alter.set_table_properties(properties, raise_if_not_exists=False)
    write_deltalake(path, rows.head(1), mode="overwrite")
    with pytest.raises(FeatureTableError, match=r"features\.t@v1: k must be unique"):
        restore(project.writer(), "features.t", 1)
    assert project.versions() == {"features.t": 2}


def test_a_restored_version_of_another_writer_gets_a_manifest(make_project):
    from deltalake import write_deltalake

    project = make_project()
    path = project.lake.path("silver.t")
    path.mkdir(parents=True)
    write_deltalake(path, ONE)
    write_deltalake(path, ONE, mode="append")
    restored = restore(project.writer(), "silver.t", 0)
    assert (restored.record.manifest.rows, restored.rows) == (1, 1)
    assert restored.record.content_operation == "WRITE"


def test_files_that_a_restore_took_back_are_ingested_again(sales):
    sales.write("landing/2026-02.csv", "id,shop,sold_at,amount\n4,east,2026-02-01T08:00:00Z,1\n")
    assert sales.ingest().rows == 1
    restore(sales.writer(), "bronze.sales", 1)
    again = sales.ingest()
    assert ([file.path for file in again.new_files], again.snapshot.rows) == (
        ["landing/2026-02.csv"],
        4,
    )
    assert sales.ingest().new_files == ()


def states(project) -> dict[str, tuple[str, str]]:
    return {r.step.name: (r.step.state, r.step.reason) for r in project.run()}


def test_the_pipeline_computes_a_restored_table_again(sales):
    sales.write("transformations/totals.sql", TOTALS.format("sum(amount)"))
    sales.run()
    sales.write("transformations/totals.sql", TOTALS.format("max(amount)"))
    sales.run()
    restore(sales.writer(), "gold.totals", 1)
    assert states(sales) == {"gold.totals": ("run", "it was restored to v1")}


def test_a_restored_table_whose_query_came_back_too_is_up_to_date(sales):
    sales.write("transformations/totals.sql", TOTALS.format("sum(amount)"))
    sales.run()
    sales.write("transformations/totals.sql", TOTALS.format("max(amount)"))
    sales.run()
    restore(sales.writer(), "gold.totals", 1)
    sales.write("transformations/totals.sql", TOTALS.format("sum(amount)"))
    assert states(sales) == {"gold.totals": ("up to date", "v3")}


def test_what_reads_a_restored_table_is_computed_again(sales):
    sales.write("transformations/totals.sql", TOTALS.format("sum(amount)"))
    sales.ingest()
    sales.run()
    sales.write("landing/2026-02.csv", "id,shop,sold_at,amount\n4,east,2026-02-01T08:00:00Z,1\n")
    sales.ingest()
    restore(sales.writer(), "bronze.sales", 1)
    assert states(sales) == {"gold.totals": ("run", "bronze.sales has a new version")}


def test_a_restored_table_of_the_pipeline_is_still_not_written_by_hand(sales):
    query = TOTALS.replace(" AS\nSELECT", " TBLPROPERTIES ('feature.keys' = 'shop') AS\nSELECT")
    for function in ("sum(amount)", "max(amount)"):
        sales.write("transformations/totals.sql", query.format(function))
        sales.run()
    restore(sales.writer(), "gold.totals", 1)
    client = FeatureEngineeringClient(sales.lake)
    with pytest.raises(UsageError, match="is computed by the pipeline"):
        client.write_table(name="gold.totals", df=pl.DataFrame({"shop": ["x"], "amount": [1.0]}))


def test_a_restore_of_another_program_is_known(project):
    from deltalake import DeltaTable

    DeltaTable(project.lake.path("silver.t")).restore(1)
    newest = project.lake.history("silver.t")[0]
    assert (newest.operation, newest.restored, newest.record) == ("RESTORE", 1, None)
    assert json.loads(newest.timestamp.strftime("%Y")) >= 2026
