from __future__ import annotations

import hashlib
import json
import re
import sys

import click
import pytest

from sololakehouse.cli import slh as group

TOTALS = """\
CREATE MATERIALIZED VIEW gold.totals AS
SELECT shop, sum(amount) AS amount FROM bronze.sales GROUP BY shop
"""


@pytest.fixture
def shop(sales):
    sales.write("transformations/totals.sql", TOTALS)
    return sales


def commands(of=group, words=()):
    for name, command in of.commands.items():
        yield pytest.param((*words, name), command, id=" ".join((*words, name)))
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_every_command_says_what_it_does_and_shows_an_example(words, command, slh, tmp_path):
    text = slh(*words, "--help", folder=tmp_path).out
    assert re.search(rf"Examples?:\n +slh {' '.join(words)}", text)


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_every_option_has_a_help_text(words, command):
    assert [p.opts for p in command.params if isinstance(p, click.Option) and not p.help] == []


def test_a_new_project_runs_as_it_is(slh, tmp_path):
    assert slh("init", "shop", folder=tmp_path).code == 0
    folder = tmp_path / "shop"
    assert "60" in slh("ingest", folder=folder).out
    assert slh("run", folder=folder).code == 0
    rows = json.loads(slh("tables", "--json", folder=folder).out)
    counts = {row["table"]: row["rows"] for row in rows}
    assert counts == {"bronze.orders": 60, "features.customer_orders": 59, "silver.orders": 59}
    assert "{{name}}" not in (folder / "README.md").read_text()


