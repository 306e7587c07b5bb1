"""What a pipeline source may not do, and that all of it is said at once."""

from __future__ import annotations

import re

import pytest

from sololakehouse.errors import DefinitionError
from tests.pipelines.test_run import CLEAN_SQL, define, pipeline  # noqa: F401  (a fixture)

FLOW = """
@dp.materialized_view(name="gold.x"{more})
def x():
    sales = spark.table("bronze.sales")
    return {body}
"""
VOLATILE = {
    "a function": ('sales.withColumn("r", F.rand())', "rand()"),
    "a seed does not help": ('sales.withColumn("r", F.rand(42))', "rand()"),
    "an expression": ('sales.selectExpr("uuid() AS u")', "uuid()"),
    "a condition": ('sales.where("sold_at < current_timestamp")', "current_timestamp()"),
    "a nested call": ('sales.select(F.hour(F.now() + F.expr("INTERVAL 1 DAY")))', "now()"),
    "SQL": ('spark.sql("SELECT *, unix_timestamp() AS u FROM bronze.sales")', "unix_timestamp()"),
    "a sample": ("sales.sample(0.5)", "sample()"),
    "a sample of groups": ("sales.sampleBy('shop', {'north': 0.5})", "sampleBy()"),
    "a sample in SQL": (
        'spark.sql("SELECT * FROM bronze.sales TABLESAMPLE (5 PERCENT)")',
        "tablesample()",
    ),
    "a function by its name": ('sales.select(F.call_function("rand"))', "rand()"),
    "a literal": ("spark.sql(\"SELECT TIMESTAMP 'now' AS at FROM bronze.sales\")", "now()"),
    "a day": ("sales.where(\"sold_at < DATE ' Today UTC'\")", "now()"),
    "two": ("sales.select(F.uuid(), F.rand())", "rand(), uuid()"),
    "a place in a file": ("sales.select(F.monotonically_increasing_id())", "monotonically_incr"),
    "a function of Python": (
        'sales.select(F.udf(lambda v: v, "string").asNondeterministic()("shop"))',
        "<lambda>()",
    ),
}
STEADY = {
    "a moment as an argument": "sales.select(F.unix_timestamp('sold_at'))",
    "a column of that name": 'sales.select(F.col("shop").alias("rand")).select("rand")',
    "text": "sales.select(F.lit('now()'))",
    "a moment in SQL": "spark.sql(\"SELECT DATE '2026-01-01' AS d, 'now' AS n FROM bronze.sales\")",
    "an alias in SQL": 'spark.sql("SELECT shop AS current_date FROM bronze.sales")',
    "a function of Python": 'sales.select(F.udf(lambda v: v, "string")("shop"))',
}
ACTIONS = {
    "collect": ("sales.limit(len(sales.collect()))", "DataFrame.collect()"),
    "count": ("sales.limit(sales.count())", "DataFrame.count()"),
    "first": ("sales.where(sales.id == sales.first().id)", "DataFrame.first()"),
    "save": ('sales.write.saveAsTable("gold.y")', "DataFrame.write"),
    "a stream": ('sales.writeStream.toTable("gold.y")', "DataFrame.writeStream"),
    "a command": ('spark.sql("DROP TABLE bronze.sales")', "spark.sql(DROP ...)"),
}


@pytest.mark.parametrize("case", VOLATILE)
def test_a_query_whose_answer_changes_is_refused(pipeline, case):  # noqa: F811
    body, calls = VOLATILE[case]
    define(pipeline, FLOW.format(more="", body=body))
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    assert f"transformations/extra.py:6: gold.x uses {calls}" in str(caught.value)
    assert "'pipelines.deterministic' as 'false'" in str(caught.value)


@pytest.mark.parametrize("case", STEADY)
def test_what_only_looks_like_it_is_not(pipeline, case):  # noqa: F811
    define(pipeline, FLOW.format(more="", body=STEADY[case]))
    assert pipeline.plan()["gold.x"] == "run"


PAST = {
    "SQL": 'spark.sql("SELECT * FROM bronze.sales VERSION AS OF 1")',
    "a moment": "spark.sql(\"SELECT * FROM bronze.sales TIMESTAMP AS OF '2026-01-01'\")",
    "an option": 'spark.read.option("versionAsOf", 1).table("bronze.sales")',
    "changes": 'spark.read.option("readChangeFeed", "true").table("bronze.sales")',
}


