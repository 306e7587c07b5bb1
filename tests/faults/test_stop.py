"""Ctrl-C while several steps are at work: whole tables, an answer, and the next run goes on."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.faults.shop import check_every_table, orphans
from tests.faults.test_kill import SEED, appears, finish

SLOW = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.active()

for number in range(4):
    @dp.materialized_view(name=f"gold.slow_{number}")
    def slow(number=number):
        many = spark.range(700_000).selectExpr(f"(id * {number + 3}) % 1009 AS n")
        rows = spark.table("silver.sales").crossJoin(many)
        return rows.groupBy("shop").agg(F.sum(F.sqrt("n").cast("bigint")).alias("n"))
"""
TABLES = [f"gold.slow_{number}" for number in range(4)]
MOMENTS = {
    "a run begins": "_locks/project.json",
    "steps are at work": "_staging/*",
    "the first slow table is there": "gold/slow_*/_delta_log/*1.json",
}


@pytest.fixture
def slow(shop):
    shop.project.write("transformations/slow.py", SLOW)
    shop.deliver()
    return shop


def stopped(shop, moment: str, seconds: float) -> tuple[int, str, float]:
    """Send SIGINT a little after something can be seen; the code, the words and the seconds."""
    seen = appears(shop.warehouse, MOMENTS[moment])
    process = shop.start("run", "--parallel", "2")
    while process.poll() is None and not seen():
        time.sleep(0.001)
    time.sleep(seconds)
    began = time.perf_counter()
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said, time.perf_counter() - began


def digests(shop) -> dict[str, str]:
    return shop.manifests() | {name: shop.lake.read(name).record.manifest.digest for name in TABLES}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_whole_tables_and_the_next_run_goes_on(slow, slh, moment):
    finish(slow, slh, "ingest")
    moments = random.Random(SEED)
    code, said, seconds = stopped(slow, moment, moments.uniform(0, 0.3))
    assert code in (130, -signal.SIGINT), said
    assert "Stopped. Every table is as its last commit left it." in said
    assert "Traceback" not in said
    assert seconds < 20
    check_every_table(slow.lake)
    assert orphans(slow.lake) == set()
    assert [*slow.warehouse.glob("_staging/*")] == []
    made = {name: slow.lake.read(name).version for name in TABLES if slow.lake.exists(name)}
    if moment == "the first slow table is there":
        assert made
        assert len(made) < len(TABLES)
        assert "tables were computed (" in said
        assert all(f"{name}@v1" in said for name in made)
        assert "'slh run' goes on from there." in said
    finish(slow, slh, "run")
    assert {name: slow.lake.read(name).version for name in made} == made
    slow.check_all()
    found = digests(slow)
    finish(slow, slh, ["run", "--full-refresh-all"][0])
    assert digests(slow) == found
    said = slh("run", "--full-refresh-all", "--parallel", "1", folder=slow.folder)
    assert said.code == 0
    assert {name: slow.lake.read(name).version for name in TABLES} == dict.fromkeys(TABLES, 2)
    assert digests(slow) == found


def test_what_was_at_work_is_in_the_log(slow, slh):
    finish(slow, slh, "ingest")
    stopped(slow, "the first slow table is there", 0)
    steps = slow.lake.read("system.steps").to_polars()
    runs = slow.lake.read("system.runs").to_polars()
    assert runs.filter(runs["command"] == "run")["error"].to_list() == ["Stopped by the person."]
    failed = steps.filter(steps["state"] == "FAILED")
    assert set(failed["reason"]) <= {"Stopped by the person."}
    assert set(failed["step"]) <= {*TABLES, "gold.totals", "gold.top"}
    assert "COMPLETED" in steps["state"].to_list()
