"""What a pipeline source may not do, and that all of it is said at once."""

from __future__ import annotations

import pytest

from sololakehouse.errors import DefinitionError
from tests.pipelines.test_run import define, pipeline  # noqa: F401  (a fixture)

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
    assert "transformations/a.sql:1: 'CREATE VIEW GOLD' is not supported" in message
    assert "transformations/extra.py:5: ModuleNotFoundError" in message
