"""A materialized view that is computed only where its rows can have changed is the whole table."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sololakehouse.errors import DefinitionError, FeatureTableError, StepError
from sololakehouse.lake.restore import restore
from sololakehouse.pipelines.rowwise import AGGREGATES, is_rowwise
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.selection import Selection
from sololakehouse.pipelines.sql_names import tables_renamed
from tests.conftest import SALES, SALES_SOURCE, SPEC, ProjectFolder
from tests.pipelines.test_run import define
from tests.pipelines.test_streaming import deliver
from tests.reference import fresh_copy

ROW_BY_ROW = {
    "select": "SELECT id, upper(shop) AS shop FROM bronze.sales WHERE amount > 1",
    "star": "SELECT * FROM bronze.sales",
    "common": "WITH a AS (SELECT * FROM bronze.sales), b AS (SELECT * FROM a) SELECT id FROM b",
    "nested": "SELECT id FROM (SELECT id FROM bronze.sales) AS inside",
    "joined": "SELECT s.id, o.town FROM bronze.sales s LEFT JOIN silver.shops o USING (shop)",
    "crossed": "SELECT s.id, o.town FROM bronze.sales AS s, silver.shops AS o",
    "known shops": "SELECT s.* FROM bronze.sales s LEFT SEMI JOIN silver.shops o USING (shop)",
    "counted beside": """
        SELECT s.id, n.towns FROM bronze.sales AS s
        JOIN (SELECT shop, count(*) AS towns FROM silver.shops GROUP BY shop) AS n
        ON n.shop = s.shop""",
    "asked": "SELECT id FROM bronze.sales WHERE shop IN (SELECT max(shop) FROM silver.shops)",
    "qualified": "SELECT sales.id, bronze.sales.shop FROM bronze.sales",
}
WHOLE = {
    "grouped": "SELECT shop, count(*) AS sales FROM bronze.sales GROUP BY shop",
    "summed": "SELECT sum(amount) AS amount FROM bronze.sales",
    "averaged": "SELECT percentile_approx(amount, 0.5) AS amount FROM bronze.sales",
    "distinct": "SELECT DISTINCT shop FROM bronze.sales",
    "windowed": "SELECT id, lag(id) OVER (ORDER BY id) AS before FROM bronze.sales",
    "limited": "SELECT id FROM bronze.sales ORDER BY id LIMIT 2",
    "itself": "SELECT a.id FROM bronze.sales AS a JOIN bronze.sales AS b ON a.id = b.id + 1",
    "not in itself": """
        SELECT id FROM bronze.sales AS a
        WHERE NOT EXISTS (SELECT 1 FROM bronze.sales AS b WHERE b.shop = a.shop AND b.id > a.id)""",
    "other side": "SELECT s.id FROM silver.shops o LEFT JOIN bronze.sales s ON o.shop = s.shop",
    "both sides": "SELECT s.id FROM bronze.sales s FULL JOIN silver.shops o ON o.shop = s.shop",
    "one more row": "SELECT shop FROM bronze.sales UNION ALL SELECT shop FROM silver.shops",
    "common twice": """
        WITH a AS (SELECT * FROM bronze.sales)
        SELECT one.id FROM a AS one JOIN a AS two ON one.id = two.id""",
    "without": "SELECT shop FROM silver.shops AS o LEFT ANTI JOIN bronze.sales AS s USING (shop)",
    "the last": "SELECT id FROM bronze.sales WHERE id = (SELECT max(id) FROM bronze.sales)",
}
FRAMES = {
    'sales.where("amount > 1").select("id", F.upper("shop").alias("shop"))': True,
    'sales.withColumn("n", F.when(F.col("id") % 2 == 0, 1).otherwise(0)).drop("shop")': True,
    'sales.join(shops, "shop", "left").withColumnRenamed("id", "n").select("n").toDF("m")': True,
    'shops.join(sales, "shop", "right").select("id", "town")': True,
    'sales.join(shops.groupBy("shop").count(), "shop").select("id", "count")': True,
    'sales.select("bronze.sales.id", F.col("sales.shop"))': True,
    'sales.selectExpr("id + 1 AS id", "coalesce(amount, 0) AS amount")': True,
    'sales.select(F.explode(F.array("id", F.lit(7))).alias("id"))': True,
    'sales.select(double("id").alias("id"))': True,
    'sales.groupBy("shop").count()': False,
    'sales.select(F.sum("amount").alias("a"))': False,
    'sales.selectExpr("count_if(amount > 1) AS a")': False,
    'sales.select(F.row_number().over(Window.partitionBy("shop").orderBy("id")).alias("n"))': False,
    "sales.distinct()": False,
    "sales.limit(2)": False,
    "sales.union(sales)": False,
    'sales.join(sales.withColumnRenamed("id", "other"), "shop").select("id")': False,
    'shops.join(sales, "shop", "left").select("id", "town")': False,
    'sales.join(shops, "shop", "full").select("id", "town")': False,
    'sales.select(mean_of_batch("amount").alias("a"))': False,
}
SHOPS = "CREATE MATERIALIZED VIEW silver.shops AS SELECT 'north' AS shop, 'Hull' AS town"
FRAME = """
import pandas as pd
from pyspark.sql import Window