def test_init_does_not_overwrite(slh, tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("mine")
    said = slh("init", "shop", folder=tmp_path)
    assert (said.code, said.err) == (
        2,
        "Error: shop exists and is not empty. Choose another name.\n",
    )
    assert sorted(path.name for path in (tmp_path / "shop").iterdir()) == ["mine.txt"]


@pytest.mark.parametrize("name", ["1st", "a b", "..", "a/../-b"])
def test_init_refuses_a_name_that_is_none(slh, tmp_path, name):
    assert slh("init", name, folder=tmp_path).code == 2


def test_run_says_what_it_did_and_then_that_nothing_changed(slh, shop):
    first, again = (
        json.loads(slh("run", "--json", folder=shop.folder).out.splitlines()[-1])["tables"]
        for _ in range(2)
    )
    assert [row["state"] for row in first] == ["computed"]
    assert [row["state"] for row in again] == ["up to date"]
    assert again[0]["version"] == first[0]["version"]


def test_a_dry_run_plans_and_commits_nothing(slh, shop):
    (row,) = json.loads(slh("run", "--dry-run", "--json", folder=shop.folder).out)
    assert row == {
        "table": "gold.totals",
        "state": "run",
        "reason": "new table",
        "reads": "bronze.sales",
    }
    assert shop.versions() == {"bronze.sales": 1}


def test_history_shows_inputs_and_manifest(slh, shop):
    slh("run", folder=shop.folder)
    newest, created = json.loads(slh("history", "gold.totals", "--json", folder=shop.folder).out)
    assert (newest["inputs"], newest["rows"]) == ("bronze.sales@v1", 2)
    assert len(newest["digest"]) == 32
    assert created["operation"] == "CREATE TABLE"


def test_query_reads_older_versions(slh, shop):
    slh("run", folder=shop.folder)
    sql = "SELECT count(*) AS n FROM gold.totals VERSION AS OF {}"
    counts = [
        json.loads(slh("query", sql.format(version), "--json", folder=shop.folder).out)
        for version in (0, 1)
    ]
    assert counts == [[{"n": 0}], [{"n": 2}]]


def test_query_says_when_it_shows_only_the_first_rows(slh, shop):
    said = slh(
        "query", "SELECT * FROM bronze.sales ORDER BY id", "--limit", "2", folder=shop.folder
    )
    assert "The first 2 rows" in said.out


def test_trace_goes_down_to_the_files(slh, shop):
    slh("run", folder=shop.folder)
    lines = slh("trace", "gold.totals", folder=shop.folder).out.splitlines()
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert cells[1][:3] == ["gold.totals@v1", "materialized view", "2"]
    assert cells[2][:3] == ["└─ bronze.sales@v1", "ingest", "3"]
    assert cells[3][:3] == ["└─ landing/2026-01.csv", "landing file", "3"]
    sha256 = hashlib.sha256((shop.folder / "landing/2026-01.csv").read_bytes()).hexdigest()
    assert cells[3][3] == f"sha256:{sha256}"


MISTAKES = {
    "no such command": (["tablez"], 2, "No such command 'tablez'. Did you mean 'tables'?"),
    "unknown table": (
        ["history", "bronze.salez"],
        2,
        "No table 'bronze.salez'. Did you mean 'bronze.sales'?",
    ),
    "no table's name": (["history", "totals"], 2, "'totals' is no table name."),
    "unknown source": (["ingest", "sale"], 2, "No source 'sale'. Did you mean 'sales'?"),
    "not a query": (["query", "DROP TABLE bronze.sales"], 2, "Only a SELECT can be asked"),
    "two queries": (["query", "SELECT 1; SELECT 2"], 2, "this text holds 2 statements"),
    "unknown table in a query": (["query", "SELECT * FROM bronze.sale"], 2, "Did you mean"),
    "unknown column in a query": (
        ["query", "SELECT amont FROM bronze.sales"],
        2,
        "The query failed: no column 'amont'. Did you mean 'amount'? Columns: ",
    ),
    "unknown column of a system view": (
        ["query", "SELECT pahts FROM system.ingested_files"],
        2,
        "The query failed: no column 'pahts'. Did you mean 'path'?",
    ),
    "no experiment file": (["train", "experiments/x.yml"], 2, "x.yml"),
    "a model that does not exist": (["promote", "late", "--to", "production"], 2, "late"),
    "a scoring job that does not exist": (["score", "job"], 2, "No scoring job 'job'"),
    "scoring without an output": (
        ["score", "late@production", "--input", "bronze.sales"],
        2,
        "say --input TABLE and --output TABLE",
    ),
    "scoring with a model that does not exist": (
        ["score", "late@production", "--input", "bronze.sales", "--output", "inference.x"],
        2,
        "late",
    ),
    "nothing to trace": (["trace", "gold.nothing"], 2, "No table, model or run 'gold.nothing'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_message_and_no_traceback(slh, sales, mistake):
    arguments, code, message = MISTAKES[mistake]
    said = slh(*arguments, folder=sales.folder)
    assert said.code == code
    assert message in said.err
    assert "Traceback" not in said.err
    assert sales.versions() == {"bronze.sales": 1}


@pytest.mark.parametrize("command", [["tables"], ["run"], ["ingest"], ["models"], ["demo"]])
def test_outside_of_a_project_there_is_a_hint(slh, tmp_path, command):
    said = slh(*command, folder=tmp_path)
    assert said.code == 2
    assert "Create a project with 'slh init NAME'" in said.err


def test_a_failed_run_ends_with_1(slh_process, shop):
    shop.write("landing/bad.csv", "id,shop,sold_at,amount\n1,a,NA,ten\n")
    said = slh_process("ingest", folder=shop.folder)
    assert said.code == 1
    assert said.err.startswith("Error: landing/bad.csv:2: column 'amount' holds 'ten'")
    assert said.out == ""


def test_help_imports_nothing_heavy(tmp_path):
    import subprocess
    import sys

    heavy = (
        "{'mlflow','pyspark','polars','pandas','pyarrow','deltalake','pydantic','rich','sklearn'}"
    )
    code = f"import sys, sololakehouse.cli; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_that_cannot_be_written_to_is_one_sentence(slh_process, sales):
    (sales.folder / "warehouse" / "gold").write_text("a file where a folder should be")
    sales.write("transformations/totals.sql", TOTALS)
    said = slh_process("run", folder=sales.folder)
    assert said.code == 1
    assert "Traceback" not in said.err
    assert "gold" in said.err


def test_a_reader_that_closes_the_pipe_is_no_error(sales):
    import subprocess

    command = f"{sys.executable} -m sololakehouse history bronze.sales | head -n 1"
    done = subprocess.run(
        command, shell=True, cwd=sales.folder, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
