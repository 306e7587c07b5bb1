"""One moment per run, which sources can ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sololakehouse.errors import UsageError
from sololakehouse.lake.reference import parse_moment
from sololakehouse.pipelines.run import execute, prepare
from tests.cli.conftest import slh  # noqa: F401  (a fixture)
from tests.conftest import SPEC
from tests.pipelines.test_run import define
from tests.pipelines.test_streaming import deliver

SQL = """\
CREATE MATERIALIZED VIEW silver.m AS
SELECT id FROM bronze.sales WHERE sold_at <= TIMESTAMP '${pipelines.as_of}';
CREATE MATERIALIZED VIEW silver.plain AS SELECT id FROM bronze.sales;
"""
IN_FUNCTION = """
@dp.materialized_view(name="silver.m")
def m():
    moment = spark.conf.get("pipelines.as_of")
    return spark.table("bronze.sales").where(F.col("sold_at") <= F.lit(moment).cast("timestamp"))
"""
IN_FILE = """
from datetime import datetime
MOMENT = datetime.fromisoformat(spark.conf.get("pipelines.as_of"))


@dp.materialized_view(name="silver.m")
def m():
    return spark.table("bronze.sales").where(F.col("sold_at") <= F.lit(MOMENT))
"""
IN_TEXT = """
@dp.materialized_view(name="silver.m")
def m():
    return spark.sql(
        "SELECT id FROM bronze.sales WHERE sold_at <= TIMESTAMP '${pipelines.as_of}'"
    )
"""
IN_VIEW = """
@dp.temporary_view
def v():
    return spark.range(1).select(F.lit(spark.conf.get("pipelines.as_of")).alias("moment"))


@dp.materialized_view(name="silver.m")
def m():
    sales, v = spark.table("bronze.sales"), spark.table("v")
    return sales.join(v, F.col("sold_at") <= F.col("moment").cast("timestamp")).select("id")
"""
WAYS = {
    "SQL": (SQL, "m.sql"),
    "a function": (IN_FUNCTION, "m.py"),
    "a file": (IN_FILE, "m.py"),
    "text": (IN_TEXT, "m.py"),
    "a view": (IN_VIEW, "m.py"),
}
FIRST = "2026-01-01T12:00:00Z"


def run(project, moment: str | None = None):
    given = parse_moment(moment) if moment else None
    with prepare(project.lake, as_of=given) as pipeline:
        return execute(pipeline, project.writer())


def reasons(project, moment: str | None = None) -> dict[str, tuple[str, str]]:
    given = parse_moment(moment) if moment else None
    with prepare(project.lake, as_of=given) as pipeline:
        return {step.name: (step.state, step.reason) for step in pipeline.steps}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_has_one_moment(sales, way):
    text, name = WAYS[way]
    define(sales, text, name)
    run(sales, FIRST)
    assert sorted(sales.lake.read("silver.m").to_polars()["id"]) == [1, 2]
    assert sales.lake.read("silver.m").record.details["pipelines.as_of"] == FIRST
    assert reasons(sales, FIRST)["silver.m"] == ("up to date", "v1")
    moved = "2026-01-01T23:00:00+10:30"
    why = "it uses the moment of the run, 2026-01-01T12:30:00Z"
    assert reasons(sales, moved)["silver.m"] == ("run", why)
    run(sales)
    assert sorted(sales.lake.read("silver.m").to_polars()["id"]) == [1, 2, 3]


def test_without_one_the_moment_is_the_start_of_the_run(sales):
    define(sales, SQL, "m.sql")
    before = datetime.now(UTC)
    run(sales)
    record = sales.lake.read("silver.m").record
    moment = datetime.fromisoformat(record.details["pipelines.as_of"])
    assert before <= moment <= before + timedelta(minutes=1)
    assert reasons(sales)["silver.m"][0] == "run"


def test_only_what_asks_is_affected(sales):
    define(sales, SQL, "m.sql")
    run(sales, FIRST)
    assert "pipelines.as_of" not in sales.lake.read("silver.plain").record.details
    assert reasons(sales, "2027-01-01T00:00:00Z")["silver.plain"] == ("up to date", "v1")


def test_other_reasons_come_first(sales):
    define(sales, SQL, "m.sql")
    run(sales, FIRST)
    deliver(sales, "2026-02", 4)
    assert reasons(sales)["silver.m"] == ("run", "bronze.sales has a new version")
    run(sales, FIRST)
    define(sales, SQL.replace("<=", "<"), "m.sql")
    assert reasons(sales, FIRST)["silver.m"] == ("run", "its definition changed")


def test_the_spec_may_say_it_and_the_run_says_it_last(sales):
    define(sales, SQL, "m.sql")
    configured = f"configuration: {{pipelines.as_of: '{FIRST}'}}\n"
    sales.write("spark-pipeline.yml", SPEC + configured)
    run(sales)
    assert sales.lake.read("silver.m").rows == 2
    assert sales.plan()["silver.m"] == "up to date"
    run(sales, "2026-02-01T00:00:00Z")
    assert sales.lake.read("silver.m").rows == 3


@pytest.mark.parametrize("moment", ["2013-12-31", "2013-12-31T00:00:00", "yesterday"])
def test_a_moment_has_a_time_zone(sales, slh, moment):  # noqa: F811
    define(sales, SQL, "m.sql")
    said = slh("run", "--as-of", moment, folder=sales.folder)
    assert said.code == 2
    assert "2026-01-31T00:00:00Z" in said.err or f"{moment[:10]}T00:00:00Z for UTC" in said.err
    assert not sales.lake.exists("silver.m")
    with pytest.raises(UsageError):
        parse_moment(moment)


def test_the_command_line_takes_it(sales, slh):  # noqa: F811
    define(sales, SQL, "m.sql")
    said = slh("run", "--as-of", FIRST, folder=sales.folder)
    assert said.code == 0, said.err
    assert sales.lake.read("silver.m").rows == 2
    later = ("--as-of", "2026-01-02T00:00:00Z")
    said = slh("run", "--dry-run", "--json", *later, folder=sales.folder)
    assert "it uses the moment of the run, 2026-01-02T00:00:00Z" in said.out
