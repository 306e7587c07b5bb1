from __future__ import annotations

import csv
import io
import json
import re
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sololakehouse.cli.answers import AnswerForm, give_answer
from sololakehouse.errors import UsageError
from sololakehouse.pipelines.query import run_query
from sololakehouse.pipelines.time_travel import clauses, pinned, with_clauses
from tests.conftest import SALES, SALES_SOURCE, SPEC, ProjectFolder

SQL = "SELECT id, shop, sold_at, amount FROM bronze.sales ORDER BY id"
TOTALS = """\
CREATE MATERIALIZED VIEW gold.totals COMMENT 'Sales of each shop'
TBLPROPERTIES ('feature.keys' = 'shop', 'expect.positive' = 'amount > 0') AS
SELECT shop, sum(amount) AS amount FROM bronze.sales WHERE amount > 0 GROUP BY shop
"""
MORE = "id,shop,sold_at,amount\n4,east,2026-02-01T08:00:00Z,1\n5,north,2026-02-01T08:00:00Z,2\n"


@pytest.fixture(scope="module")
def first_shop(tmp_path_factory):
    """Make bronze.sales in versions 1 and 2, gold.totals in versions 1 and 2, once."""
    project = ProjectFolder(tmp_path_factory.mktemp("shop"))
    project.write("lakehouse.yml", SALES_SOURCE)
    project.write("spark-pipeline.yml", SPEC)
    project.write("transformations/totals.sql", TOTALS)
    for name, text in {"landing/2026-01.csv": SALES, "landing/2026-02.csv": MORE}.items():
        project.write(name, text)
        project.ingest()
        project.run()
    return project


@pytest.fixture
def shop(first_shop, tmp_path):
    """Give a copy that a test may change."""
    return ProjectFolder(shutil.copytree(first_shop.folder, tmp_path / "shop"))


@pytest.fixture
def json_of(slh, shop):
    def call(*arguments):
        said = slh(*arguments, "--json", folder=shop.folder)
        assert said.code == 0, said.err
        return json.loads(said.out)

    return call


def moment_of(project, table: str, version: int) -> str:
    return project.lake.read(table, version=version).commit.timestamp.isoformat()


def test_tables_shows_those_of_the_system_if_asked(slh, json_of, shop):
    assert [row["table"] for row in json_of("tables")] == ["bronze.sales", "gold.totals"]
    slh("restore", "gold.totals", "--to", "1", folder=shop.folder)
    assert [row["table"] for row in json_of("tables")] == ["bronze.sales", "gold.totals"]
    assert [row["table"] for row in json_of("tables", "--all")] == [
        "bronze.sales",
        "gold.totals",
        "system.expectations",
        "system.ingested_files",
        "system.runs",
        "system.steps",
        "system.table_commits",
    ]


def test_describe_tells_what_a_table_is(slh, json_of, shop):
    about = json_of("describe", "gold.totals")
    files = [Path(uri) for uri in shop.lake.read("gold.totals").file_uris()]
    assert (about["version"], about["rows"], about["files"]) == (2, 2, len(files))
    assert about["size in bytes"] == sum(file.stat().st_size for file in files)
    assert (about["comment"], about["made by"]) == ("Sales of each shop", "materialized view")
    assert about["feature contract"] == {"feature.keys": "shop"}
    assert about["columns"][0] == {
        "column": "shop",
        "type": "string",
        "nullable": True,
        "comment": None,
    }
    assert about["properties"]["delta.enableExpiredLogCleanup"] == "false"
    assert [(e["name"], e["violations"]) for e in about["expectations"]] == [("positive", 0)]
    assert about["inputs"] == ["bronze.sales@v2"]
    assert json_of("describe", "gold.totals@v1")["inputs"] == ["bronze.sales@v1"]
    text = slh("describe", "gold.totals", folder=shop.folder).out
    for wanted in ("gold.totals@v2", "Sales of each shop", "feature.keys", "amount > 0", "KiB"):
        assert wanted in text


