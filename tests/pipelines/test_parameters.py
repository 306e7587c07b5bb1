"""Every parameter of `pyspark.pipelines`: it works, or it is refused with the reason."""

from __future__ import annotations

import inspect

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from sololakehouse.errors import DefinitionError, ExpectationError
from tests.pipelines.test_run import define
from tests.pipelines.test_streaming import deliver

VIEW = """
@dp.materialized_view(name="silver.x", {more})
def x():
    return spark.table("bronze.sales").select("id", "shop", "amount")
"""
STREAM = VIEW.replace("materialized_view", "table").replace("spark.table", "spark.readStream.table")
CREATED = """
dp.create_streaming_table("silver.x", {more})


@dp.append_flow(target="silver.x")
def x():
    return spark.readStream.table("bronze.sales").select("id", "shop", "amount")
"""
SQL = "CREATE MATERIALIZED VIEW silver.x ({more}) AS SELECT id, shop, amount FROM bronze.sales"
WAYS = {"a view": VIEW, "a table": STREAM, "a created table": CREATED}
DDL = "shop STRING, amount DOUBLE, id BIGINT"
STRUCT = (
    'T.StructType([T.StructField("shop", T.StringType()), T.StructField("amount", '
    'T.DoubleType()), T.StructField("id", T.LongType())])'
)
TYPES = "\nfrom pyspark.sql import types as T\n"


def columns(project) -> list[str]:
    return [column.name for column in project.lake.read("silver.x").fields]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schema", [f'"{DDL}"', STRUCT])
def test_a_schema_decides_the_order_of_the_columns(sales, way, schema):
    define(sales, TYPES + WAYS[way].format(more=f"schema={schema}"))
    define(sales, "CREATE MATERIALIZED VIEW gold.y AS SELECT * FROM silver.x", "y.sql")
    sales.run()
    assert columns(sales) == ["shop", "amount", "id"]
    rows = sales.lake.read("silver.x").to_polars().sort("id").rows()
    assert rows == [("north", 10.5, 1), ("south", None, 2), ("north", 7.0, 3)]
    assert sales.lake.read("gold.y").to_polars().columns == ["shop", "amount", "id"]
    deliver(sales, "2026-02", 4)
    sales.run()
    assert sales.lake.read("silver.x").rows == 4


def test_a_column_list_in_sql_is_a_schema(sales):
    more = "shop STRING COMMENT 'which', amount DOUBLE NOT NULL, id BIGINT"
    define(sales, SQL.format(more=f"{more}, CONSTRAINT c EXPECT (id > 0)"), "x.sql")
    with pytest.raises(ExpectationError, match="1 of 3 rows violate 'amount NOT NULL'"):
        sales.run()
    define(sales, SQL.format(more=more.replace(" NOT NULL", "")), "x.sql")
    sales.run()
    assert columns(sales) == ["shop", "amount", "id"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("id BIGINT, shop STRING", "it also gives amount double. Change the query"),
        (f"{DDL}, more INT", "it lacks more int."),
        (DDL.replace("BIGINT", "INT"), "it gives id as bigint instead of int"),
        ("id BIGINT, shop STRING, amont DOUBLE", "it lacks amont double, also gives amount double"),
    ],
)
@pytest.mark.parametrize("way", [*WAYS, "SQL"])
def test_a_query_that_does_not_fit_its_schema(sales, way, schema, message):
    if way == "SQL":
        define(sales, SQL.format(more=schema), "extra.sql")
    else:
        define(sales, WAYS[way].format(more=f'schema="{schema}"'))
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    assert str(caught.value).startswith("transformations/extra.")
    assert f"silver.x: the query does not fit the declared schema: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("id BIGINT shop", "the schema 'id BIGINT shop' cannot be read: "),
        ("id FOO", "the schema 'id FOO' cannot be read: "),
        ("id INT, ID INT", "the schema names the column 'id' twice"),
    ],
)
def test_a_schema_that_is_none(sales, schema, message):
    define(sales, VIEW.format(more=f'schema="{schema}"'))
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    assert str(caught.value).startswith(f"transformations/extra.py:6: {message}")


def test_a_changed_schema_computes_the_table_again(sales):
    define(sales, VIEW.format(more='comment="x"'))
    sales.run()
    define(sales, VIEW.format(more=f'comment="x", schema="{DDL}"'))
    assert sales.plan() == {"silver.x": "run"}
    sales.run()
    assert sales.plan() == {"silver.x": "up to date"}


@pytest.mark.parametrize(
    "text",
    [
        VIEW.format(more='cluster_by=["shop", "amount"]'),
        STREAM.format(more='cluster_by=["shop", "amount"]'),
        "CREATE MATERIALIZED VIEW silver.x CLUSTER BY (shop, amount) AS "
        "SELECT id, shop, amount FROM bronze.sales",
    ],
)
def test_clustered_files_are_sorted(sales, text):
    deliver(sales, "2026-02", *range(90, 4, -1))
    define(sales, text, "extra.sql" if text.startswith("CREATE") else "extra.py")
    sales.run()
    for file in sales.lake.read("silver.x").data_files:
        rows = pq.read_table(file, columns=["shop", "amount"]).to_pylist()
        pairs = [(row["shop"], -1 if row["amount"] is None else row["amount"]) for row in rows]
        assert pairs == sorted(pairs)
    assert sales.lake.read("silver.x").rows == 89


