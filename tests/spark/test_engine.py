"""A Spark Connect server as the engine: Apache Spark, which has no Delta here, and Sail."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from sololakehouse.cli import main
from sololakehouse.config.project import ENGINE_VARIABLE
from sololakehouse.engine import Engine, server
from sololakehouse.engine.names import NamesOnTheWire
from sololakehouse.errors import ConfigError, EngineError, RunError, StepError, UsageError
from sololakehouse.lake import Lakehouse
from sololakehouse.pipelines.query import run_query
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.provenance import Change
from tests.conftest import SALES_SOURCE, SPEC
from tests.lake import delta_log
from tests.pipelines.test_run import CLEAN_SQL, define
from tests.reference import SLH, fresh_copy
from tests.spark import sail

CHANGE = Change("TEST", "f")
NAMES = {"Apache Spark": r"Apache Spark 4\.\d+\.\d+ \(server\)", "Sail": r"Sail [\d.]+ \(server\)"}


@pytest.fixture
def server_sales(sales, address, monkeypatch):
    """Give the project of sales on a server."""
    monkeypatch.setenv(ENGINE_VARIABLE, address)
    return sales


@pytest.mark.parametrize(
    "address",
    ["Sail", pytest.param("Apache Spark", marks=pytest.mark.spark_suite)],
    indirect=True,
)
def test_the_reference_project_is_the_same_on_a_server(demo, address, tmp_path, request):
    folder = fresh_copy(tmp_path / "nyc_flights")
    shutil.copytree(demo.folder / "warehouse" / "bronze", folder / "warehouse" / "bronze")
    run = [SLH, "run", "--json"]
    computed = json.loads(said(folder, *run, "--engine", address).splitlines()[-1])["tables"]
    names = [row["table"] for row in computed if row["version"] is not None]
    assert len(names) == 14
    lake = Lakehouse.open(folder)
    theirs, ours = ({n: one.read(n) for n in names} for one in (lake, demo.lake))
    assert {n: t.record.manifest for n, t in theirs.items()} == {
        n: t.record.manifest for n, t in ours.items()
    }
    assert {n: t.columns for n, t in theirs.items()} == {n: t.columns for n, t in ours.items()}
    kind = NAMES[request.node.callspec.params["address"]]
    assert all(re.fullmatch(kind, table.record.engine) for table in theirs.values())
    again = json.loads(said(folder, *run, "--dry-run"))
    assert {row["state"] for row in again} <= {"up to date", "view"}


def said(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_query_means_what_it_says_also_about_older_versions(server_sales):
    writer = server_sales.writer()
    for number in (1, 2):
        writer.write_frame("gold.t", pl.DataFrame({"n": [number]}), CHANGE)
    for number in (3, 4):
        writer.write_frame("silver.t", pl.DataFrame({"n": [number]}), CHANGE)
    sql = (
        "SELECT gold.t.n AS a, t.n AS b, 'gold.t' AS c, (SELECT max(n) FROM silver.t) AS d, "
        "old.n AS e FROM gold.t JOIN silver.t VERSION AS OF 1 AS old ON old.n = gold.t.n + 1"
    )
    assert run_query(server_sales.lake, sql).to_pylist() == [
        {"a": 2, "b": 2, "c": "gold.t", "d": 4, "e": 3}
    ]
    old = "SELECT t.n FROM gold.t@v1"
    assert run_query(server_sales.lake, old).to_pylist() == [{"n": 1}]
    runs = "SELECT count(*) AS n FROM system.table_commits WHERE table_name = 'gold.t'"
    assert run_query(server_sales.lake, runs).to_pylist()[0]["n"] >= 2


def test_a_mistake_in_a_query_names_the_tables_as_the_person_did(server_sales):
    with pytest.raises(UsageError, match="amont") as error:
        run_query(server_sales.lake, "SELECT bronze.sales.amont FROM bronze.sales")
    assert "slh_" not in str(error.value)


def test_a_column_that_older_files_lack_is_null_there(server_sales):
    writer = server_sales.writer()
    writer.write_frame("gold.t", pl.DataFrame({"id": [1]}), CHANGE)
    with writer.staging() as folder:
        pl.DataFrame({"note": ["x"], "id": [2]}).write_parquet(folder / "a.parquet")
        writer.commit("gold.t", folder, CHANGE, mode="append", evolve=True)
    rows = run_query(server_sales.lake, "SELECT * FROM gold.t ORDER BY id").to_pylist()
    assert rows == [{"id": 1, "note": None}, {"id": 2, "note": "x"}]
    assert run_query(server_sales.lake, "SELECT * FROM gold.t@v1").to_pylist() == [{"id": 1}]


def test_partitions_of_other_writers_have_their_values_and_types(server_sales):
    frame = pl.DataFrame({"code": ["007", "a b", None], "day": [1, 2, 3], "n": [1, 2, 3]})
    write_deltalake(server_sales.lake.path("gold.p"), frame, partition_by=["code", "day"])
    rows = run_query(server_sales.lake, "SELECT * FROM gold.p ORDER BY n").to_pylist()
    assert rows == frame.to_dicts()


def test_deletion_vectors_are_refused_without_delta(sales, spark, monkeypatch):
    monkeypatch.setenv(ENGINE_VARIABLE, spark.address)
    delta_log.deletion_vectors(sales.lake.path("silver.dv"), [1], inline=True)
    message = r"silver\.dv uses the Delta feature deletionVectors, .* Use 'engine: embedded'"
    with pytest.raises(RunError, match=message):
        run_query(sales.lake, "SELECT * FROM silver.dv")
    define(sales, CLEAN_SQL, "clean.sql")
    assert sales.run()[0].snapshot.rows == 3


def test_two_projects_and_two_runs_do_not_see_each_other(server_sales, tmp_path):
    define(server_sales, CLEAN_SQL, "clean.sql")
    other = type(server_sales)(tmp_path / "other")
    other.write("lakehouse.yml", SALES_SOURCE)
    other.write("spark-pipeline.yml", SPEC)
    other.write("transformations/clean.sql", CLEAN_SQL.replace("bronze.sales", "bronze.other"))
    schema = {"id": pl.Int64, "shop": pl.String, "sold_at": pl.Datetime("us", "UTC")}
    rows = pl.DataFrame({}, schema | {"amount": pl.Float64})
    other.writer().write_frame("bronze.other", rows, CHANGE)
    with prepare(server_sales.lake) as ours, prepare(other.lake) as theirs:
        execute(theirs, other.writer())
        execute(ours, server_sales.writer())
    rows = [one.lake.read("silver.clean").rows for one in (server_sales, other)]
    assert rows == [3, 0]


def test_rows_that_a_query_was_resolved_without_are_read(server_sales):
    define(server_sales, CLEAN_SQL, "clean.sql")
    body = """