def test_describe_tells_the_columns_of_a_computed_table(json_of):
    about = json_of("describe", "system.ingested_files")
    assert about["columns"][0]["column"] == "table_name"
    assert about["made by"] == "computed from the commits"


def test_history_tells_who_when_and_from_what(slh, json_of, shop):
    newest, *_ = json_of("history", "gold.totals")
    record = shop.lake.read("gold.totals").record
    assert (newest["user"], newest["run"]) == (record.user, record.run_id)
    assert (newest["rows"], newest["rows written"], newest["inputs"]) == (2, 2, "bronze.sales@v2")
    assert [row["version"] for row in json_of("history", "gold.totals@v1")] == [1, 0]
    assert record.user in slh("history", "gold.totals", folder=shop.folder).out


def test_show_gives_the_rows_of_any_version(json_of, shop):
    ids = sorted(row["id"] for row in json_of("show", "bronze.sales"))
    assert ids == [1, 2, 3, 4, 5]
    assert [row["id"] for row in json_of("show", "bronze.sales@v1")] == [1, 2, 3]
    at = moment_of(shop, "bronze.sales", 1)
    assert [row["id"] for row in json_of("show", f"bronze.sales@{at}")] == [1, 2, 3]
    assert len(json_of("show", "bronze.sales", "--limit", "2")) == 2
    assert len(json_of("show", "system.table_commits", "--limit", "1")) == 1


def test_show_says_that_there_are_more_rows(slh, shop):
    said = slh("show", "bronze.sales", "--limit", "2", folder=shop.folder).out
    assert "The first 2 rows; --limit shows more." in said
    assert "more" not in slh("show", "bronze.sales", "--limit", "5", folder=shop.folder).out


def test_diff_tells_rows_by_the_feature_keys(slh, json_of, shop):
    found = json_of("diff", "gold.totals", "1", "2")
    assert (found["keys"], found["rows_old"], found["rows_new"]) == (["shop"], 1, 2)
    assert (found["added"], found["removed"], found["changed"]) == (1, 0, 1)
    assert found["changed_examples"] == [
        {"key": {"shop": "north"}, "columns": {"amount": [17.5, 19.5]}}
    ]
    text = slh("diff", "gold.totals", "v1", folder=shop.folder).out
    assert "1 rows added, 0 removed, 1 changed by shop" in text
    assert [line.split() for line in text.splitlines()[-1:]] == [
        ["north", "amount", "17.5", "19.5"]
    ]


def test_diff_takes_keys_and_moments(json_of, shop):
    old, new = (moment_of(shop, "bronze.sales", version) for version in (1, 2))
    assert json_of("diff", "bronze.sales", old, new, "--keys", "id, shop")["added"] == 2
    back = json_of("diff", "bronze.sales", "2", "1", "--examples", "0")
    assert (back["removed"], back["removed_examples"]) == (2, [])
    assert back["not_compared"] == {"_ingested_at": "differs from run to run"}


def test_diff_says_when_nothing_is_different(slh, shop):
    slh("restore", "gold.totals", "--to", "1", folder=shop.folder)
    said = slh("diff", "gold.totals", "1", "3", folder=shop.folder).out
    assert said == "gold.totals v1 to v3: no difference, 1 rows.\n"


def test_restore_makes_a_new_version_and_is_recorded(slh, json_of, shop):
    at = moment_of(shop, "gold.totals", 1)
    assert json_of("restore", "gold.totals", "--to", at)["restored version"] == 1
    said = slh("restore", "gold.totals", "--to", "v2", folder=shop.folder)
    assert said.out == (
        "gold.totals is at version 4, which has the content of version 2: 2 rows.\n"
    )
    newest, before, *_ = json_of("history", "gold.totals")
    assert (newest["operation"], newest["restored version"]) == ("RESTORE", 2)
    assert before["inputs"] == "gold.totals@v1"
    runs = json_of("query", "SELECT command, arguments FROM system.runs ORDER BY started_at")
    assert runs[1] == {"command": "restore", "arguments": "gold.totals --to v2"}


