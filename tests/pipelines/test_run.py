from __future__ import annotations

import re

import pytest
from pyspark.sql import SparkSession

from sololakehouse.engine import Engine
from sololakehouse.errors import (
    ConfigError,
    DefinitionError,
    ExpectationError,
    FeatureTableError,
    StepError,
)

CLEAN_SQL = """\
CREATE MATERIALIZED VIEW silver.clean AS
SELECT id, shop, sold_at, coalesce(amount, 0) AS amount FROM bronze.sales
"""
HEAD = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession, functions as F
from sololakehouse.quality import expect, expect_or_drop, expect_or_fail
spark = SparkSession.active()
"""
TOTALS = (
    HEAD
    + """
@dp.materialized_view(name="gold.totals")
@expect("has a shop", "shop IS NOT NULL")
def totals():
    return spark.table("clean").groupBy("shop").agg(F.sum("amount").alias("amount"))
"""
)


@pytest.fixture
def pipeline(sales):
    sales.write("transformations/clean.sql", CLEAN_SQL)
    sales.write("transformations/gold/totals.py", TOTALS)
    return sales


def define(project, body: str, name: str = "extra.py") -> None:
    project.write(f"transformations/{name}", HEAD + body if name.endswith(".py") else body)


def test_sql_and_python_make_one_graph(pipeline):
    results = pipeline.run()
    assert [result.step.name for result in results] == ["silver.clean", "gold.totals"]
    totals = pipeline.lake.read("gold.totals").to_polars().sort("shop")
    assert totals.rows() == [("north", 17.5), ("south", 0.0)]


def test_sources_get_the_session_of_their_run_whichever_a_person_has_opened(pipeline):
    with Engine.start() as opened:
        results = pipeline.run()
        assert [result.step.name for result in results] == ["silver.clean", "gold.totals"]
        assert SparkSession.getActiveSession() is opened.session
    assert SparkSession.getActiveSession() is not opened.session


def test_a_commit_says_what_it_was_made_from(pipeline):
    pipeline.run()
    clean = pipeline.lake.read("silver.clean").record
    assert [str(source) for source in clean.inputs] == ["bronze.sales@v1"]
    assert (clean.operation, clean.rows_written) == ("MATERIALIZED VIEW", 3)
    assert clean.engine.startswith(("Sail ", "Apache Spark "))


def test_a_second_run_commits_nothing(pipeline):
    pipeline.run()
    versions = pipeline.versions()
    assert {result.step.state for result in pipeline.run()} == {"up to date"}
    assert pipeline.versions() == versions


def test_a_new_input_version_runs_what_depends_on_it(pipeline):
    pipeline.run()
    pipeline.write("landing/2.csv", "id,shop,sold_at,amount\n4,east,2026-02-01T00:00:00Z,1\n")
    pipeline.ingest()
    assert set(pipeline.plan().values()) == {"run"}
    pipeline.run()
    assert pipeline.lake.read("gold.totals").rows == 3


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (CLEAN_SQL.replace("SELECT id", "-- why\nselect   id"), set()),
        (CLEAN_SQL.replace("0)", "1)"), {"silver.clean", "gold.totals"}),
        (
            CLEAN_SQL.replace(" AS\n", " TBLPROPERTIES ('expect.ok' = 'id > 0') AS\n"),
            {"silver.clean", "gold.totals"},
        ),
        (CLEAN_SQL.replace(" AS\n", " COMMENT 'said otherwise' AS\n"), set()),
    ],
)
def test_only_what_changes_data_runs_again(pipeline, text, runs):
    pipeline.run()
    pipeline.write("transformations/clean.sql", text)
    assert {name for name, state in pipeline.plan().items() if state == "run"} == runs


def test_lines_that_move_do_not_change_a_python_definition(pipeline):
    pipeline.run()
    moved = TOTALS.replace("spark = ", "\n\n# moved\nspark = ")
    pipeline.write("transformations/gold/totals.py", moved)
    assert set(pipeline.plan().values()) == {"up to date"}


def test_a_table_made_anew_is_another_input(pipeline):
    import shutil

    pipeline.run()
    shutil.rmtree(pipeline.lake.path("bronze.sales"))
    pipeline.ingest()
    assert pipeline.versions()["bronze.sales"] == 1
    assert pipeline.plan()["silver.clean"] == "run"


def test_temporary_views_are_read_but_not_stored(pipeline):
    define(
        pipeline,
        """
