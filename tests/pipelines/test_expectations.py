"""Expectations: what is counted, dropped, kept apart and refused, against a plain-Python oracle."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sololakehouse.errors import DefinitionError, ExpectationError, RunError, StepError
from sololakehouse.lake import LakeWriter
from sololakehouse.lake.optimize import optimize
from sololakehouse.pipelines import compute
from sololakehouse.pipelines.query import run_query
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.selection import Selection
from sololakehouse.provenance import Change, Run
from sololakehouse.quality import length_of_time
from tests.conftest import SPEC
from tests.pipelines.test_run import HEAD
from tests.pipelines.test_streaming import deliver

IMPORTS = HEAD + "from sololakehouse.quality import *\n"
QUARANTINED = 'table_properties={"pipelines.quarantine": "true"}'
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def define(project, body: str, name: str = "x.py") -> None:
    text = IMPORTS + body if name.endswith(".py") else body
    project.write(f"transformations/{name}", text)


def run_at(project, moment: datetime, **selection):
    run = Run(f"{moment:%Y%m%dT%H%M%S}-{uuid4().hex[:8]}", "embedded", None, moment, "somebody")
    with prepare(project.lake, Selection(**selection)) as pipeline:
        return execute(pipeline, LakeWriter(project.lake, run))


def results(project, table: str) -> dict[str, tuple[str, int, int]]:
    record = project.lake.read(table).record
    return {e.name: (e.action, e.rows, e.violations) for e in record.expectations}


def rows(project, table: str, *columns: str) -> list[tuple]:
    return sorted(project.lake.read(table).to_polars().select(columns or pl.all()).rows(), key=repr)


# --- the oracle ---------------------------------------------------------------------------------

CONDITIONS = {
    "a > 0": lambda a, _: None if a is None else a > 0,
    "b = 'x'": lambda _, b: equal(b, "x"),
    "a IS NOT NULL": lambda a, _: a is not None,
    "a < 3 OR b = 'y'": lambda a, b: either(None if a is None else a < 3, equal(b, "y")),
    "b <> 'z'": lambda _, b: None if b is None else b != "z",
}
VALUES = st.tuples(st.one_of(st.none(), st.integers(-2, 4)), st.sampled_from([None, "x", "y", "z"]))
CHECKS = st.lists(
    st.tuples(st.sampled_from(list(CONDITIONS)), st.sampled_from(["warn", "drop", "fail"])),
    max_size=4,
)
DECORATORS = {"warn": "expect", "drop": "expect_or_drop", "fail": "expect_or_fail"}


def equal(one, two):
    return None if one is None else one == two


def either(one, two):
    if one or two:
        return True
    return None if one is None or two is None else False


def violates(row, condition: str) -> bool:
    return CONDITIONS[condition](*row) is not True


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("expectations")


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(tables=st.lists(VALUES, max_size=8), flows=st.lists(CHECKS, min_size=1, max_size=2))
def test_rows_counts_and_quarantine_are_those_of_the_oracle(scratch, tables, flows):
    project = lone_project(scratch, tables)
    checks = {
        f"e{flow}{number}": (flow, condition, action)
        for flow, found in enumerate(flows)
        for number, (condition, action) in enumerate(found)
    }
    drops = any(action == "drop" for _, _, action in checks.values())
    define(project, streaming_source(flows, checks, drops=drops))
    broken = [
        name
        for name, (_, condition, action) in checks.items()
        if action == "fail" and any(violates(row, condition) for row in tables)
    ]
    if broken:
        with pytest.raises(ExpectationError) as error:
            project.run()
        assert all(f"'{name}'" in str(error.value) for name in broken)
        assert project.lake.table_names() == ["bronze.t"]
        return
    project.run()
    stored, dropped = [], []
    for flow in range(len(flows)):
        mine = {n: c for n, (f, c, action) in checks.items() if f == flow and action == "drop"}
        for row in tables:
            reasons = [name for name, condition in mine.items() if violates(row, condition)]
            (dropped if reasons else stored).append((*row, reasons) if reasons else row)
    assert Counter(rows(project, "silver.t")) == Counter(stored)
    assert results(project, "silver.t") == {
        name: (action, len(tables), sum(violates(row, condition) for row in tables))
        for name, (_, condition, action) in checks.items()
    }
    if drops:
        kept = project.lake.read("silver.t_quarantine").to_polars()
        found = [(a, b, reasons) for a, b, reasons in kept["a", "b", "_violated"].rows()]
        assert sorted(found, key=repr) == sorted(dropped, key=repr)
        assert set(kept["_version"]) <= {project.versions()["silver.t"]}


def lone_project(scratch, values):
    import shutil

    from tests.conftest import ProjectFolder

    for name in ("warehouse", "transformations"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    project = ProjectFolder(scratch)
    project.write("lakehouse.yml", "name: test\n")
    project.write("spark-pipeline.yml", SPEC)
    frame = pl.DataFrame(values, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    project.writer().write_frame("bronze.t", frame, Change("TEST", "1"))
    return project


def streaming_source(flows, checks, *, drops: bool) -> str:
    properties = QUARANTINED if drops else "table_properties={}"
    text = f'dp.create_streaming_table("silver.t", {properties})\n'
    for flow in range(len(flows)):
        text += f'\n@dp.append_flow(target="silver.t", name="f{flow}")\n'
        for name, (of, condition, action) in checks.items():
            if of == flow:
                text += f'@{DECORATORS[action]}("{name}", "{condition}")\n'
        order = '"a", "b"' if flow == 0 else '"b", "a"'
        text += f'def f{flow}():\n    return spark.readStream.table("bronze.t").select({order})\n'
    return text


# --- one pass -----------------------------------------------------------------------------------


def test_a_query_that_drops_rows_is_computed_once(sales):
    define(
        sales,
        """
