from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import polars as pl
import pytest

from sololakehouse.errors import BusyError, NotFoundError, RunError, UsageError
from sololakehouse.lake import system
from sololakehouse.lake.restore import restore
from sololakehouse.lake.run_log import RUNS, STEPS, RunLog
from sololakehouse.pipelines.query import run_query
from sololakehouse.provenance import Change

FRAME = pl.DataFrame({"k": [1, 2]})
CHECKED = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
from sololakehouse.quality import expect

spark = SparkSession.active()

@dp.materialized_view(name="gold.checked")
@expect("has an amount", "amount IS NOT NULL")
def checked():
    return spark.table("bronze.sales")
"""


@pytest.fixture
def checked(sales):
    sales.write("transformations/checked.py", CHECKED)
    sales.run()
    return sales


def rows(project, sql: str) -> list[dict]:
    return run_query(project.lake, sql).to_pylist()


def test_table_commits_are_those_of_all_tables(checked):
    columns = "table_name, version, operation, delta_operation, rows, rows_written, inputs.table"
    sql = f"SELECT {columns} FROM system.table_commits ORDER BY table_name, version"
    assert [tuple(row.values()) for row in rows(checked, sql)] == [
        ("bronze.sales", 0, "CREATE TABLE", "CREATE TABLE", None, None, None),
        ("bronze.sales", 1, "INGEST", "WRITE", 3, 3, []),
        ("gold.checked", 0, "CREATE TABLE", "CREATE TABLE", None, None, None),
        ("gold.checked", 1, "MATERIALIZED VIEW", "WRITE", 3, 3, ["bronze.sales"]),
    ]


def test_what_a_view_says_is_what_the_history_says(checked):
    entry = checked.lake.history("gold.checked")[0]
    (row,) = (
        system.view(checked.lake, "system.table_commits")
        .filter(pl.col("table_name") == "gold.checked", pl.col("version") == 1)
        .to_dicts()
    )
    record = entry.record
    assert (row["timestamp"], row["run_id"]) == (entry.timestamp, record.run_id)
    assert (row["user"], row["digest"]) == (record.user, record.manifest.digest)
    assert row["inputs"] == [
        source.model_dump(exclude={"data_version"}) for source in record.inputs
    ]


def test_expectation_results_have_the_counts(checked):
    (row,) = rows(checked, "SELECT * FROM system.expectations")
    assert (row["table_name"], row["version"], row["name"]) == ("gold.checked", 1, "has an amount")
    assert (row["action"], row["rows"], row["violations"]) == ("warn", 3, 1)


def test_ingested_files_know_which_are_in_the_table(sales):
    sales.write("landing/2026-02.csv", "id,shop,sold_at,amount\n4,east,2026-02-01T08:00:00Z,1\n")
    sales.ingest()
    restore(sales.writer(), "bronze.sales", 1)
    sql = "SELECT path, source, version, in_table FROM system.ingested_files ORDER BY path"
    assert [tuple(row.values()) for row in rows(sales, sql)] == [
        ("landing/2026-01.csv", "sales", 1, True),
        ("landing/2026-02.csv", "sales", 2, False),
    ]


def test_a_replaced_file_is_not_in_the_table_any_more(make_project):
    project = make_project()
    for batch, (action, accepted) in enumerate((("new", 2), ("replace", 1))):
        about = {"sha256": f"{batch}f", "bytes": 9, "rows": 2, "accepted": accepted}
        files = {"a.csv": about | {"quarantined": 2 - accepted, "action": action}}
        details = {"source": "s", "batch": batch, "files": files}
        project.writer().write_frame("bronze.t", FRAME, Change("INGEST", "f", details=details))
    found = system.view(project.lake, "system.ingested_files")
    wanted = ("batch", "sha256", "bytes", "rows", "accepted", "quarantined", "action", "in_table")
    assert found.select(wanted).rows() == [
        (1, "1f", 9, 2, 1, 1, "replace", True),
        (0, "0f", 9, 2, 2, 0, "new", False),
    ]


def test_views_of_an_empty_lakehouse_have_no_rows_and_all_columns(make_project):
    lake = make_project().lake
    for name, columns in system.VIEWS.items():
        view = system.view(lake, name)
        assert (view.height, view.columns) == (0, list(columns))
    assert run_query(lake, "SELECT count(*) AS n FROM system.table_commits").to_pylist() == [
        {"n": 0}
    ]


def test_an_unknown_view_has_candidates(make_project):
    with pytest.raises(NotFoundError, match=r"Did you mean 'system\.table_commits'"):
        system.view(make_project().lake, "system.table_commit")


def test_a_view_joins_with_a_table(checked):
    sql = (
        "SELECT s.id, c.version FROM bronze.sales VERSION AS OF 1 s JOIN system.table_commits c "
        "ON c.table_name = 'bronze.sales' AND c.version = s.id"
    )
    assert rows(checked, sql) == [{"id": 1, "version": 1}]


@pytest.fixture
def log(make_project):
    return RunLog(make_project().writer(), "run", "all")


def written(log: RunLog, table: str) -> list[dict]:
    newest = log.writer.lake.newest(table)
    return newest.to_polars().to_dicts() if newest else []


def test_a_run_that_committed_is_written_with_its_steps(log):
    began = datetime.now(UTC)
    log.begin("silver.t", "silver.t")
    snapshot = log.writer.write_frame("silver.t", FRAME, Change("T", "f"))
    log.end(snapshot, "new table")
    log.begin("silver.u", "silver.u")
    log.end(None, "v7")
    log.write()
    (run,) = written(log, RUNS)
    assert (run["command"], run["arguments"], run["status"]) == ("run", "all", "COMPLETED")
    assert (run["error"], run["commits"], run["user"]) == (None, 1, log.writer.run.user)
    assert run["started_at"] <= began <= run["ended_at"] <= datetime.now(UTC)
    steps = written(log, STEPS)
    wanted = ("step", "state", "version", "rows", "rows_written", "reason")
    assert [tuple(step[name] for name in wanted) for step in steps] == [
        ("silver.t", "COMPLETED", 1, 2, 2, "new table"),
        ("silver.u", "UP_TO_DATE", None, None, None, "v7"),
    ]
    assert {step["run_id"] for step in steps} == {run["run_id"]}
    assert all(0 <= step["seconds"] < 60 for step in steps)


def test_a_run_that_changed_nothing_writes_nothing(log):
    log.begin("silver.t", "silver.t")
    log.end()
    log.write()
    assert log.writer.lake.table_names() == []


@pytest.mark.parametrize("mistake", [UsageError("no such table"), BusyError("at work")])
def test_a_mistake_of_use_is_no_run(log, mistake):
    log.write(mistake)
    assert log.writer.lake.table_names() == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RunError("disk full"), "disk full"),
        (KeyboardInterrupt(), "Stopped by the person."),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_failed_run_says_why_and_which_step(log, error, message):
    log.begin("silver.t", "silver.t")
    log.write(error)
    (run,), (step,) = written(log, RUNS), written(log, STEPS)
    assert (run["status"], run["error"], run["commits"]) == ("FAILED", message, 0)
    assert (step["state"], step["reason"], step["version"]) == ("FAILED", message, None)


def test_a_failure_before_the_first_step_is_a_run_without_steps(log):
    log.write(RunError("no engine"))
    assert len(written(log, RUNS)) == 1
    assert written(log, STEPS) == []


def test_moments_are_not_in_the_manifests(log):
    log.begin("x")
    log.write(RunError("no"))
    lake = log.writer.lake
    assert lake.read(RUNS).record.manifest.left_out == ("ended_at", "run_id", "started_at")
    assert lake.read(STEPS).record.manifest.left_out == ("run_id", "seconds", "started_at")


def test_two_processes_append_at_once(make_project):
    project = make_project()
    code = (
        "import sys\n"
        "from sololakehouse.errors import RunError\n"
        "from sololakehouse.lake import Lakehouse, LakeWriter\n"
        "from sololakehouse.lake.run_log import RunLog\n"
        "from sololakehouse.provenance import Run\n"
        "lake = Lakehouse.open(sys.argv[1])\n"
        "for number in range(2):\n"
        "    writer = LakeWriter(lake, Run.start(lake.project.folder, 'x'))\n"
        "    log = RunLog(writer, 'c', sys.argv[2])\n"
        "    log.begin(str(number))\n"
        "    log.write(RunError('e'))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(project.folder), name])
        for name in ("one", "two")
    ]
    assert [process.wait() for process in started] == [0, 0]
    runs, steps = (project.lake.read(table).to_polars() for table in (RUNS, STEPS))
    assert sorted(runs["arguments"]) == ["one"] * 2 + ["two"] * 2
    assert steps.height == 4
    assert set(steps["run_id"]) == set(runs["run_id"])


def test_the_documentation_lists_every_column():
    from pathlib import Path

    from sololakehouse.lake.run_log import _run_schema, _step_schema

    text = Path(__file__).parents[2].joinpath("docs/system_tables.md").read_text()
    schemas = {RUNS: _run_schema(), STEPS: _step_schema(), **system.VIEWS}
    for table, columns in schemas.items():
        section = text.split(f"## {table}\n")[1].split("\n## ")[0]
        documented = [line.split("`")[1] for line in section.splitlines() if line[:3] == "| `"]
        assert documented == list(columns), table