@dp.temporary_view(name="north")
def north():
    return spark.table("silver.clean").where("shop = 'north'")

@dp.materialized_view(name="gold.north")
def gold_north():
    return spark.table("north").select("id")
""",
    )
    pipeline.run()
    assert pipeline.lake.read("gold.north").rows == 2
    assert "north" not in pipeline.lake.table_names()
    record = pipeline.lake.read("gold.north").record
    assert [source.table for source in record.inputs] == ["silver.clean"]


def test_a_changed_view_runs_what_reads_it(pipeline):
    view = "CREATE TEMPORARY VIEW few AS SELECT id FROM silver.clean WHERE id < {};\n"
    table = "CREATE MATERIALIZED VIEW gold.few AS SELECT * FROM few"
    define(pipeline, view.format(2) + table, "few.sql")
    pipeline.run()
    define(pipeline, view.format(3) + table, "few.sql")
    assert pipeline.plan() == {
        "silver.clean": "up to date",
        "few": "view",
        "gold.few": "run",
        "gold.totals": "up to date",
    }
    pipeline.run()
    assert pipeline.lake.read("gold.few").rows == 2


def test_a_function_may_ask_for_the_columns_of_a_table_that_is_not_there_yet(pipeline):
    define(
        pipeline,
        """
@dp.materialized_view(name="gold.a_narrow")
def narrow():
    frame = spark.table("silver.clean")
    return frame.select([name for name in frame.columns if name != "amount"])
""",
    )
    pipeline.run()
    assert list(pipeline.lake.read("gold.a_narrow").columns) == ["id", "shop", "sold_at"]


def test_expectations_count_and_drop(pipeline):
    define(
        pipeline,
        """
@dp.materialized_view(name="gold.checked")
@expect("amount is known", "amount IS NOT NULL")
@expect_or_drop("is north", "shop = 'north'")
def checked():
    return spark.table("bronze.sales").select("id", "shop", "amount")
""",
    )
    pipeline.run()
    checked = pipeline.lake.read("gold.checked")
    found = {e.name: (e.action, e.rows, e.violations) for e in checked.record.expectations}
    assert checked.rows == 2
    assert found == {"amount is known": ("warn", 3, 1), "is north": ("drop", 3, 1)}


CONSTRAINED = """\
CREATE MATERIALIZED VIEW gold.x (
  CONSTRAINT is_north EXPECT (shop = 'north'),
  CONSTRAINT has_amount EXPECT (amount IS NOT NULL) ON VIOLATION DROP ROW,
  CONSTRAINT is_early EXPECT (id < {limit}) ON VIOLATION FAIL UPDATE
) AS SELECT * FROM bronze.sales
"""


def test_constraints_in_sql_keep_drop_and_fail(pipeline):
    define(pipeline, CONSTRAINED.format(limit=4), "x.sql")
    pipeline.run()
    table = pipeline.lake.read("gold.x")
    assert sorted(table.to_polars()["id"]) == [1, 3]
    results = {e.name: (e.action, e.rows, e.violations) for e in table.record.expectations}
    assert results == {
        "is_north": ("warn", 3, 1),
        "has_amount": ("drop", 3, 1),
        "is_early": ("fail", 3, 0),
    }
    define(pipeline, CONSTRAINED.format(limit=3), "x.sql")
    with pytest.raises(ExpectationError, match="'is_early'"):
        pipeline.run()
    assert pipeline.versions()["gold.x"] == 1


def test_null_counts_as_violated(pipeline):
    define(
        pipeline,
        """
@dp.materialized_view(name="gold.checked")
@expect("amount is high", "amount > 0")
def checked():
    return spark.table("bronze.sales").select("id", "amount")
""",
    )
    pipeline.run()
    (found,) = pipeline.lake.read("gold.checked").record.expectations
    assert (found.rows, found.violations) == (3, 1)


def test_a_failed_expectation_shows_rows_and_leaves_the_table(pipeline):
    pipeline.run()
    before = pipeline.versions()
    strict = TOTALS.replace(
        '@expect("has a shop", "shop IS NOT NULL")', '@expect_or_fail("big", "amount > 5")'
    )
    pipeline.write("transformations/gold/totals.py", strict)
    message = "gold.totals: 1 of 2 rows violate 'big' (amount > 5). The table is as it was."
    with pytest.raises(ExpectationError, match=re.escape(message)) as error:
        pipeline.run()
    assert "shop='south', amount=0.0" in str(error.value)
    assert pipeline.versions() == before


def test_a_feature_table_needs_unique_keys(pipeline):
    define(
        pipeline,
        """
