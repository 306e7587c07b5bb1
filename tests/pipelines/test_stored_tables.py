"""Which tables an engine gets to know, and when: those that are read, before they are."""

from __future__ import annotations

from sololakehouse.pipelines.run import prepare
from tests.pipelines.test_run import define, pipeline  # noqa: F401  (a fixture)

NEW_TABLE = """
@dp.materialized_view(name="gold.a")
def a():
    return spark.table("bronze.sales").select("id")

@dp.materialized_view(name="gold.b")
def b():
    new = spark.table("gold.a")
    return new.select(*new.columns)
"""
ASKING = """
NAMES = spark.table("bronze.sales").columns

@dp.materialized_view(name="gold.x")
def x():
    table = "silver.clean" if spark.catalog.tableExists("gold.totals") else "bronze.sales"
    return spark.table(table).select(*[n for n in NAMES if not n.startswith("_")])
"""


VIEWS = """
CREATE TEMPORARY VIEW v AS SELECT id FROM bronze.sales;
CREATE TEMPORARY VIEW w AS SELECT id FROM bronze.sales;
CREATE TEMPORARY VIEW read_by_no_table AS SELECT id FROM w;
CREATE MATERIALIZED VIEW gold.c AS SELECT id FROM v JOIN w USING (id);
"""


def idle_views(project):
    with prepare(project.lake) as prepared:
        return [step.name for step in prepared.steps if step.idle]


def known(prepared, *tables):
    catalog = prepared.engine.session.catalog
    databases = {found.name for found in catalog.listDatabases()}
    return [t for t in tables if t.split(".")[0] in databases and catalog.tableExists(t)]


def test_a_run_with_nothing_to_do_gives_no_table_to_the_engine(pipeline):  # noqa: F811
    pipeline.run()
    with prepare(pipeline.lake) as prepared:
        assert known(prepared, "bronze.sales", "silver.clean", "gold.totals") == []


def test_only_what_a_step_reads_is_given_to_the_engine(pipeline):  # noqa: F811
    pipeline.run()
    define(pipeline, "CREATE MATERIALIZED VIEW gold.c AS SELECT id FROM bronze.sales", "c.sql")
    with prepare(pipeline.lake) as prepared:
        assert known(prepared, "bronze.sales", "silver.clean", "gold.totals") == ["bronze.sales"]


def test_a_source_that_asks_finds_every_stored_table(pipeline):  # noqa: F811
    pipeline.run()
    define(pipeline, ASKING)
    pipeline.run()
    assert pipeline.lake.read("gold.x").record.inputs[0].table == "silver.clean"


def test_a_damaged_table_is_not_there_for_a_source_that_asks(pipeline):  # noqa: F811
    pipeline.run()
    (pipeline.lake.path("gold.totals") / "_delta_log" / f"{1:020}.json").write_text("{")
    (pipeline.folder / "transformations/gold/totals.py").unlink()
    define(pipeline, ASKING)
    pipeline.run()
    assert pipeline.lake.read("gold.x").record.inputs[0].table == "bronze.sales"


def test_a_table_that_is_up_to_date_keeps_its_rows_beside_one_that_is_asked_for(pipeline):  # noqa: F811
    pipeline.run()
    define(pipeline, NEW_TABLE)
    define(pipeline, "CREATE MATERIALIZED VIEW gold.c AS SELECT * FROM silver.clean", "c.sql")
    pipeline.run()
    assert [pipeline.lake.read(f"gold.{name}").rows for name in "abc"] == [3, 3, 3]


def test_a_view_is_idle_if_only_tables_read_it_that_are_up_to_date(pipeline):  # noqa: F811
    define(pipeline, VIEWS, "views.sql")
    assert idle_views(pipeline) == []
    pipeline.run()
    assert idle_views(pipeline) == ["v"]
    assert {result.state for result in pipeline.run()} == {"up to date", "view"}
