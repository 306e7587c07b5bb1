from __future__ import annotations

import re

import pytest

from sololakehouse.errors import IngestError


def test_rows_arrive_with_their_place_and_time(sales):
    rows = sales.lake.read("bronze.sales").to_polars()
    assert rows["_source_file"].unique().to_list() == ["landing/2026-01.csv"]
    assert rows["_source_line"].to_list() == [2, 3, 4]
    assert rows["_ingested_at"].dtype.time_zone == "UTC"
    assert rows["amount"].to_list() == [10.5, None, 7.0]
    assert rows["sold_at"].dt.hour().to_list() == [8, 9, 9]


def test_a_known_file_is_left_alone(sales):
    again = sales.ingest()
    assert (again.rows, again.known_files, again.snapshot.version) == (0, 1, 1)


def test_a_new_file_is_appended_and_the_manifest_covers_the_whole_table(sales):
    sales.write("landing/2026-02.csv", "id,shop,sold_at,amount\n4,east,2026-02-01T00:00:00Z,1\n")
    result = sales.ingest()
    assert (result.rows, result.snapshot.version, result.snapshot.rows) == (1, 2, 4)


def test_the_moment_of_ingestion_is_not_part_of_the_content(sales, tmp_path):
    record = sales.lake.read("bronze.sales").record
    assert record.manifest.left_out == ("_ingested_at",)
    assert "_source_sha256" in record.manifest.columns


def test_columns_may_come_in_another_order(sales):
    sales.write("landing/2.csv", "shop,id,amount,sold_at\neast,4,1,2026-02-01T00:00:00Z\n")
    assert sales.ingest().rows == 1
    rows = sales.lake.read("bronze.sales").to_polars()
    assert rows.filter(id=4)["shop"].to_list() == ["east"]


def test_lines_count_line_breaks_inside_of_quotes_and_empty_lines(make_project):
    text = 'id,shop,sold_at,amount\n1,"two\nlines",NA,1\n\n2,b,NA,2\n3,c,NA,3'
    project = make_project(**{"landing/a.csv": text})
    project.ingest()
    rows = project.lake.read("bronze.sales").to_polars()
    assert rows["_source_line"].to_list() == [2, 5, 6]
    assert rows["shop"].to_list()[0] == "two\nlines"


def test_without_a_schema_the_first_file_decides_and_guesses_no_time_zone(make_project):
    config = "name: x\nsources: {s: {path: 'landing/*.csv', table: bronze.s}}\n"
    project = make_project(config=config, **{"landing/a.csv": "k,t\n1,2026-01-01 10:00:00\n"})
    project.ingest("s")
    assert project.lake.read("bronze.s").columns["t"] == "string"
    project.write("landing/b.csv", "k,t\nx,y\n")
    with pytest.raises(IngestError, match=r"landing/b\.csv:2: column 'k' holds 'x'"):
        project.ingest("s")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,shop,sold_at,amont\n1,a,NA,1\n",
            "landing/bad.csv:1: the file has no column 'amount' and has the column 'amont', which "
            "its source does not. Did you mean 'amont'?",
        ),
        (
            "id,shop,sold_at,amount,tax\n1,a,NA,1,2\n",
            "landing/bad.csv:1: the file has the column 'tax', which its source does not.",
        ),
        (
            "id,shop,sold_at,amount\n1,a,NA,1\n2,b,NA,ten\n",
            "landing/bad.csv:3: column 'amount' holds 'ten', which is no double.",
        ),
        (
            "id,shop,sold_at,amount\n1,a,2026-01-01 10:00:00,1\n",
            "column 'sold_at' holds '2026-01-01 10:00:00', which is no timestamp with a time zone",
        ),
        (
            "id,shop,sold_at,amount\n1,a,NA,1\n2,b,NA\n",
            "landing/bad.csv:3: the row has 3 fields, the header has 4.",
        ),
        (
            "id,shop,sold_at,amount\n1,a,NA,1,9\n",
            "landing/bad.csv:2: the row has 5 fields, the header has 4.",
        ),
        ("", "landing/bad.csv is empty: it has no header line."),
        ("id,id\n1,2\n", "landing/bad.csv:1: the header names 'id' twice."),
    ],
)
def test_a_file_that_does_not_fit_names_its_place_and_leaves_the_table(sales, text, message):
    sales.write("landing/bad.csv", text)
    with pytest.raises(IngestError, match=re.escape(message)):
        sales.ingest()
    assert sales.versions() == {"bronze.sales": 1}
    assert sales.lake.read("bronze.sales").rows == 3


def test_a_file_that_is_no_utf8_says_so(sales):
    (sales.folder / "landing/bad.csv").write_bytes(b"id,shop,sold_at,amount\n1,\xff,NA,1\n")
    with pytest.raises(IngestError, match=r"landing/bad\.csv is not UTF-8 text"):
        sales.ingest()


def test_a_changed_file_is_refused(sales):
    sales.write("landing/2026-01.csv", "id,shop,sold_at,amount\n9,x,NA,1\n")
    with pytest.raises(IngestError, match=r"changed since it was taken into bronze\.sales"):
        sales.ingest()


def test_an_empty_landing_folder_says_what_is_missing(make_project):
    project = make_project()
    with pytest.raises(
        IngestError, match=re.escape("Source 'sales' has no files: nothing matches")
    ):
        project.ingest()
    assert project.lake.table_names() == []


def test_a_failed_ingestion_leaves_no_staged_files(sales):
    sales.write("landing/bad.csv", "id\n1\n")
    with pytest.raises(IngestError):
        sales.ingest()
    assert list((sales.folder / "warehouse" / "_staging").iterdir()) == []
