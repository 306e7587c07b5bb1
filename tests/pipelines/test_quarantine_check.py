"""The doctor holds quarantines to what the ingestions say that they put there."""

from __future__ import annotations

import polars as pl
import pytest

from sololakehouse.lake.doctor import diagnose
from sololakehouse.pipelines.quarantine_check import check_quarantines
from sololakehouse.provenance import Change

CONFIG = """\
name: test
sources:
  sales: {path: "landing/*.csv", table: bronze.sales, on_change: append, max_quarantined: 0.5}
"""
QUARANTINE = "bronze.sales_quarantine"


@pytest.fixture
def shop(make_project):
    """A project that has put three records aside, of two files."""
    files = {
        "landing/a.csv": "id,amount\n1,1\n2\n3,3\n4\n5,5\n",
        "landing/b.csv": "id,amount\n6,6\n7\n8,8\n",
    }
    project = make_project(config=CONFIG, **files)
    assert project.ingest().quarantined == 3
    return project


def write(project, rows):
    project.writer().write_frame(QUARANTINE, rows, Change("CLEAN UP", f"{rows.height} rows"))


def test_what_was_put_aside_and_is_there_is_no_finding(shop):
    assert check_quarantines(shop.lake) == []
    shop.write("landing/b.csv", "id,amount\n9\n10,10\n")
    assert shop.ingest().quarantined == 1
    assert check_quarantines(shop.lake) == []
    assert diagnose(shop.lake) == []


def test_records_that_are_gone_are_counted_and_their_file_is_named(shop):
    rows = shop.lake.read(QUARANTINE).to_polars()
    write(shop, rows.filter(pl.col("_source_line") != 3))
    (finding,) = check_quarantines(shop.lake)
    assert (finding.table, finding.severity) == (QUARANTINE, "warning")
    assert "of 2 files: of landing/a.csv 2 malformed records were put aside, and 1 are there" in (
        finding.what
    )
    assert f"slh history {QUARANTINE}" in finding.advice


def test_records_that_are_there_twice_are_found(shop):
    rows = shop.lake.read(QUARANTINE).to_polars()
    write(shop, pl.concat([rows, rows.filter(pl.col("_source_file") == "landing/b.csv")]))
    (finding,) = check_quarantines(shop.lake)
    assert "of 1 files: of landing/b.csv 1 malformed records were put aside, and 2 are" in (
        finding.what
    )


def test_records_of_files_that_the_table_has_not_taken_are_no_mistake_yet(shop):
    rows = shop.lake.read(QUARANTINE).to_polars()
    untaken = rows.head(2).with_columns(_source_file=pl.lit("landing/c.csv"))
    write(shop, pl.concat([rows, untaken]))
    (finding,) = check_quarantines(shop.lake)
    assert (finding.severity, finding.table) == ("info", QUARANTINE)
    assert "2 records of files that bronze.sales has not taken: landing/c.csv" in finding.what


def test_a_source_that_was_never_ingested_has_nothing_to_compare(make_project):
    assert check_quarantines(make_project(config=CONFIG).lake) == []