@dp.materialized_view(name="gold.x", table_properties={"pipelines.deterministic": "false"})
@expect_or_drop("low", "luck < 0.5")
@expect("known", "luck IS NOT NULL")
def x():
    return spark.range(2000).select(F.rand().alias("luck"))
""",
    )
    sales.run()
    table = sales.lake.read("gold.x")
    ((_, seen, dropped), known) = results(sales, "gold.x").values()
    assert (seen, known) == (2000, ("warn", 2000, 0))
    assert table.rows == 2000 - dropped
    assert table.to_polars()["luck"].max() < 0.5


def test_types_survive_when_rows_are_dropped(sales):
    columns = """
        "id", "CAST(amount AS DECIMAL(12, 3)) AS dec", "CAST(sold_at AS TIMESTAMP_NTZ) AS ntz",
        "CAST(sold_at AS DATE) AS day", "sold_at", "array(id, NULL) AS many",
        "named_struct('s', shop) AS part", "CAST(id AS TINYINT) AS tiny", "id = 1 AS one",
        "CAST(shop AS BINARY) AS raw", "CAST(NULL AS DOUBLE) AS none"
    """
    body = f"""
@dp.materialized_view(name="gold.plain")
def plain():
    return spark.table("bronze.sales").selectExpr({columns}).where("id < 3")

@dp.materialized_view(name="gold.checked")
@expect_or_drop("small", "id < 3")
def checked():
    return spark.table("bronze.sales").selectExpr({columns})
"""
    define(sales, body)
    sales.run()
    plain, checked = (sales.lake.read(f"gold.{name}") for name in ("plain", "checked"))
    assert checked.fields == plain.fields
    assert checked.record.manifest == plain.record.manifest
    assert [name for name in checked.columns if name.startswith("__")] == []


def test_all_rows_may_be_dropped(sales):
    define(
        sales,
        f"""
@dp.materialized_view(name="gold.x", {QUARANTINED})
@expect_or_drop("none", "id > 100")
def x():
    return spark.table("bronze.sales").select("id", "shop")
""",
    )
    sales.run()
    assert (sales.lake.read("gold.x").rows, list(sales.lake.read("gold.x").columns)) == (
        0,
        ["id", "shop"],
    )
    assert rows(sales, "gold.x_quarantine", "id", "_violated") == [(n, ["none"]) for n in (1, 2, 3)]


def test_constraints_of_a_streaming_table_hold_for_the_flows_that_fill_it(sales):
    define(
        sales,
        """\