def test_versions_and_moments_in_a_query_mean_the_same_as_elsewhere(json_of, shop):
    at = moment_of(shop, "bronze.sales", 1)
    for old in (f"TIMESTAMP AS OF '{at}'", "VERSION AS OF 1", "FOR VERSION AS OF '1'"):
        sql = f"SELECT count(*) AS n FROM bronze.sales {old} AS s WHERE s.id > 0"
        assert json_of("query", sql) == [{"n": 3}]
    assert json_of("query", "SELECT count(*) AS n FROM bronze.sales@v1") == [{"n": 3}]
    now = "SELECT count(*) AS n FROM bronze.sales TIMESTAMP AS OF current_timestamp() s"
    assert json_of("query", now) == [{"n": 5}]


def test_several_tables_and_versions_in_one_query(json_of, shop):
    at = moment_of(shop, "gold.totals", 2)
    sql = (
        "SELECT n.id, t.amount FROM bronze.sales n "
        "LEFT ANTI JOIN bronze.sales VERSION AS OF 1 o ON n.id = o.id "
        f"JOIN gold.totals TIMESTAMP AS OF '{at}' t ON t.shop = n.shop ORDER BY n.id"
    )
    with pytest.raises(UsageError):
        run_query(shop.lake, sql.replace("n.id, t", "o.id, t"))
    assert json_of("query", sql) == [{"id": 4, "amount": 1.0}, {"id": 5, "amount": 19.5}]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT version AS of FROM a.b", []),
        ("SELECT 'x TIMESTAMP AS OF y' FROM a.b -- VERSION AS OF 2", []),
        ("SELECT * FROM a.b VERSION AS OF 2 x, (SELECT * FROM `a`.`c` VERSION AS OF 3)", [2, 3]),
        ("SELECT * FROM a.b TIMESTAMP AS OF current_timestamp() - INTERVAL 1 DAY x", [7]),
        ("SELECT * FROM a.b TIMESTAMP AS OF current_timestamp() x", [7]),
        ("WITH c AS (SELECT * FROM a.b FOR TIMESTAMP AS OF 'm') SELECT * FROM c", [7]),
        ("SELECT * FROM a.b TIMESTAMP AS OF now() WHERE k IN (SELECT k FROM a.c@v4)", [7, 4]),
    ],
)
def test_clauses_are_found_where_sql_has_them(text, found):
    text = with_clauses(text)
    versions = [clause.at if isinstance(clause.at, int) else 7 for clause in clauses(text)]
    assert versions == found
    written = pinned(text, lambda clause: f"v{clause.at if isinstance(clause.at, int) else 7}.t")
    assert clauses(written) == []
    assert [int(name[1]) for name in re.findall(r"v\d\.t", written)] == found
    assert written.endswith(text[-1]) or text.endswith("@v4)")
    assert "()" not in written


def test_formats_hold_the_same_rows(slh, shop, tmp_path):
    names = ["id", "shop", "sold_at", "amount"]
    said = slh("query", SQL, "--format", "csv", folder=shop.folder).out
    assert list(csv.reader(io.StringIO(said)))[:3] == [
        names,
        ["1", "north", "2026-01-01T08:00:00Z", "10.5"],
        ["2", "south", "2026-01-01T09:00:00Z", ""],
    ]
    rows = json.loads(slh("query", SQL, "--format", "json", folder=shop.folder).out)
    assert rows[1] == dict(zip(names, [2, "south", "2026-01-01T09:00:00Z", None], strict=True))
    file = tmp_path / "rows.parquet"
    assert slh("query", SQL, "--output", str(file), folder=shop.folder).out == ""
    assert pq.read_table(file).num_rows == 5
    table = slh("query", SQL, folder=shop.folder).out.splitlines()
    assert table[2].split() == ["2", "south", "2026-01-01T09:00:00Z", "NULL"]


