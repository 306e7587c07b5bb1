"""What makes a table be computed again, and what does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sololakehouse.pipelines.run import prepare
from tests.reference import SLH

SOURCE = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.active()
FACTOR = 2


def doubled(value):
    return value * FACTOR


@F.udf("double")
def price(value):
    return None if value is None else doubled(value)


@dp.materialized_view(name="gold.prices")
def prices():
    return spark.table("bronze.sales").select("id", price("amount").alias("price"))
"""
PANDAS = """\
import pandas as pd
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.active()


@F.pandas_udf("double")
def price(values: pd.Series) -> pd.Series:
    return values * 2


@dp.materialized_view(name="gold.prices")
def prices():
    return spark.table("bronze.sales").select("id", price("amount").alias("price"))
"""
PLAIN = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.active()


@dp.materialized_view(name="gold.plain")
def plain():
    sales = spark.table("bronze.sales").where(F.col("amount") > 1)
    return sales.withColumn("twice", F.col("amount") * F.lit(2)).selectExpr("id", "twice + 1 AS t")
"""
IMPORTING = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import pricing

spark = SparkSession.active()


@F.udf("double")
def price(value):
    return pricing.price(value)


@dp.materialized_view(name="gold.prices")
def prices():
    return spark.table("bronze.sales").select("id", price("amount").alias("price"))
"""
BY_NAME = IMPORTING.replace("import pricing", "from pricing import price as priced").replace(
    "pricing.price(value)", "priced(value)"
)
HELPER = "import rates\n\n\ndef price(value):\n    return value and value * rates.FACTOR\n"
HELPER_BY_NAME = HELPER.replace("import rates", "from rates import FACTOR").replace("rates.", "")
RATES = "FACTOR = 2\n"
SQL = "CREATE MATERIALIZED VIEW gold.prices AS SELECT id, amount * 2 AS price FROM bronze.sales;"


def fingerprint(project) -> str:
    for name in ("pricing", "rates"):
        sys.modules.pop(name, None)
    with prepare(project.lake) as pipeline:
        (step,) = pipeline.steps
        return step.node.definition


@pytest.fixture
def source(sales):
    def of(text: str, **helpers: str) -> str:
        for name, helper in helpers.items():
            sales.write(f"{name}.py", helper)
        sales.write("transformations/prices.py", text)
        return fingerprint(sales)

    return of


def test_comments_blank_lines_and_docstrings_do_not_count(source):
    said = SOURCE.replace("@F.udf", "# What a customer pays.\n\n\n@F.udf")
    said = said.replace("    return None", "    # NULL stays NULL\n    return None")
    said = said.replace("def doubled(value):", 'def doubled(value):\n    """Double it."""\n')
    layout = SOURCE.replace("value * FACTOR", "(\n        value\n        * FACTOR\n    )")
    assert source(SOURCE) == source(said) == source(layout)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value * FACTOR", "value + FACTOR"),
        ("FACTOR = 2", "FACTOR = 3"),
        ("None if value is None else doubled(value)", "doubled(value or 0)"),
        ('@F.udf("double")', '@F.udf("float")'),
        ("return value * FACTOR", "return (lambda x: x * FACTOR * 1.0)(value)"),
    ],
)
def test_a_changed_function_helper_or_constant_counts(source, old, new):
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    assert source(SOURCE) != source(changed)


def test_a_function_of_pandas_is_looked_into_as_well(source):
    assert source(PANDAS) == source(PANDAS.replace("@F.pandas", "# columns\n@F.pandas"))
    assert source(PANDAS) != source(PANDAS.replace("values * 2", "values * 3"))


@pytest.mark.parametrize("helper", [HELPER, HELPER_BY_NAME])
@pytest.mark.parametrize("text", [IMPORTING, BY_NAME])
def test_what_is_imported_from_the_project_counts(source, text, helper):
    first = source(text, pricing=helper, rates=RATES)
    assert source(text, pricing=f"# prices\n{helper}", rates=f"{RATES}\n# later\n") == first
    assert source(text, pricing=helper.replace("value *", "value +"), rates=RATES) != first
    assert source(text, pricing=helper, rates="FACTOR = 3\n") != first
    assert source(text, pricing=helper, rates=RATES) == first


def test_comments_and_spacing_of_sql_do_not_count(sales):
    def of(text: str) -> str:
        sales.write("transformations/prices.sql", text)
        return fingerprint(sales)

    first = of(SQL)
    spaced = SQL.replace(" AS SELECT", " AS /* all */\n  SELECT")
    assert of(f"-- prices\n{spaced}\n-- end") == first
    assert of(SQL.replace("* 2", "* 3")) != first


def test_a_changed_input_version_is_computed_and_a_comment_is_not(sales):
    sales.write("transformations/prices.py", SOURCE)
    sales.run()
    sales.write("transformations/prices.py", f"# prices\n{SOURCE}")
    assert sales.plan() == {"gold.prices": "up to date"}
    sales.write("landing/2026-02.csv", "id,shop,sold_at,amount\n4,east,2026-02-01T08:00:00Z,1\n")
    sales.ingest()
    assert sales.plan() != {"gold.prices": "up to date"}


def test_another_process_finds_the_same(sales):
    sales.write("pricing.py", HELPER)
    sales.write("rates.py", RATES)
    sales.write("transformations/prices.py", IMPORTING)
    sales.run()
    done = subprocess.run(
        [SLH, "run", "--json"], cwd=sales.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (prices,) = json.loads(done.stdout.splitlines()[-1])["tables"]
    assert prices["state"] == "up to date"
    assert sales.versions()["gold.prices"] == 1


def test_definitions_are_hashed_as_by_releases_before(sales):
    """Where this fails, every table of every project is computed once more: say so in CHANGELOG."""
    sales.write("transformations/plain.py", PLAIN)
    sales.write("transformations/sql.sql", "CREATE MATERIALIZED VIEW gold.s AS SELECT 1 AS a")
    with prepare(sales.lake) as pipeline:
        assert {step.name: step.node.definition for step in pipeline.steps} == {
            "gold.plain": "dee5cf712b0ff12221a6a344ea89dc1e",
            "gold.s": "e760a5daf8af5b0dd02bb94f1de81708",
        }


def test_lambda_functions_of_other_tables_do_not_count(sales):
    table = """
from pyspark import pipelines as dp
from pyspark.sql import SparkSession, functions as F

@dp.materialized_view(name="gold.{}")
def table():
    more = F.transform(F.array("id"), lambda one: F.exists(F.array(one), lambda other: one > {}))
    return SparkSession.active().table("bronze.sales").select(more.alias("more"))
"""
    sales.write("transformations/b.py", table.format("b", 1))
    sales.run()
    sales.write("transformations/a.py", table.format("a", 1))
    assert sales.plan() == {"gold.a": "run", "gold.b": "up to date"}
    sales.write("transformations/b.py", table.format("b", 2))
    assert sales.plan()["gold.b"] == "run"