CREATE STREAMING TABLE silver.x (CONSTRAINT early EXPECT (id < 3) ON VIOLATION DROP ROW);
CREATE FLOW one AS INSERT INTO silver.x BY NAME SELECT id FROM STREAM(bronze.sales);
CREATE FLOW two AS INSERT INTO silver.x BY NAME SELECT id + 1 AS id FROM STREAM(bronze.sales);
""",
        "x.sql",
    )
    sales.run()
    assert rows(sales, "silver.x") == [(1,), (2,), (2,)]
    assert results(sales, "silver.x") == {"early": ("drop", 6, 3)}


def test_each_flow_has_its_own_expectations_and_the_table_those_of_all(sales):
    define(
        sales,
        """
dp.create_streaming_table("silver.x", table_properties={"expect.all": "id < 3"})

@dp.append_flow(target="silver.x")
@expect("of one", "id > 1")
def one():
    return spark.readStream.table("bronze.sales").select("id")

@dp.append_flow(target="silver.x")
def two():
    return spark.readStream.table("bronze.sales").where("id <> 2").select("id")
""",
    )
    sales.run()
    assert results(sales, "silver.x") == {"of one": ("warn", 3, 1), "all": ("warn", 5, 2)}


# --- failures -----------------------------------------------------------------------------------


def test_all_failed_expectations_are_said_with_three_rows_each(sales):
    deliver(sales, "2026-02", 4, 5, 6, 7)
    define(
        sales,
        """
@dp.materialized_view(name="gold.x")
@expect_or_fail("small", "id < 2")
@expect_or_fail("known", "amount IS NOT NULL")
@expect_unique_or_fail("one per shop", "shop")
@expect("not asked", "false")
def x():
    return spark.table("bronze.sales").select("id", "shop", "amount")
""",
    )
    with pytest.raises(ExpectationError) as error:
        sales.run()
    said, *lines = str(error.value).splitlines()
    assert said == "gold.x: 3 expectations are violated. The table is as it was."
    assert lines[0] == "  6 of 7 rows violate 'small' (id < 2)"
    assert [line[:7] for line in lines[1:4]] == ["    id="] * 3
    assert lines[4:6] == [
        "  1 of 7 rows violate 'known' (amount IS NOT NULL)",
        "    id=2, shop='south', amount=NULL",
    ]
    assert lines[6:] == [
        "  4 of 7 rows have a key that is there already, against 'one per shop' (shop)",
        "    shop='east' (4 rows)",
        "    shop='north' (2 rows)",
    ]
    assert "gold.x" not in sales.lake.table_names()


def test_a_failure_leaves_table_and_quarantine_as_they_were(sales):
    body = f"""
@dp.table(name="silver.x", {QUARANTINED})
@expect_or_drop("known", "amount IS NOT NULL")
@expect_or_fail("small", "id < 5")
def x():
    return spark.readStream.table("bronze.sales").select("id", "amount")
"""
    define(sales, body)
    sales.run()
    before = sales.versions()
    deliver(sales, "2026-02", 4, 5)
    with pytest.raises(ExpectationError, match=r"1 of 2 rows violate 'small'"):
        sales.run()
    now = sales.versions()
    assert (now["silver.x"], now["silver.x_quarantine"]) == (
        before["silver.x"],
        before["silver.x_quarantine"],
    )


def test_a_row_that_is_dropped_may_fail_the_run_as_well(sales):
    define(
        sales,
        """
@dp.materialized_view(name="gold.x")
@expect_or_drop("known", "amount IS NOT NULL")
@expect_or_fail("in the north", "shop = 'north'")
def x():
    return spark.table("bronze.sales").select("shop", "amount")
""",
    )
    with pytest.raises(ExpectationError, match="1 of 3 rows violate 'in the north'") as error:
        sales.run()
    assert "shop='south', amount=NULL" in str(error.value)


# --- the quarantine -----------------------------------------------------------------------------

QUARANTINED_VIEW = f"""
@dp.materialized_view(name="silver.x", {QUARANTINED})
@expect_or_drop("known", "amount IS NOT NULL")
@expect_or_drop("it's north", "shop = 'north'")
def x():
    return spark.table("bronze.sales").select("id", "shop", "amount")
"""
QUARANTINED_STREAM = f"""
@dp.table(name="silver.x", {QUARANTINED})
@expect_or_drop("even", "id % 2 = 0")
def x():
    return spark.readStream.table("bronze.sales").select("id")