@pytest.mark.parametrize("suffix", ["csv", "json", "txt"])
def test_a_file_has_what_the_terminal_would_have(slh, shop, tmp_path, suffix):
    file = tmp_path / f"rows.{suffix}"
    chosen = "table" if suffix == "txt" else suffix
    said = slh("query", SQL, "--format", chosen, folder=shop.folder).out
    assert slh("query", SQL, "-o", str(file), folder=shop.folder).err == f"5 rows in {file}\n"
    assert file.read_text() == said
    assert [path.name for path in tmp_path.glob(".rows*")] == []


def test_an_existing_file_is_replaced_only_by_force(slh, shop, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("mine")
    said = slh("show", "bronze.sales", "-o", str(file), folder=shop.folder)
    assert (said.code, file.read_text()) == (2, "mine")
    assert "exists. Choose another name, or add --force" in said.err
    assert slh("show", "bronze.sales", "-o", str(file), "--force", folder=shop.folder).code == 0
    assert file.read_text().startswith("id,shop")


def test_a_query_that_fails_leaves_the_file(slh, shop, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("mine")
    sql = "SELECT nothing FROM bronze.sales"
    assert slh("query", sql, "-o", str(file), "--force", folder=shop.folder).code == 2
    assert file.read_text() == "mine"


MOMENT = datetime(2026, 1, 1, 0, 0, 0, 5, UTC)
ODD = pa.table(
    {
        "decimal": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        "moment": pa.array(
            [datetime(2026, 1, 1, 0, 0, 0, 5, UTC), None], pa.timestamp("us", "UTC")
        ),
        "local": pa.array([datetime(2026, 1, 1), None], pa.timestamp("ns")),
        "day": pa.array([date(2026, 1, 1), None]),
        "flag": pa.array([True, None]),
        "list": pa.array([[1, None], None]),
        "struct": pa.array([{"a": Decimal("2.0"), "b": [date(2026, 1, 1)]}, None]),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "bytes": pa.array([b"\x01\xff", None]),
        "number": pa.array([float("nan"), None]),
        "text": pa.array(["[red]a,b[/red]", None]),
    }
)
ODD_JSON = {
    "decimal": "1.50",
    "moment": "2026-01-01T00:00:00.000005Z",
    "local": "2026-01-01T00:00:00",
    "day": "2026-01-01",
    "flag": True,
    "list": [1, None],
    "struct": {"a": "2.0", "b": ["2026-01-01"]},
    "map": {"k": 1},
    "bytes": "01ff",
    "number": "NaN",
    "text": "[red]a,b[/red]",
}
ODD_CELLS = {
    **{name: value for name, value in ODD_JSON.items() if isinstance(value, str)},
    "flag": "true",
    "list": "[1, null]",
    "struct": '{"a": "2.0", "b": ["2026-01-01"]}',
    "map": '{"k": 1}',
}


def given(capsys, wanted: str) -> str:
    give_answer(ODD, AnswerForm(wanted, None, False, None))
    return capsys.readouterr().out


def test_values_of_every_type_are_written(capsys, tmp_path):
    first, second = json.loads(given(capsys, "json"))
    assert first == ODD_JSON
    assert second == dict.fromkeys(ODD_JSON)
    first, second = list(csv.DictReader(io.StringIO(given(capsys, "csv"))))
    assert first == ODD_CELLS
    assert second == dict.fromkeys(ODD_JSON, "")
    _, first_line, second_line = given(capsys, "table").splitlines()
    assert all(cell in first_line for cell in ODD_CELLS.values())
    assert second_line.split() == ["NULL"] * len(ODD_JSON)
    file = tmp_path / "odd.parquet"
    give_answer(ODD, AnswerForm("parquet", file, False, None))
    assert pq.read_table(file).drop_columns("number").equals(ODD.drop_columns("number"))


def test_an_answer_without_rows_or_columns_is_one(capsys):
    give_answer(ODD.slice(0, 0), AnswerForm("csv", None, False, None))
    assert capsys.readouterr().out == ",".join(ODD_JSON) + "\n"
    give_answer(ODD.slice(0, 0), AnswerForm("json", None, False, None))
    assert json.loads(capsys.readouterr().out) == []
    give_answer(ODD.slice(0, 0), AnswerForm("table", None, False, None))
    assert capsys.readouterr().out.split() == list(ODD_JSON)


def test_wide_rows_are_not_cut_where_there_is_no_terminal(slh, shop):
    said = slh("query", "SELECT repeat('x', 900) AS a, 'end' AS b", folder=shop.folder).out
    assert "x" * 900 + "  end" in said


def test_ingest_and_run_are_recorded_by_the_commands(slh, sales):
    sales.write("landing/2026-02.csv", MORE)
    sales.write("transformations/totals.sql", TOTALS)
    for command in ("ingest", "run", "ingest", "run"):
        assert slh(command, folder=sales.folder).code == 0
    steps = sales.lake.read("system.steps").to_polars().sort("started_at")
    assert steps.select("step", "table_name", "state", "rows").rows() == [
        ("sales", "bronze.sales", "COMPLETED", 5),
        ("gold.totals", "gold.totals", "COMPLETED", 2),
    ]
    runs = sales.lake.read("system.runs").to_polars().sort("started_at")
    assert runs.select("command", "status", "commits").rows() == [
        ("ingest", "COMPLETED", 1),
        ("run", "COMPLETED", 1),
    ]


def test_a_failed_step_is_recorded_with_its_message(slh, sales):
    failing = TOTALS.replace("expect.positive", "expect_or_fail.positive").replace("> 0 G", "< 9 G")
    sales.write("transformations/totals.sql", failing.replace("amount > 0'", "amount > 99'"))
    said = slh("run", folder=sales.folder)
    assert said.code == 1
    (run,) = sales.lake.read("system.runs").to_polars().to_dicts()
    (step,) = sales.lake.read("system.steps").to_polars().to_dicts()
    assert (run["status"], step["state"], step["step"]) == ("FAILED", "FAILED", "gold.totals")
    assert said.err.startswith(f"Error: {run['error']}\n")


def test_a_run_that_cannot_be_recorded_still_succeeds(slh, sales):
    (sales.folder / "warehouse/system").write_text("a file where a folder should be")
    sales.write("transformations/totals.sql", TOTALS)
    said = slh("run", folder=sales.folder)
    assert said.code == 0
    assert "Warning: system.runs and system.steps could not be written" in said.err
    assert sales.versions()["gold.totals"] == 1


MISTAKES = {
    "describe an unknown table": (["describe", "gold.total"], "Did you mean 'gold.totals'?"),
    "describe an unknown version": (["describe", "gold.totals@v9"], "Its versions are 0 to 2."),
    "show an unknown table": (["show", "gold.total"], "Did you mean 'gold.totals'?"),
    "show an unknown version": (["show", "gold.totals@v9"], "has no version 9"),
    "show before the first version": (
        ["show", "gold.totals@2020-01-01T00:00:00Z"],
        "has no version at 2020-01-01T00:00:00Z or before. The first is v0 of ",
    ),
    "show at a naive moment": (["show", "gold.totals@2026-01-01T00:00:00"], "has no time zone"),
    "show in the future": (["show", "gold.totals@2999-01-01T00:00:00Z"], "is in the future"),
    "history at no moment": (["history", "gold.totals@yesterday"], "is no table. Write schema.tab"),
    "trace an unknown version": (["trace", "gold.totals@v9"], "has no version 9"),
    "diff with a bad key": (
        ["diff", "gold.totals", "1", "2", "--keys", "shob"],
        "gold.totals@v1 and @v2: No column 'shob'. Did you mean 'shop'?",
    ),
    "diff with an empty key": (
        ["diff", "gold.totals", "1", "--key", "a,"],
        "--keys 'a,' names no column",
    ),
    "diff of the same version": (["diff", "gold.totals", "2"], "version 2 is the same as version"),
    "diff of a word": (
        ["diff", "gold.totals", "old", "new"],
        "'old' is no version. Write a",
    ),
    "diff of an unknown version": (["diff", "gold.totals", "1", "9"], "has no version 9"),
    "restore the current version": (["restore", "gold.totals", "--to", "2"], "nothing to restore"),
    "restore a missing version": (["restore", "gold.totals", "--to", "7"], "has no version 7"),
    "restore a naive moment": (["restore", "gold.totals", "--to", "2026-01-01"], "no time zone"),
    "restore an unknown table": (["restore", "gold.total", "--to", "1"], "Did you mean"),
    "restore a system table": (
        ["restore", "system.runs", "--to", "1"],
        "is a log of what",
    ),
    "query an unknown version": (
        ["query", "SELECT * FROM gold.totals VERSION AS OF 7"],
        "gold.totals has no version 7. Its versions are 0 to 2.",
    ),
    "query a version that is no number": (
        ["query", "SELECT * FROM gold.totals VERSION AS OF 'x'"],
        "gold.totals: VERSION AS OF needs a number, not 'x'.",
    ),
    "query before the first version": (
        ["query", "SELECT * FROM gold.totals TIMESTAMP AS OF '2020-01-01T00:00:00Z'"],
        "has no version at 2020-01-01T00:00:00Z or before",
    ),
    "query at a naive moment": (
        ["query", "SELECT * FROM gold.totals TIMESTAMP AS OF '2026-01-01 00:00:00'"],
        "has no time zone",
    ),
    "query at a date": (
        ["query", "SELECT * FROM gold.totals TIMESTAMP AS OF current_date()"],
        "needs a TIMESTAMP with a time zone",
    ),
    "query at what is no expression": (
        ["query", "SELECT * FROM gold.totals TIMESTAMP AS OF no_such_function()"],
        "no_such_function() cannot be computed",
    ),
    "query a version of a view": (
        ["query", "SELECT * FROM system.table_commits VERSION AS OF 1"],
        "has no versions. Filter by its timestamp",
    ),
    "query an unknown system table": (
        ["query", "SELECT * FROM system.table_commit"],
        "Did you mean 'system.table_commits'?",
    ),
    "two formats": (["query", SQL, "--json", "--format", "csv"], "are two formats. Choose one."),
    "parquet on the terminal": (["query", SQL, "--format", "parquet"], "add --output FILE.parquet"),
    "a folder as the file": (["show", "gold.totals", "-o", "landing"], "landing is a folder."),
    "a file in no folder": (["show", "gold.totals", "-o", "no/x.csv"], "There is no folder "),
    "a file in a file": (
        ["show", "gold.totals", "-o", "lakehouse.yml/x.csv"],
        "There is no folder ",
    ),
    "two columns of a name": (
        ["query", "SELECT 1 AS a, 2 AS a", "--json"],
        "Two columns are named 'a', and json needs AS to name them.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_message_and_changes_nothing(slh, first_shop, mistake):
    arguments, message = MISTAKES[mistake]
    said = slh(*arguments, folder=first_shop.folder)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert first_shop.versions() == {"bronze.sales": 2, "gold.totals": 2}


def test_a_full_or_closed_file_is_one_sentence(slh, first_shop):
    said = slh("show", "gold.totals", "-o", "/proc/rows.csv", folder=first_shop.folder)
    assert said.code == 1
    assert said.err.startswith("Error: ")
    assert "Traceback" not in said.err