@dp.materialized_view(name="gold.north")
@expect_or_drop("has an id", "id IS NOT NULL")
def north():
    return spark.read.table("silver.clean").withColumns({"n": F.col("id") + 1}).select("id", "n")
"""
    define(server_sales, body)
    server_sales.run()
    assert server_sales.lake.read("gold.north").rows == 3


def databases(address: str) -> list[str]:
    with Engine.start(address) as engine:
        ours = engine._space
        shown = engine.session.sql("SHOW DATABASES LIKE 'slh_*'").toArrow().to_pylist()
    names = [next(iter(row.values())) for row in shown]
    return [name for name in names if not name.startswith(ours)]


def test_a_run_leaves_nothing_on_the_server(server_sales, address):
    define(server_sales, CLEAN_SQL, "clean.sql")
    server_sales.run()
    assert databases(address) == []
    assert list((server_sales.folder / "warehouse" / "_staging").iterdir()) == []


def test_what_a_killed_run_left_on_the_server_is_removed_by_the_next(spark, tmp_path):
    program = (
        "import os, sys; from sololakehouse.engine import Engine\n"
        "with Engine.start(sys.argv[1]) as engine:\n    engine.use('silver'); os._exit(9)"
    )
    (tmp_path / "killed.py").write_text(program)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, tmp_path / "killed.py", spark.address],
        env={**os.environ, "TMPDIR": str(temporary)},
        check=False,
    )
    assert done.returncode == 9
    assert len(databases(spark.address)) == 1
    shutil.rmtree(temporary)
    assert databases(spark.address) == []


def test_a_server_that_does_not_see_the_files_is_refused(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def here_only():
        yield Path("/proc/self/cwd")

    message = "does not see this machine's files: it cannot read /proc/self/cwd/probe.txt"
    with pytest.raises(EngineError, match=message), Engine.start(address, here_only):
        pass


def test_a_server_that_is_not_there(sales, monkeypatch, capsys):
    monkeypatch.chdir(sales.folder)
    sales.write("lakehouse.yml", SALES_SOURCE + "engine: sc://localhost:1/;token=secret\n")
    define(sales, CLEAN_SQL, "clean.sql")
    monkeypatch.setattr("sys.argv", ["slh", "run"])
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("Error: No Spark Connect server answers at sc://localhost:1. ")
    assert "docs/pipelines.md" in said
    assert "secret" not in said
    assert time.monotonic() - began < 10


def test_a_server_that_goes_away_fails_the_step(sales, tmp_path, monkeypatch):
    from pyspark.sql.connect.client.retries import DefaultPolicy

    policy = server._patience()
    monkeypatch.setattr(server, "_patience", lambda: DefaultPolicy(max_retries=1))
    assert 0 < policy.max_retries * policy.max_backoff <= 40_000
    define(sales, CLEAN_SQL, "clean.sql")
    message = r"silver\.clean .*: the Spark Connect server does not answer any more\. The table"
    with sail.started(tmp_path) as (process, address), pytest.raises(StepError, match=message):
        run_without_server(Lakehouse.open(sales.folder, engine=address), sales.writer(), process)
    assert not sales.lake.exists("silver.clean")
    assert list((sales.folder / "warehouse" / "_staging").iterdir()) == []


def run_without_server(lake, writer, process):
    with prepare(lake) as pipeline:
        process.kill()
        process.wait()
        execute(pipeline, writer)


def test_ctrl_c_ends_what_the_server_computes(sales, spark):
    endless = """