"""


def test_a_view_keeps_the_rows_that_are_not_in_it(sales):
    define(sales, QUARANTINED_VIEW)
    (done,) = sales.run()
    kept = sales.lake.read("silver.x_quarantine")
    run_id = sales.lake.read("silver.x").record.run_id
    assert kept.to_polars().rows() == [(2, "south", None, ["known", "it's north"], run_id, 1)]
    assert (kept.record.operation, kept.record.inputs) == (
        "QUARANTINE",
        done.snapshot.record.inputs,
    )
    deliver(sales, "2026-02", 4)
    sales.run()
    assert rows(sales, "silver.x_quarantine", "id", "_version") == [(2, 1), (4, 2)]
    sales.run()
    assert sales.versions()["silver.x_quarantine"] == 2
    run_at(sales, datetime.now(UTC), full_refresh_all=True)
    assert rows(sales, "silver.x_quarantine", "id", "_version") == [(2, 3), (4, 3)]


def test_a_view_that_drops_nothing_any_more_empties_its_quarantine(sales):
    define(sales, QUARANTINED_VIEW)
    sales.run()
    define(sales, QUARANTINED_VIEW.replace("IS NOT NULL", "> 0 OR true").replace("= 'n", "<> 'n"))
    sales.run()
    assert sales.lake.read("silver.x_quarantine").rows == 2
    define(sales, QUARANTINED_VIEW.replace("IS NOT NULL", "> 0 OR true").replace("= 'n", "<> 'x"))
    sales.run()
    assert sales.lake.read("silver.x_quarantine").rows == 0


def test_the_quarantine_of_a_stream_grows(sales):
    define(sales, QUARANTINED_STREAM)
    sales.run()
    deliver(sales, "2026-02", 4, 5)
    sales.run()
    deliver(sales, "2026-03", 6)
    sales.run()
    assert rows(sales, "silver.x") == [(2,), (4,), (6,)]
    assert rows(sales, "silver.x_quarantine", "id", "_version") == [(1, 1), (3, 1), (5, 2)]
    assert sales.versions()["silver.x_quarantine"] == 2
    sales_of_runs = {
        (row["run_id"], row["version"])
        for row in run_query(
            sales.lake,
            "SELECT run_id, version FROM system.table_commits WHERE table_name = 'silver.x' "
            "AND run_id IS NOT NULL",
        ).to_pylist()
    }
    assert set(rows(sales, "silver.x_quarantine", "_run_id", "_version")) <= sales_of_runs


def test_a_full_refresh_starts_the_quarantine_of_a_stream_over(sales):
    define(sales, QUARANTINED_STREAM)
    sales.run()
    run_at(sales, NOON, full_refresh=("silver.x",))
    assert rows(sales, "silver.x_quarantine", "id", "_version") == [(1, 2), (3, 2)]


def test_the_version_is_that_of_the_table_if_its_properties_change_as_well(sales):
    define(sales, QUARANTINED_STREAM)
    sales.run()
    deliver(sales, "2026-02", 5)
    define(sales, QUARANTINED_STREAM.replace('": "true"', '": "true", "owner": "me"'))
    sales.run()
    assert sales.versions()["silver.x"] == 3
    assert rows(sales, "silver.x_quarantine", "id", "_version") == [(1, 1), (3, 1), (5, 3)]


class Killed(BaseException):
    """The process ends between the two commits."""


@pytest.mark.parametrize("source", [QUARANTINED_STREAM, QUARANTINED_VIEW])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("arranged", [True, False])
def test_a_crash_between_the_commits_doubles_nothing(sales, monkeypatch, source, first, arranged):
    define(sales, source)
    if not first:
        sales.run()
    deliver(sales, "2026-02", 5)
    commit = LakeWriter.commit

    def killed(self, table, *args, **kwargs):
        if table == "silver.x":
            raise Killed
        return commit(self, table, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(LakeWriter, "commit", killed)
        with pytest.raises(StepError, match="Killed"):
            sales.run()
    if arranged:
        optimize(sales.writer(), "silver.x_quarantine", zorder=("id",))
    deliver(sales, "2026-03", 7, 9)
    sales.run()
    seen = rows(sales, "bronze.sales", "id")
    stored = {row[0] for row in rows(sales, "silver.x")}
    dropped = [row[0] for row in rows(sales, "silver.x_quarantine", "id")]
    assert sorted([*dropped, *stored]) == [row[0] for row in seen]
    runs = {entry.record.run_id for entry in sales.lake.history("silver.x") if entry.record}
    assert set(sales.lake.read("silver.x_quarantine").to_polars()["_run_id"]) <= runs


def test_a_quarantine_does_not_overwrite_another_table(sales):
    frame = pl.DataFrame({"k": [1]})
    sales.writer().write_frame("silver.x_quarantine", frame, Change("TEST", "1"))
    define(sales, QUARANTINED_VIEW)
    with pytest.raises(RunError, match="but that table holds something else"):
        sales.run()
    assert "silver.x" not in sales.lake.table_names()
    assert sales.lake.read("silver.x_quarantine").rows == 1


# --- expectations of a table --------------------------------------------------------------------


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(first=st.lists(VALUES, max_size=6), then=st.lists(VALUES, max_size=6))
def test_unique_counts_the_rows_in_excess_over_the_whole_stream(scratch, first, then):
    project = lone_project(scratch, first)
    define(
        project,
        """