@F.udf("bigint")
def double(value):
    return 2 * value

@F.pandas_udf("double")
def mean_of_batch(values: pd.Series) -> pd.Series:
    return values * 0 + values.mean()

@dp.materialized_view(name="silver.derived")
def derived():
    sales, shops = spark.table("bronze.sales"), spark.table("silver.shops")
    return {frame}
"""
TRAILING = """\
CREATE MATERIALIZED VIEW silver.trailing
TBLPROPERTIES (
  'pipelines.incremental.source' = 'bronze.sales.sold_at',
  'pipelines.incremental.timestamp' = 'ends_at',
  'pipelines.incremental.lookback' = '3h'
)
AS
WITH hourly AS (
  SELECT shop, date_trunc('HOUR', sold_at) + INTERVAL '1' HOUR AS ends_at, count(*) AS sales
  FROM sold GROUP BY shop, date_trunc('HOUR', sold_at) + INTERVAL '1' HOUR
)
SELECT shop, ends_at, sum(sales) OVER (
  PARTITION BY shop ORDER BY unix_seconds(ends_at) RANGE BETWEEN 7200 PRECEDING AND CURRENT ROW
) AS sales_3h
FROM hourly
"""
NOON = "2026-01-02T12:00:00Z"
FOLLOWED = """\
CREATE MATERIALIZED VIEW features.followed
TBLPROPERTIES (
  'pipelines.incremental.source' = 'bronze.sales.sold_at',
  'pipelines.incremental.lookback' = '0h',
  'feature.keys' = 'shop',
  'feature.timestamp' = 'sold_at'
)
AS SELECT shop, sold_at, sum(amount) OVER (PARTITION BY id) AS amount FROM bronze.sales
WHERE sold_at IS NOT NULL
"""
SOLD = "CREATE TEMPORARY VIEW sold AS SELECT * FROM bronze.sales WHERE sold_at IS NOT NULL"


def derived(project, query: str) -> None:
    define(project, f"CREATE MATERIALIZED VIEW silver.derived AS {query}", "derived.sql")
    define(project, SHOPS, "shops.sql")


def increment(project, table: str = "silver.derived"):
    return project.lake.read(table).record.details.get("increment")


def manifest(project, table: str = "silver.derived"):
    return project.lake.read(table).record.manifest


def full_refresh(project):
    with prepare(project.lake, Selection(full_refresh_all=True)) as pipeline:
        return execute(pipeline, project.writer())


def proven(project) -> bool:
    with prepare(project.lake) as pipeline:
        nodes = {step.name: step.node for step in pipeline.steps}
        return is_rowwise(nodes["silver.derived"], "bronze.sales", nodes)


@pytest.mark.parametrize("query", ROW_BY_ROW.values(), ids=ROW_BY_ROW)
def test_new_rows_of_a_query_that_is_row_by_row_are_appended(sales, query):
    derived(sales, query)
    sales.run()
    deliver(sales, "more", 10, 11)
    sales.run()
    assert increment(sales) == {"source": "bronze.sales", "since": 1}
    grown = manifest(sales)
    full_refresh(sales)
    assert increment(sales) is None
    assert manifest(sales) == grown


@pytest.mark.parametrize("query", WHOLE.values(), ids=WHOLE)
def test_what_is_not_row_by_row_is_computed_whole(sales, query):
    derived(sales, query)
    assert not proven(sales)


@pytest.mark.parametrize(("frame", "expected"), FRAMES.items(), ids=FRAMES)
def test_the_same_for_dataframes(sales, frame, expected):
    define(sales, FRAME.format(frame=frame))
    define(sales, SHOPS, "shops.sql")
    assert proven(sales) == expected


def test_dataframes_over_new_rows_give_the_whole_table(sales):
    define(sales, FRAME.format(frame='sales.alias("s").join(shops, "shop").select("s.id", "town")'))
    define(sales, SHOPS, "shops.sql")
    sales.run()
    deliver(sales, "more", 10)
    sales.run()
    assert increment(sales) == {"source": "bronze.sales", "since": 1}
    grown = manifest(sales)
    full_refresh(sales)
    assert manifest(sales) == grown


def test_aggregates_are_those_of_spark():
    from pyspark.sql import functions

    text = Path(functions.__file__).read_text("utf-8")
    groups = re.findall(r"    # (Aggregate|Window) Functions\n(.*?)(?=\n    # )", text, re.DOTALL)
    documented = set(re.findall(r'^    "(\w+)"', "\n".join(body for _, body in groups), re.M))
    assert documented == AGGREGATES


@pytest.mark.parametrize(
    "change",
    ["query", "other input", "source rewritten", "restored", "not deterministic", "two sources"],
)
def test_everything_is_computed_if_more_than_new_rows_changed(sales, change):
    query = (
        "SELECT s.id, s.shop FROM bronze.sales AS s LEFT JOIN silver.shops AS o ON o.shop = s.shop"
    )
    derived(sales, query)
    sales.run()
    deliver(sales, "more", 10)
    if change == "query":
        derived(sales, query.replace("s.shop FROM", "upper(s.shop) AS shop FROM"))
    elif change == "other input":
        define(sales, SHOPS.replace("Hull", "York"), "shops.sql")
    elif change == "source rewritten":
        sales.write("landing/more.csv", SALES.replace("1,", "12,"))
        config = (sales.folder / "lakehouse.yml").read_text("utf-8")
        sales.write(
            "lakehouse.yml", config.replace("    path:", "    on_change: replace\n    path:")
        )
        sales.ingest()
    elif change == "restored":
        sales.run()
        restore(sales.writer(), "silver.derived", 1)
    elif change == "not deterministic":
        property_ = "TBLPROPERTIES ('pipelines.deterministic' = 'false') AS SELECT s.id"
        text = (sales.folder / "transformations/derived.sql").read_text("utf-8")
        define(sales, text.replace("AS SELECT s.id", property_, 1), "derived.sql")
        sales.run()
        deliver(sales, "again", 20)
    else:
        define(sales, SHOPS.replace("'north'", "shop") + " FROM bronze.sales", "shops.sql")
    sales.run()
    assert increment(sales) is None
    computed = manifest(sales)
    full_refresh(sales)
    assert manifest(sales) == computed


def test_a_source_that_gains_a_column_is_read_whole(sales):
    config = (sales.folder / "lakehouse.yml").read_text("utf-8")
    sales.write(
        "lakehouse.yml", config.replace("    path:", "    schema_policy: evolve\n    path:")
    )
    derived(sales, "SELECT * FROM bronze.sales")
    sales.run()
    sales.write("landing/wider.csv", "id,shop,sold_at,amount,till\n8,east,NA,3,2\n")
    sales.ingest()
    sales.run()
    assert increment(sales) is None
    tills = sales.lake.read("silver.derived").to_polars()["till"].to_list()
    assert tills.count(None) == 3
    assert len(tills) == 4


def test_a_new_row_with_the_key_and_time_of_an_old_one_is_refused(sales):
    define(
        sales,
        "CREATE MATERIALIZED VIEW features.sales TBLPROPERTIES ("
        "'feature.keys' = 'shop', 'feature.timestamp' = 'sold_at') "
        "AS SELECT shop, sold_at, amount FROM bronze.sales",
        "features.sql",
    )
    sales.run()
    deliver(sales, "later", 10)
    sales.run()
    assert increment(sales, "features.sales") is not None
    again = (
        "id,shop,sold_at,amount\n4,north,2026-01-01T08:00:00Z,1\n5,west,2026-03-01T00:00:00Z,2\n"
    )
    sales.write("landing/again.csv", again)
    sales.ingest()
    with pytest.raises(FeatureTableError, match="shop='north', sold_at=2026-01-01T08:00:00Z"):
        sales.run()
    assert sales.lake.read("features.sales").rows == 4


def test_a_declared_lookback_replaces_the_later_rows(sales):
    define(sales, SOLD, "sold.sql")
    define(sales, TRAILING, "trailing.sql")
    deliver_at(sales, "before", datetime(2026, 1, 2, 8, 40))
    sales.run()
    deliver_at(sales, "more", datetime(2026, 1, 2, 10, 30))
    sales.run()
    found = increment(sales, "silver.trailing")
    assert found == {"source": "bronze.sales", "since": 2, "from": "2026-01-02T10:30:00+00:00"}
    grown = manifest(sales, "silver.trailing")
    full_refresh(sales)
    assert manifest(sales, "silver.trailing") == grown


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (
            "5,west,2026-01-03T08:00:00Z,1\n6,west,2026-01-03T08:00:00Z,2\n",
            "must be unique together",
        ),
        ("5,NA,2026-01-03T08:00:00Z,1\n", "shop must be set"),
    ],
)
def test_replaced_rows_of_a_feature_table_keep_its_contract(sales, again, said):
    define(sales, FOLLOWED, "followed.sql")
    sales.run()
    sales.write("landing/later.csv", f"id,shop,sold_at,amount\n4,west,{NOON},1\n")
    sales.ingest()
    sales.run()
    assert increment(sales, "features.followed")["from"] == "2026-01-02T12:00:00+00:00"
    before = manifest(sales, "features.followed")
    sales.write("landing/again.csv", f"id,shop,sold_at,amount\n{again}")
    sales.ingest()
    with pytest.raises(FeatureTableError, match=said):
        sales.run()
    assert manifest(sales, "features.followed") == before


def test_a_lookback_that_is_too_short_is_found_by_a_full_refresh(sales):
    define(sales, SOLD, "sold.sql")
    define(sales, TRAILING.replace("3h", "1h"), "trailing.sql")
    deliver_at(sales, "one", datetime(2026, 1, 2, 8, 10))
    sales.run()
    deliver_at(sales, "two", datetime(2026, 1, 2, 10, 20))
    sales.run()
    with pytest.raises(
        StepError, match=r"silver\.trailing .* those of v2.*most likely the lookback"
    ):
        full_refresh(sales)
    define(sales, TRAILING, "trailing.sql")
    sales.run()
    assert increment(sales, "silver.trailing") is None


def test_a_month_more_of_the_reference_project_gives_the_same_tables(demo, tmp_path):
    folder = fresh_copy(tmp_path / "nyc_flights")
    landing = shutil.copytree(demo.folder / "landing", folder / "landing")
    december = [*landing.glob("*/*2013-12.csv")]
    for file in december:
        file.rename(tmp_path / file.name)
    project = ProjectFolder(folder)
    ingest_all(project)
    project.run()
    for file in december:
        (tmp_path / file.name).rename(file)
    ingest_all(project)
    project.run()
    computed = [n for n in demo.lake.table_names() if n.startswith(("silver", "gold", "features"))]
    assert {n: manifest(project, n) for n in computed} == {
        n: demo.lake.read(n).record.manifest for n in computed
    }
    fixed = {"silver.airlines", "silver.airports", "silver.planes", "features.planes"}
    assert {n for n in computed if increment(project, n)} == {*computed} - fixed


def ingest_all(project) -> None:
    for source in project.lake.project.settings.sources:
        project.ingest(source)


@given(
    batches=st.lists(st.lists(st.integers(0, 7), min_size=2, max_size=6), min_size=2, max_size=3)
)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_late_rows_find_their_place_whatever_the_order(tmp_path_factory, batches):
    project = ProjectFolder(tmp_path_factory.mktemp("trailing"))
    project.write("lakehouse.yml", SALES_SOURCE)
    project.write("spark-pipeline.yml", SPEC)
    define(project, SOLD, "sold.sql")
    define(project, TRAILING, "trailing.sql")
    start = datetime(2026, 3, 1)
    for number, hours in enumerate(batches):
        moments = [start + timedelta(hours=hour, minutes=hour) for hour in hours]
        deliver_at(project, f"batch{number}", *moments)
        project.run()
    grown = manifest(project, "silver.trailing")
    full_refresh(project)
    assert manifest(project, "silver.trailing") == grown


def deliver_at(project, name: str, *moments: datetime) -> None:
    rows = "".join(f"{i},east,{moment.isoformat()}Z,{i}\n" for i, moment in enumerate(moments))
    project.write(f"landing/{name}.csv", f"id,shop,sold_at,amount\n{rows}")
    project.ingest()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("'3h'", "'3'", "lookback"),
        ("'3h'", "'-3h'", "must not be negative"),
        ("bronze.sales.sold_at", "sold_at", "source"),
        ("bronze.sales.sold_at", "bronze.sale.sold_at", "does not read. Did you mean"),
        ("bronze.sales.sold_at", "bronze.sales.sold", "has no column 'sold'. Did you mean"),
        ("bronze.sales.sold_at", "bronze.sales.shop", "is a string"),
        ("= 'ends_at'", "= 'shop'", "is a string"),
        ("= 'ends_at'", "= 'end_at'", "has no column 'end_at'"),
        ("incremental.timestamp", "incremental.time", "time"),
        ("MATERIALIZED VIEW", "STREAMING TABLE", "are for materialized views"),
    ],
)
def test_a_mistake_in_the_declaration_is_said_with_its_place(sales, old, new, said):
    define(sales, SOLD, "sold.sql")
    define(sales, TRAILING.replace(old, new), "trailing.sql")
    with pytest.raises(DefinitionError, match=re.escape(said)) as caught:
        sales.plan()
    assert "transformations/trailing.sql:1" in str(caught.value)


def test_rows_without_a_moment_are_refused(sales):
    define(sales, "CREATE TEMPORARY VIEW sold AS SELECT * FROM bronze.sales", "sold.sql")
    define(sales, TRAILING, "trailing.sql")
    sales.write("landing/unknown.csv", "id,shop,sold_at,amount\n5,south,NA,5\n")
    sales.ingest()
    with pytest.raises(StepError, match="1 row has no 'ends_at'"):
        sales.run()


def test_only_tables_are_renamed_in_a_query():
    query = "WITH b AS (SELECT 'b' AS k FROM silver.a) SELECT b.k FROM b JOIN c USING (k)"
    assert tables_renamed(query, {"silver.a": "x", "b": "y", "c": "z"}) == (
        "WITH b AS (SELECT 'b' AS k FROM x AS `a`) SELECT b.k FROM b JOIN z AS `c` USING (k)"
    )