@dp.materialized_view(name="gold.x")
def x():
    return spark.range({}).select(F.sum(F.sqrt("id")).alias("n"))
"""
    define(sales, endless.format(10**13))
    process = subprocess.Popen(
        [SLH, "run", "--engine", spark.address],
        cwd=sales.folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = sales.folder / "warehouse" / "_staging"
    deadline = time.monotonic() + 120
    while not folder.is_dir() or len(list(folder.iterdir())) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.split()[0]) == (130, "Stopped.")
    define(sales, endless.format(10))
    command = [SLH, "run", "--engine", spark.address]
    assert subprocess.run(command, cwd=sales.folder, timeout=120, check=False).returncode == 0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "engine", ["cluster", "sc://", "sc://host:70000", "http://host:15002", "sc://host:15002/x", ""]
)
def test_an_engine_that_is_none(sales, engine, monkeypatch):
    sales.write("lakehouse.yml", SALES_SOURCE + f"engine: '{engine}'\n")
    with pytest.raises(ConfigError, match=r"lakehouse\.yml: engine: .* is no engine"):
        Lakehouse.open(sales.folder)
    sales.write("lakehouse.yml", SALES_SOURCE)
    with pytest.raises(ConfigError, match=r"^--engine: .* is no engine. Write 'embedded', or"):
        Lakehouse.open(sales.folder, engine=engine)
    if engine:
        monkeypatch.setenv(ENGINE_VARIABLE, engine)
        with pytest.raises(ConfigError, match=f"^{ENGINE_VARIABLE}: .* is no engine"):
            Lakehouse.open(sales.folder)


def test_the_option_goes_before_the_environment_and_that_before_the_file(sales, monkeypatch):
    sales.write("lakehouse.yml", SALES_SOURCE + "engine: sc://file:1\n")
    assert sales.lake.project.settings.engine == "sc://file:1"
    monkeypatch.setenv(ENGINE_VARIABLE, "sc://[::1]:2/;use_ssl=true;token=abc=")
    assert sales.lake.project.settings.engine_name == "sc://[::1]:2"
    assert Lakehouse.open(sales.folder, engine="embedded").project.settings.engine == "embedded"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("SELECT * FROM silver.t", "SELECT * FROM s_silver.t"),
        ("FROM `silver`.t SELECT silver.t.n", "FROM `s_silver`.t SELECT s_silver.t.n"),
        (
            "SELECT silver.n, 'gold.x' FROM gold.x silver",
            "SELECT silver.n, 'gold.x' FROM s_gold.x silver",
        ),
        ("SELECT a.b.c.d FROM a.b -- a.b", "SELECT s_a.b.c.d FROM s_a.b -- a.b"),
        ("SELECT * FROM a JOIN (SELECT 1 FROM b.c)", "SELECT * FROM a JOIN (SELECT 1 FROM s_b.c)"),
        (
            "WITH t AS (SELECT 1 AS n) SELECT t.n FROM t",
            "WITH t AS (SELECT 1 AS n) SELECT t.n FROM t",
        ),
        ("CREATE VIEW silver.v AS SELECT 1", "CREATE VIEW silver.v AS SELECT 1"),
        ("TABLE slh_00000000_silver.t", "TABLE slh_00000000_silver.t"),
    ],
)
def test_only_databases_are_renamed_on_the_wire(query, sent):
    assert NamesOnTheWire("s_").in_sql(query) == sent