@dp.table(name="silver.t")
@expect_unique("a", ["a"])
@expect_unique("both", "a, b")
def t():
    return spark.readStream.table("bronze.t")
""",
    )
    project.run()
    assert excess(project) == [len(first) - len({a for a, _ in first}), len(first) - len({*first})]
    if then:
        frame = pl.DataFrame(then, schema={"a": pl.Int64, "b": pl.String}, orient="row")
        project.writer().write_frame("bronze.t", frame, Change("TEST", "2"), mode="append")
        project.run()
        every = [*first, *then]
        assert excess(project) == [
            len(every) - len({a for a, _ in every}),
            len(every) - len({*every}),
        ]


def excess(project) -> list[int]:
    found = project.lake.read("silver.t").record.expectations
    assert {(e.kind, e.rows) for e in found} == {("unique", project.lake.read("silver.t").rows)}
    return [e.violations for e in found]


FRESH = """\
CREATE MATERIALIZED VIEW silver.x TBLPROPERTIES (
  'expect_fresh{fail}.arrives' = '{column} WITHIN {within}'
) AS SELECT *, CAST(sold_at AS DATE) AS day FROM bronze.sales
"""


@pytest.mark.parametrize(
    ("column", "within", "moment", "violations"),
    [
        ("sold_at", "3 hours", NOON, 0),
        ("sold_at", "179 minutes", NOON, 1),
        ("sold_at", "2 HOURS 60 minutes", NOON, 0),
        ("sold_at", "1 second", NOON - timedelta(days=9), 0),
        ("day", "12 hours", NOON, 0),
        ("day", "11 hours", NOON, 1),
        ("amount_at", "1 week", NOON, 1),
    ],
)
def test_fresh_is_measured_against_the_moment_of_the_run(sales, column, within, moment, violations):
    source = FRESH.replace("AS day", "AS day, CAST(NULL AS TIMESTAMP) AS amount_at")
    define(sales, source.format(fail="", column=column, within=within), "x.sql")
    run_at(sales, moment)
    (found,) = sales.lake.read("silver.x").record.expectations
    assert (found.kind, found.rows, found.violations) == ("fresh", 3, violations)
    assert found.condition == f"{column} WITHIN {within}"


def test_a_table_that_is_up_to_date_gets_old(sales):
    define(sales, FRESH.format(fail="", column="sold_at", within="1 day"), "x.sql")
    run_at(sales, NOON)
    (later,) = run_at(sales, NOON + timedelta(days=2))
    assert later.step.state == "up to date"
    assert [found.violations for found in later.expectations] == [1]
    define(sales, FRESH.format(fail="_or_fail", column="sold_at", within="1 day"), "x.sql")
    run_at(sales, NOON)
    with pytest.raises(ExpectationError) as error:
        run_at(sales, NOON + timedelta(days=2))
    assert str(error.value) == (
        "silver.x: the newest value, sold_at=2026-01-02T09:00:00Z, is not WITHIN 1 day of the run "
        "at 2026-01-04T12:00:00Z, against 'arrives'. The table is as it was."
    )


@pytest.mark.parametrize(
    "text", ["", "2", "hours", "2 hous", "2hours", "-1 hours", "0 hours", "1.5 h"]
)
def test_what_is_no_length_of_time(text):
    assert length_of_time(text) is None


def test_the_lakehouse_tells_what_was_expected(sales, tmp_path):
    define(
        sales,
        """