@pytest.mark.parametrize("way", WAYS)
def test_a_comment_is_the_description_of_the_table(sales, way):
    define(sales, WAYS[way].format(more='comment="what we sold"'))
    sales.run()
    path = sales.lake.path("silver.x")
    assert DeltaTable(path).metadata().description == "what we sold"
    define(sales, WAYS[way].format(more='comment="what was sold"'))
    assert sales.plan() == {"silver.x": "up to date"}
    deliver(sales, "2026-02", 4)
    sales.run()
    assert DeltaTable(path).metadata().description == "what was sold"


REFUSED = {
    "partition_cols": ('partition_cols=["shop"]', "Write cluster_by=['shop'] to sort them"),
    "format": ('format="parquet"', "cannot have the format 'parquet': every table of a lakehouse"),
    "a column": ('cluster_by=["shopp"]', "no column 'shopp' to cluster by. Did you mean 'shop'?"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_refused_says_why(sales, way, case):
    more, message = REFUSED[case]
    define(sales, WAYS[way].format(more=more))
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    assert message in str(caught.value)
    assert str(caught.value).startswith("transformations/extra.py:")


@pytest.mark.parametrize(
    ("clause", "message"),
    [
        ("USING parquet", "cannot have the format 'parquet'"),
        ("PARTITIONED BY (shop)", "partition_cols of silver.x is not supported"),
        ("LOCATION '/tmp/x'", "LOCATION is not supported before AS"),
    ],
)
def test_clauses_of_sql_that_are_refused(sales, clause, message):
    define(sales, f"CREATE MATERIALIZED VIEW silver.x {clause} AS SELECT 1 AS a", "x.sql")
    with pytest.raises(DefinitionError, match=rf"^transformations/x\.sql:1: .*{message}"):
        sales.plan()


def test_the_format_delta_is_what_it_is_anyway(sales):
    define(sales, VIEW.format(more='format="delta"'))
    define(sales, "CREATE MATERIALIZED VIEW silver.y USING delta AS SELECT 1 AS a", "y.sql")
    sales.run()
    assert sales.lake.read("silver.y").rows == 1


CONF = "spark_conf={conf}"


@pytest.mark.parametrize(
    "conf",
    [
        {"spark.sql.shuffle.partitions": "4"},
        {"spark.sql.ansi.enabled": "true", "spark.sql.session.timeZone": "utc"},
        {"my.own": "x"},
    ],
)
def test_settings_of_a_flow_that_decide_nothing(sales, conf):
    define(sales, VIEW.format(more=f"spark_conf={conf}"))
    sales.run()
    assert sales.lake.read("silver.x").rows == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.sql.ansi.enabled", "false"),
        ("spark.sql.session.timeZone", "Asia/Tokyo"),
        ("spark.sql.caseSensitive", "true"),
        ("spark.sql.legacy.timeParserPolicy", "LEGACY"),
    ],
)
def test_settings_of_a_flow_that_would_decide_about_rows(sales, key, value):
    define(sales, VIEW.format(more=f'spark_conf={{"{key}": "{value}"}}'))
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    assert f"spark_conf of silver.x: '{key}' cannot be '{value}' for one flow" in str(caught.value)
    assert "Set it under 'configuration' in spark-pipeline.yml" in str(caught.value)


def test_settings_of_an_appending_flow_and_of_a_view(sales):
    conf = '{"spark.sql.ansi.enabled": "false"}'
    flow = CREATED.format(more="comment=''")
    flow = flow.replace('target="silver.x"', f'target="silver.x", spark_conf={conf}')
    define(sales, flow, "flow.py")
    view = f"\n@dp.temporary_view(spark_conf={conf})\ndef v():\n    return spark.range(1)\n"
    define(sales, view, "view.py")
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    assert "transformations/flow.py:9: spark_conf of x: " in str(caught.value)
    assert "transformations/view.py:6: spark_conf of v: " in str(caught.value)


def test_no_parameter_of_the_standard_is_forgotten():
    from pyspark import pipelines as dp

    stored = {"name", "comment", "spark_conf", "table_properties", "partition_cols", "cluster_by"}
    stored |= {"schema", "format", "query_function"}
    known = {
        "append_flow": {"target", "name", "spark_conf"},
        "create_auto_cdc_flow": None,
        "create_sink": {"name", "format", "options"},
        "create_streaming_table": stored - {"spark_conf", "query_function"},
        "materialized_view": stored,
        "table": stored,
        "temporary_view": {"name", "comment", "spark_conf", "query_function"},
    }
    assert set(known) == set(dp.__all__)
    for name, parameters in known.items():
        if parameters is not None:
            assert set(inspect.signature(getattr(dp, name)).parameters) == parameters


def test_a_flow_function_does_not_change_the_session(sales):
    body = '    spark.conf.set("spark.sql.ansi.enabled", "false")\n    return spark.range(1)\n'
    define(sales, f'\n@dp.materialized_view(name="silver.x")\ndef x():\n{body}')
    with pytest.raises(DefinitionError, match=r"extra\.py:8: silver\.x: .*SET_RUNTIME_CONF"):
        sales.plan()