@pytest.mark.parametrize("case", PAST)
def test_a_run_reads_the_newest_version(pipeline, case):  # noqa: F811
    define(pipeline, FLOW.format(more="", body=PAST[case]))
    with pytest.raises(DefinitionError, match="reads each table at the version that is the newest"):
        pipeline.plan()


NAMES = {
    "gold.my table": "'gold.my table' is no table name",
    "spark_catalog.gold.x": "has a catalog, and a lakehouse is one catalog. Write gold.x",
    "system.runs": "is in the schema 'system', which tells of runs",
    "bronze.sales": "is filled by 'slh ingest', as lakehouse.yml says",
    "bronze.sales_quarantine": "is filled by 'slh ingest', as lakehouse.yml says",
    "Gold.Totals": "gold.totals at transformations/gold/totals.py:6 differ in upper and lower case",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_a_table_cannot_have(pipeline, name):  # noqa: F811
    quoted = ".".join(f"`{part}`" for part in name.split("."))
    define(pipeline, f"\nCREATE MATERIALIZED VIEW {quoted} AS SELECT 1 AS a", "x.sql")
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    assert str(caught.value).startswith("transformations/x.sql:2: ")
    assert NAMES[name] in str(caught.value)
    assert pipeline.versions() == {"bronze.sales": 1}


READS = {
    "system.runs": "are no input of one: ask them with 'slh query'",
    "spark_catalog.bronze.sales": "a lakehouse is one catalog. Write bronze.sales",
    "csv./tmp/sales.csv": "reads /tmp/sales.csv directly, so no version of it can be pinned",
    "Bronze.SALES": "Did you mean 'bronze.sales'?",
}


@pytest.mark.parametrize("name", READS)
def test_names_that_a_query_cannot_read(pipeline, name):  # noqa: F811
    query = f"SELECT * FROM `{name.replace('.', '`.`', 1)}`"
    if name.startswith("spark_catalog"):
        query = f"SELECT * FROM {name}"
    define(pipeline, FLOW.format(more="", body=f"spark.sql('{query}')"))
    with pytest.raises(DefinitionError, match=re.escape(READS[name])):
        pipeline.plan()


def test_a_view_has_a_name_of_one_part(pipeline):  # noqa: F811
    define(pipeline, "CREATE TEMPORARY VIEW gold.v AS SELECT * FROM bronze.sales", "v.sql")
    with pytest.raises(DefinitionError, match=r"v\.sql:1: .* so its name has one part"):
        pipeline.plan()


def test_a_step_may_declare_it_and_its_commit_says_so(pipeline):  # noqa: F811
    declared = ', table_properties={"pipelines.deterministic": "false"}'
    define(pipeline, FLOW.format(more=declared, body='sales.withColumn("r", F.rand())'))
    pipeline.run()
    details = {name: pipeline.lake.read(name).record.details for name in ("gold.x", "gold.totals")}
    assert [details[name]["deterministic"] for name in details] == [False, True]
    assert pipeline.plan()["gold.totals"] == "up to date"


def test_a_view_counts_where_it_is_read(pipeline):  # noqa: F811
    define(pipeline, "CREATE TEMPORARY VIEW v AS SELECT *, rand() AS r FROM bronze.sales", "v.sql")
    assert pipeline.plan()["v"] == "view"
    define(pipeline, "CREATE MATERIALIZED VIEW gold.x AS SELECT * FROM v", "x.sql")
    with pytest.raises(DefinitionError, match=r"x\.sql:1: gold\.x uses rand\(\)"):
        pipeline.plan()


def test_the_declaration_is_true_or_false(pipeline):  # noqa: F811
    declared = ', table_properties={"pipelines.deterministic": "no"}'
    define(pipeline, FLOW.format(more=declared, body="sales"))
    with pytest.raises(DefinitionError, match="is 'true' or 'false', not 'no'"):
        pipeline.plan()


@pytest.mark.parametrize("case", ACTIONS)
def test_a_flow_function_does_not_act(pipeline, case):  # noqa: F811
    body, call = ACTIONS[case]
    define(pipeline, FLOW.format(more="", body=body))
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    message = str(caught.value)
    assert message.startswith(f"transformations/extra.py:9: gold.x: {call} computes or writes")
    assert "Return the DataFrame" in message
    assert pipeline.versions() == {"bronze.sales": 1}


def test_a_source_file_does_not_act_either(pipeline):  # noqa: F811
    define(pipeline, 'ROWS = spark.table("bronze.sales").count()\n')
    with pytest.raises(DefinitionError, match=r"^transformations/extra\.py:5: DataFrame\.count"):
        pipeline.plan()


def test_afterwards_a_session_can_do_everything_again(pipeline):  # noqa: F811
    from sololakehouse.engine import Engine

    pipeline.plan()
    with Engine.start() as engine:
        assert engine.session.sql("SHOW DATABASES").count() >= 1


def test_all_mistakes_are_said_at_once(pipeline):  # noqa: F811
    define(
        pipeline,
        "CREATE MATERIALIZED VIEW gold.a AS SELECT amont FROM bronze.sales;\n"
        "CREATE MATERIALIZED VIEW gold.b AS SELECT * FROM bronze.salles;\n"
        "CREATE MATERIALIZED VIEW gold.c AS SELECT rand() AS r FROM bronze.sales;\n",
        "a.sql",
    )
    define(pipeline, FLOW.format(more="", body="None"))
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    head, *mistakes = str(caught.value).splitlines()
    assert head == "The pipeline has 4 mistakes; nothing was run."
    starts = [
        "transformations/a.sql:1: gold.a: no column 'amont'",
        "transformations/a.sql:2: gold.b reads 'bronze.salles'",
        "transformations/a.sql:3: gold.c uses rand()",
        "transformations/extra.py:6: gold.x returns nothing",
    ]
    assert [any(mistake.strip().startswith(start) for mistake in mistakes) for start in starts] == [
        True
    ] * 4


def test_what_fails_only_because_its_input_fails_is_not_a_mistake(pipeline):  # noqa: F811
    define(pipeline, "CREATE MATERIALIZED VIEW gold.a AS SELECT amont FROM bronze.sales", "a.sql")
    define(
        pipeline,
        '\n@dp.materialized_view(name="gold.z")\ndef z():\n'
        '    a = spark.table("gold.a")\n    return a.select(*a.columns)\n',
    )
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    assert str(caught.value).startswith("transformations/a.sql:1: gold.a: no column 'amont'")


def test_mistakes_in_two_files_are_both_said(pipeline):  # noqa: F811
    define(pipeline, "CREATE VIEW gold.a AS SELECT 1 AS x", "a.sql")
    define(pipeline, "import nowhere\n")
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    message = str(caught.value)
    assert "transformations/a.sql:1: 'CREATE VIEW gold ...' is not supported" in message
    assert "transformations/extra.py:5: ModuleNotFoundError" in message


def test_all_mistakes_of_declarations_are_said_at_once(pipeline):  # noqa: F811
    define(
        pipeline,
        """
@dp.materialized_view(name="gold.a", partition_cols=["id"])
def a(): return spark.table("bronze.sales")
@dp.materialized_view(name="gold.b")
def b(): return spark.table("bronze.sales")
@dp.materialized_view(name="gold.b")
def again(): return spark.table("bronze.sales")
@dp.materialized_view(name="gold.c", table_properties={"pipelines.deterministic": False})
def c(): return spark.table("bronze.sales")
@dp.append_flow(target="gold.nowhere")
def d(): return spark.readStream.table("bronze.sales")
@dp.materialized_view(name="gold.e", spark_conf={"spark.sql.ansi.enabled": "false"})
def e(): return spark.table("bronze.sales")
@dp.materialized_view(name="gold.f", table_properties={"pipelines.quarantine": "true"})
def f(): return spark.table("bronze.sales")
dp.create_streaming_table("gold.g")
""",
    )
    define(pipeline, "CREATE MATERIALIZED VIEW gold.b AS SELECT 1 AS x", "b.sql")
    define(pipeline, "CREATE MATERIALIZED VIEW gold.h CLUSTER (a) AS SELECT 1 AS x", "h.sql")
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    whole = str(caught.value)
    assert "nothing was run" in whole.splitlines()[0]
    for said in (
        "extra.py:6: partition_cols of gold.a",
        "gold.b is defined twice: at transformations/b.sql:1 and at transformations/extra.py:8",
        "gold.b is defined twice: at transformations/b.sql:1 and at transformations/extra.py:10",
        "extra.py:12: the table property 'pipelines.deterministic' of gold.c must be text; write",
        "extra.py:16: spark_conf of gold.e: 'spark.sql.ansi.enabled' cannot be 'false'",
        "h.sql:1: ",
    ):
        assert said in whole
    assert "is not defined" not in whole  # h.sql might define it
    define(pipeline, "", "h.sql")
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    for said in (
        "extra.py:14: the flow's target 'gold.nowhere' is not defined",
        "extra.py:18: the table property 'pipelines.quarantine' of gold.f is 'true', but none",
        "extra.py:20: no flow fills the streaming table gold.g",
    ):
        assert said in str(caught.value)
    assert "target 'gold.a'" not in str(caught.value)


HINTS = {
    "dp.expect('a', 'id > 0')": "Write 'from sololakehouse.quality import expect', and @",
    "dp.view": "pyspark.pipelines has no 'view'. Write @dp.temporary_view.",
    "dp.apply_changes": "Write dp.create_auto_cdc_flow(...), or for histories sololakehouse.",
    "dp.nothing": "It has: append_flow, create_auto_cdc_flow, create_sink, create_streaming_table",
    "dp.append_flow(target='a', once=True)": "dp.append_flow has no parameter 'once' in the open",
    "import dlt": "there is no module 'dlt'. Write 'from pyspark import pipelines as dp'.",
}


@pytest.mark.parametrize("written", HINTS)
def test_names_of_databricks_get_a_hint(pipeline, written):  # noqa: F811
    define(pipeline, f"{written}\n")
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    assert str(caught.value).startswith("transformations/extra.py:5: ")
    assert HINTS[written] in str(caught.value)


BODIES = {
    "sales.select('id', 'id')": "gold.x: the query gives the column 'id' twice. Leave one out",
    "sales.selectExpr('id', '1 AS ID')": "gold.x: the query gives the column 'id' twice",
    "sales.selectExpr('INTERVAL 2 DAYS AS two')": "'two' is interval day",
    "sales.withWatermark('sold_at', '1 day')": "the engine does not support this: with watermark",
    "dp.read('bronze.sales')": "extra.py:9: gold.x: pyspark.pipelines has no 'read'. Write spark.t",
    "spark.stop()": "extra.py:9: gold.x: spark.stop() would end the session of all sources",
    "__import__('sys').exit(3)": "extra.py:6: gold.x: it calls sys.exit(3), which would end",
    "spark.readStream.format('rate').load()": "extra.py:9: gold.x: spark.readStream.format is not",
    "__import__('pandas').DataFrame()": "extra.py:6: gold.x returns a pandas.",
    "spark.sql('SELECT * FROM {d}', d=sales)": "gives spark.sql(...) a DataFrame as an argument",
    "SparkSession.builder.config('a.b', '1').getOrCreate()": "SparkSession.builder.config('a.b'",
}


@pytest.mark.parametrize("body", BODIES)
def test_what_a_flow_function_may_not_do_either(pipeline, body):  # noqa: F811
    define(pipeline, FLOW.format(more="", body=body))
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    assert BODIES[body] in str(caught.value)


def test_the_session_of_a_builder_is_that_of_the_pipeline(pipeline):  # noqa: F811
    found = "SparkSession.builder.appName('mine').getOrCreate().table('bronze.sales')"
    define(pipeline, FLOW.format(more="", body=found))
    assert pipeline.plan()["gold.x"] == "run"


def test_a_source_may_not_end_the_process(pipeline):  # noqa: F811
    define(pipeline, "raise SystemExit(2)\n")
    with pytest.raises(DefinitionError, match=r"extra\.py:5: sys\.exit\(2\) would end the run"):
        pipeline.plan()


def test_a_helper_that_acts_is_named_by_its_own_line(pipeline):  # noqa: F811
    helper = "def rows(frame):\n    return frame.count()\n"
    define(pipeline, helper + FLOW.format(more="", body="sales.limit(rows(sales))"))
    with pytest.raises(DefinitionError, match=r"^transformations/extra\.py:6: gold\.x: DataFrame"):
        pipeline.plan()


def test_a_flow_function_imports_and_opens_from_the_folder_of_the_spec(
    pipeline,  # noqa: F811
    monkeypatch,
    tmp_path_factory,
):
    pipeline.write("beside_the_spec.py", "FACTOR = 2\n")
    pipeline.write("query.txt", "SELECT id FROM bronze.sales")
    body = "spark.sql(query).selectExpr(f'id * {FACTOR} AS id')"
    flow = FLOW.format(more="", body=body)
    lazy = "    from beside_the_spec import FACTOR\n    with open('query.txt') as file:\n"
    lazy += "        query = file.read()\n    sales ="
    define(pipeline, flow.replace("    sales =", lazy))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    pipeline.run()
    assert pipeline.lake.read("gold.x").rows == 3


def test_a_setting_may_have_a_named_default(pipeline):  # noqa: F811
    body = "sales.limit(int(spark.conf.get('my.key', default='2')))"
    define(pipeline, FLOW.format(more="", body=body))
    assert pipeline.plan()["gold.x"] == "run"


def test_a_sql_file_is_utf8(pipeline):  # noqa: F811
    text = "\ufeffCREATE MATERIALIZED VIEW gold.x AS\nSELECT 'ä' AS a".encode()
    file = pipeline.folder / "transformations/x.sql"
    file.write_bytes(text)
    assert pipeline.plan()["gold.x"] == "run"
    file.write_bytes(text[3:].replace("ä".encode(), b"\xe4"))
    with pytest.raises(DefinitionError, match=r"x\.sql:2: this is no UTF-8 text"):
        pipeline.plan()


def test_a_function_gives_one_query(pipeline):  # noqa: F811
    import_ = "from datetime import datetime\n"
    body = "sales.withColumn('at', F.lit(datetime.now()))"
    define(pipeline, import_ + FLOW.format(more="", body=body))
    with pytest.raises(DefinitionError, match=r"py:7: gold\.x gives another query each time"):
        pipeline.plan()
    declared = ', table_properties={"pipelines.deterministic": "false"}'
    define(pipeline, import_ + FLOW.format(more=declared, body=body))
    assert pipeline.plan()["gold.x"] == "run"
    view = FLOW.replace("materialized_view", "temporary_view").replace("gold.x", "v")
    define(pipeline, import_ + view.format(more="", body=body))
    assert pipeline.plan()["v"] == "view"
    define(pipeline, "CREATE MATERIALIZED VIEW gold.x AS SELECT * FROM v", "x.sql")
    with pytest.raises(DefinitionError, match=r"x\.sql:1: gold\.x gives another query each time"):
        pipeline.plan()


def test_functions_of_python_are_the_same_when_they_are_called_again(pipeline):  # noqa: F811
    define(
        pipeline,
        """
import pandas as pd

@dp.materialized_view(name="gold.x")
def x():
    @F.pandas_udf("double")
    def doubled(s: pd.Series) -> pd.Series:
        return s * 2.0
    few = spark.createDataFrame(pd.DataFrame({"id": [1, 2], "tag": ["a", None]}))
    sales = spark.table("bronze.sales").join(few, "id")
    more = F.transform(F.array("id"), lambda one: one + 1)
    return sales.select(doubled("amount").alias("two"), F.udf(lambda v: v, "string")("shop"), more)
""",
    )
    assert pipeline.plan()["gold.x"] == "run"


def test_mistakes_of_declarations_and_of_queries_are_said_together(pipeline):  # noqa: F811
    define(
        pipeline,
        "CREATE MATERIALIZED VIEW gold.a PARTITIONED BY (id) AS SELECT 1 AS id;\n"
        "CREATE MATERIALIZED VIEW gold.b AS SELECT id FROM gold.a;\n"
        "CREATE MATERIALIZED VIEW gold.c AS SELECT amont FROM bronze.sales;\n"
        "CREATE MATERIALIZED VIEW gold.d AS SELECT id FROM gold.nothing;\n",
        "a.sql",
    )
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    head, *mistakes = str(caught.value).splitlines()
    assert head == "The pipeline has 3 mistakes; nothing was run."
    assert [mistake.strip()[:24] for mistake in sorted(mistakes)] == [
        "transformations/a.sql:1:",
        "transformations/a.sql:3:",
        "transformations/a.sql:4:",
    ]
    define(pipeline, "import nowhere\n")
    with pytest.raises(DefinitionError) as caught:
        pipeline.plan()
    head, *mistakes = str(caught.value).splitlines()
    assert head == "The pipeline has 3 mistakes; nothing was run."
    assert not any("gold.nothing" in mistake for mistake in mistakes)  # extra.py might declare it


def test_what_a_broken_file_declares_is_not_called(pipeline):  # noqa: F811
    flow = FLOW.format(more="", body="helper(sales)")
    define(pipeline, flow + "import nowhere\ndef helper(rows): return rows\n")
    with pytest.raises(DefinitionError, match=r"^transformations/extra\.py:10: ModuleNotFound"):
        pipeline.plan()


def test_a_table_that_is_not_ingested_yet(make_project):
    project = make_project(**{"transformations/x.sql": CLEAN_SQL})
    with pytest.raises(DefinitionError) as caught:
        project.plan()
    assert str(caught.value).endswith(
        "x.sql:1: silver.clean reads 'bronze.sales', which is not there yet: 'slh ingest' fills it "
        "from the landing files."
    )