@dp.materialized_view(name="gold.x")
@expect_or_drop("known", "amount IS NOT NULL")
@expect_unique("one", ["id", "shop"])
@expect_fresh("arrives", "sold_at", within="2 hours")
def x():
    return spark.table("bronze.sales")
""",
    )
    run_at(sales, NOON)
    optimize(sales.writer(), "gold.x", zorder=("id",))
    columns = "table_name, version, name, kind, condition, action, rows, violations, passed"
    found = run_query(sales.lake, f"SELECT {columns} FROM system.expectations").to_pylist()
    assert [tuple(row.values())[2:] for row in found] == [
        ("known", "row", "amount IS NOT NULL", "drop", 3, 1, False),
        ("one", "unique", "id, shop", "warn", 2, 0, True),
        ("arrives", "fresh", "sold_at WITHIN 2 hours", "warn", 2, 1, False),
    ]
    told = {e.name: e.violated_text for e in sales.lake.read("gold.x").expectations}
    assert told["known"] == "1 of 3 rows violate 'known' and were dropped."
    assert told["arrives"] == (
        "the newest value is older than 'arrives' allows (sold_at WITHIN 2 hours)."
    )


# --- mistakes -----------------------------------------------------------------------------------

VIEW = (
    "CREATE MATERIALIZED VIEW gold.x TBLPROPERTIES ({}) AS "
    "SELECT *, array(1) AS many FROM bronze.sales"
)
MISTAKES = {
    "'expect_unique.k' = 'id, sho'": (
        "the expectation 'k': no column 'sho'. Did you mean 'shop'? Columns:"
    ),
    "'expect_unique.k' = ' , '": "the expectation 'k' names no column.",
    "'expect_unique.k' = 'id, id'": "the expectation 'k' names the column 'id' twice.",
    "'expect_unique.k' = 'many'": "'many' is array<int>, which has no dependable equality.",
    "'expect_unique_or_drop.k' = 'id'": "nothing says which row of a key to keep.",
    "'expect_fresh_or_drop.k' = 'id'": "a table is old as a whole. Write expect_fresh",
    "'expect_fresh.k' = 'sold WITHIN 2 hours'": "no column 'sold'. Did you mean 'sold_at'?",
    "'expect_fresh.k' = 'amount WITHIN 2 hours'": (
        "'amount' is double. Name a timestamp with a time zone or a date."
    ),
    "'expect_fresh.k' = 'sold_at WITHIN 2 hous'": (
        "the expectation 'k' says '2 hous', which is no length of time. Write a number and one of "
        "seconds, minutes, hours, days, weeks, such as '2 hours'."
    ),
    "'expect_fresh.k' = 'sold_at'": (
        "'k' is 'sold_at'. Write a column and a length of time: 'at WITHIN 2 hours'."
    ),
    "'expect.k' = ' '": "the expectation 'k' has no condition.",
    "'expect.k' = 'amount'": "the expectation 'k': 'amount' is double, and no condition. Write a",
    "'expect.k' = 'id > 0) OR (id < 3'": "the expectation 'k' has parentheses that do not match.",
    "'expect.k' = 'id > '": "the SQL cannot be read: end of input is not expected there",
    "'expect.k' = 'count(*) > 1'": "the expectation 'k' counts over several rows, and a condition",
    "'expect.k' = 'id IN (SELECT id FROM bronze.sales)'": "asks for other rows in a subquery",
    "'expect.k' = 'id > 0', 'expect_unique.k' = 'id'": "two expectations of the name 'k'.",
    "'expect_uniqe.k' = 'id'": "is no expectation. Did you mean 'expect_unique'?",
    "'pipelines.quarantine' = 'yes'": "of gold.x is 'true' or 'false', not 'yes'.",
    "'pipelines.quarantine' = 'true'": "none of its expectations drops rows. Write one with",
}


@pytest.mark.parametrize("properties", MISTAKES)
def test_a_mistake_is_said_with_its_place_before_anything_runs(sales, properties):
    define(sales, VIEW.format(properties), "x.sql")
    with pytest.raises(DefinitionError) as error:
        sales.run()
    assert str(error.value).startswith("transformations/x.sql:1: ")
    assert MISTAKES[properties] in str(error.value)
    assert sales.lake.table_names() == ["bronze.sales"]


PYTHON_MISTAKES = {
    "an empty list of columns": (
        '@dp.materialized_view(name="gold.x")\n@expect_unique("k", [])\n',
        "x.py:7: gold.x: the expectation 'k' names no column.",
    ),
    "no length of time": (
        '@dp.materialized_view(name="gold.x")\n@expect_fresh("k", "sold_at", "soon")\n',
        "the expectation 'k' says 'soon', which is no length of time.",
    ),
    "two of one name": (
        '@dp.materialized_view(name="gold.x")\n@expect("k", "id > 0")\n@expect("k", "id > 0")\n',
        "x.py:7: gold.x has two expectations of the name 'k'. Rename one.",
    ),
    "a condition that is no text": (
        '@dp.materialized_view(name="gold.x")\n@expect("k", F.col("id") > 0)\n',
        "x.py:8: an expectation has a name and a condition in Spark SQL, both of them text, not",
    ),
    "conditions without names": (
        '@dp.materialized_view(name="gold.x")\n@expect_all(["id > 0"])\n',
        "x.py:8: expect_all and its like take conditions by name, not ['id > 0'].",
    ),
    "above the table": (
        '@expect("k", "id > 0")\n@dp.materialized_view(name="gold.x")\n',
        "x.py:7: the expectation 'k' stands above @dp...: write it below, next to the function.",
    ),
    "no name": (
        '@dp.materialized_view(name="gold.x")\n@expect("", "id > 0")\n',
        "x.py:7: gold.x: the expectation '' has no name.",
    ),
    "on a temporary view": (
        '@dp.temporary_view(name="x")\n@expect_or_fail("k", "id > 0")\n',
        "the expectation 'k' stands on a temporary view",
    ),
    "a quarantine that is defined": (
        f'@dp.materialized_view(name="gold.x", {QUARANTINED})\n@expect_or_drop("k", "id > 0")\n'
        'def x():\n    return spark.table("bronze.sales")\n\n'
        '@dp.materialized_view(name="gold.x_quarantine")\n',
        "but gold.x_quarantine is defined at transformations/x.py:12. Give that table",
    ),
}


@pytest.mark.parametrize("mistake", PYTHON_MISTAKES)
def test_a_mistake_in_python_is_said_with_its_place(sales, mistake):
    text, message = PYTHON_MISTAKES[mistake]
    define(sales, f'\n{text}def x():\n    return spark.table("bronze.sales")\n')
    with pytest.raises(DefinitionError) as error:
        sales.run()
    assert message in str(error.value)
    assert sales.lake.table_names() == ["bronze.sales"]


def test_a_column_that_the_quarantine_adds_is_refused(sales):
    define(sales, QUARANTINED_STREAM.replace('"id")', '"id", F.lit(1).alias("_Version"))'))
    with pytest.raises(DefinitionError, match=r"silver\.x has a column '_Version', which"):
        sales.run()


def test_a_view_that_drops_rows_may_be_read(sales):
    define(
        sales,
        """
@dp.temporary_view(name="few")
@expect_or_drop("few", "id < 2")
def few():
    return spark.table("bronze.sales")

@dp.materialized_view(name="gold.x")
def x():
    return spark.table("few").select("id")
""",
    )
    sales.run()
    assert rows(sales, "gold.x") == [(1,)]
    assert sales.lake.read("gold.x").record.operation == compute.OPERATION


def test_a_condition_may_end_with_a_comment(sales):
    define(
        sales,
        '\n@dp.materialized_view(name="gold.x")\n@expect("big", "amount > 8 -- or so")\n'
        '@expect_or_drop("known", "amount > 0 -- no refunds")\n'
        'def x():\n    return spark.table("bronze.sales")\n',
    )
    sales.run()
    found = sales.lake.read("gold.x").record.expectations
    assert [(one.name, one.violations) for one in found] == [("big", 2), ("known", 1)]
    assert sales.lake.read("gold.x").rows == 2