@dp.materialized_view(name="features.shops", table_properties={"feature.keys": "shop"})
def shops():
    return spark.table("silver.clean").select("shop", "amount")
""",
    )
    with pytest.raises(FeatureTableError, match=r"features\.shops"):
        pipeline.run()
    assert "features.shops" not in pipeline.lake.table_names()


def test_properties_reach_the_delta_table(pipeline):
    define(
        pipeline,
        """
@dp.materialized_view(name="features.sales", table_properties={"feature.keys": "id"})
def sales():
    return spark.table("silver.clean").select("id", "amount")
""",
    )
    pipeline.run()
    properties = pipeline.lake.read("features.sales").properties
    assert properties["feature.keys"] == "id"
    assert properties["delta.deletedFileRetentionDuration"] == "interval 36500 days"
    assert properties["delta.logRetentionDuration"] == "interval 36500 days"


def test_a_table_without_rows_keeps_its_columns(pipeline):
    define(
        pipeline,
        "CREATE MATERIALIZED VIEW gold.none AS SELECT id, shop FROM bronze.sales WHERE id < 0",
        "none.sql",
    )
    pipeline.run()
    none = pipeline.lake.read("gold.none")
    assert (none.rows, list(none.columns)) == (0, ["id", "shop"])


def test_an_error_of_the_engine_leaves_the_table_and_names_the_step(pipeline):
    define(
        pipeline,
        "CREATE MATERIALIZED VIEW gold.broken AS SELECT CAST(shop AS INT) AS n FROM bronze.sales",
        "broken.sql",
    )
    with pytest.raises(StepError, match=r"gold\.broken \(transformations/broken\.sql:1\): "):
        pipeline.run()
    assert "gold.broken" not in pipeline.lake.table_names()


DEFINITION_MISTAKES = {
    "unknown table": (
        "CREATE MATERIALIZED VIEW gold.x AS SELECT * FROM bronze.sale",
        "x.sql",
        "transformations/x.sql:1: gold.x reads 'bronze.sale', which is neither declared nor in the "
        "lakehouse. Did you mean 'bronze.sales'?",
    ),
    "cycle": (
        "CREATE MATERIALIZED VIEW gold.a AS SELECT * FROM gold.b;\n"
        "CREATE MATERIALIZED VIEW gold.b AS SELECT * FROM gold.a;\n",
        "x.sql",
        "The tables read each other in a circle: gold.a <- gold.b <- gold.a. Defined: gold.a at "
        "transformations/x.sql:1, gold.b at transformations/x.sql:2.",
    ),
    "two definitions": (
        "CREATE MATERIALIZED VIEW silver.clean AS SELECT 1 AS x",
        "x.sql",
        "silver.clean is defined twice: at transformations/clean.sql:1 and at "
        "transformations/x.sql:1.",
    ),
    "no DataFrame": (
        '\n@dp.materialized_view(name="gold.x")\ndef x():\n    spark.table("bronze.sales")\n',
        "x.py",
        "transformations/x.py:6: gold.x returns nothing, not a DataFrame.",
    ),
    "unknown column": (
        "CREATE MATERIALIZED VIEW gold.x AS SELECT amont FROM bronze.sales",
        "x.sql",
        "transformations/x.sql:1: gold.x: no column 'amont'. Did you mean 'amount'?",
    ),
    "unknown column of a table that this run makes": (
        "CREATE MATERIALIZED VIEW gold.x AS SELECT amont FROM silver.clean",
        "x.sql",
        "gold.x: no column 'amont'. Did you mean 'amount'?",
    ),
    "an exception in a function": (
        '\n@dp.materialized_view(name="gold.x")\ndef x():\n    return 1 / 0\n',
        "x.py",
        "transformations/x.py:8: gold.x: division by zero",
    ),
    "an exception in a file": ("\nimport nothing_of_that_name\n", "x.py", "transformations/x.py:6"),
    "syntax error": ("\ndef (:\n", "x.py", "transformations/x.py:6: SyntaxError"),
    "no stream": (
        "CREATE STREAMING TABLE gold.x AS SELECT * FROM bronze.sales",
        "x.sql",
        "transformations/x.sql:1: the flow 'gold.x' of the streaming table gold.x reads no stream.",
    ),
    "nothing fills it": (
        "CREATE STREAMING TABLE gold.x",
        "x.sql",
        "transformations/x.sql:1: no flow fills the streaming table gold.x.",
    ),
    "an expectation of an unknown column": (
        "CREATE MATERIALIZED VIEW gold.x (CONSTRAINT c EXPECT (amont > 1)) "
        "AS SELECT id, amount FROM bronze.sales",
        "x.sql",
        "transformations/x.sql:1: gold.x: the expectation 'c': no column 'amont'. Did you mean "
        "'amount'? Columns: amount, id.",
    ),
    "a stream in a view": (
        "CREATE MATERIALIZED VIEW gold.x AS SELECT * FROM STREAM(bronze.sales)",
        "x.sql",
        "transformations/x.sql:1: gold.x is a materialized view and reads a stream.",
    ),
    "a flow without target": (
        "CREATE FLOW f AS INSERT INTO silver.claen BY NAME SELECT * FROM STREAM(bronze.sales)",
        "x.sql",
        "transformations/x.sql:1: the flow's target 'silver.claen' is not defined. Did you mean "
        "'silver.clean'?",
    ),
    "a stream of files": (
        '\n@dp.table(name="gold.x")\ndef x():\n'
        '    return spark.readStream.format("csv").load("landing")\n',
        "x.py",
        "spark.readStream.format is not supported",
    ),
    "a sink": (
        '\ndp.create_sink("s", "console")\n',
        "x.py",
        "transformations/x.py:6: no flow fills the sink s.",
    ),
    "bad SQL": (
        "CREATE MATERIALIZED VIEW gold.x AS SELECT FROM WHERE",
        "x.sql",
        "transformations/x.sql:1: ",
    ),
    "files read past the lakehouse": (
        '\n@dp.materialized_view(name="gold.x")\ndef x():\n    return spark.read.csv("a.csv")\n',
        "x.py",
        "transformations/x.py:6: reads a.csv directly, so no version of it can be pinned.",
    ),
    "dropping expectation in SQL": (
        "CREATE MATERIALIZED VIEW gold.x TBLPROPERTIES ('expect_or_drop.a' = 'id > 0') AS "
        "SELECT id FROM bronze.sales",
        "x.sql",
        "'expect_or_drop.a' cannot drop rows from SQL",
    ),
    "session changed": ('\nspark.conf.set("a", "b")\n', "x.py", "transformations/x.py:6"),
    "neither Python nor SQL": ("hello", "x.txt", "a pipeline source ends in .py or .sql."),
}


@pytest.mark.parametrize("mistake", DEFINITION_MISTAKES)
def test_a_mistake_in_a_definition_names_its_place_and_runs_nothing(pipeline, mistake):
    body, name, message = DEFINITION_MISTAKES[mistake]
    define(pipeline, body, name)
    with pytest.raises(DefinitionError, match=re.escape(message)):
        pipeline.run()
    assert pipeline.lake.table_names() == ["bronze.sales"]


def test_no_spec_file(sales):
    (sales.folder / "spark-pipeline.yml").unlink()
    with pytest.raises(ConfigError, match=r"No spark-pipeline\.yml in .* 'slh init NAME' writes"):
        sales.run()


def test_an_unknown_key_in_the_spec(make_project):
    project = make_project(spec="name: x\nstorage: s\nlibrarys: []\n")
    with pytest.raises(ConfigError, match=r"unknown key 'librarys'. Did you mean 'libraries'\?"):
        project.run()


def test_a_pattern_that_spark_refuses(make_project):
    project = make_project(spec="name: x\nstorage: s\nlibraries: [{glob: {include: 'a/**/*.py'}}]")
    with pytest.raises(ConfigError, match=re.escape("'a/**/*.py' must be a file's path")):
        project.run()


def test_an_error_in_a_python_function_is_said_with_its_line(pipeline):
    define(
        pipeline,
        """
@F.udf("double")
def halved(v):
    return v / 0

@dp.materialized_view(name="gold.x")
def x():
    return spark.table("silver.clean").select(halved("amount").alias("half"))
""",
    )
    with pytest.raises(StepError) as caught:
        pipeline.run()
    said = str(caught.value)
    assert "/transformations/extra.py:8: ZeroDivisionError: " in said
    assert said.startswith("gold.x (transformations/extra.py:10): a Python function failed at ")
    assert said.endswith("The table is as it was.")
