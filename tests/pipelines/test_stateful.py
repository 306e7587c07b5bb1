"""A stream's query may only ask for the new rows."""

from __future__ import annotations

import pytest

from sololakehouse.engine import Engine
from sololakehouse.errors import DefinitionError
from sololakehouse.pipelines.stateful import earlier_rows_needed
from tests.pipelines.test_run import define

# `s` and `t` stand for the new rows of streams, every other table is read as it is.
REFUSED_SQL = {
    "SELECT shop, count(*) AS n FROM s GROUP BY shop": "groups rows",
    "SELECT count(*) AS n FROM s": "groups rows",
    "SELECT max(id) + 1 AS n FROM (SELECT id FROM s WHERE id > 0)": "groups rows",
    "SELECT n FROM (SELECT shop, sum(id) AS n FROM s GROUP BY ALL)": "groups rows",
    "WITH c AS (SELECT * FROM s) SELECT shop, avg(id) AS n FROM c GROUP BY shop": "groups rows",
    "WITH c AS (SELECT * FROM s) SELECT rank() OVER (ORDER BY id) AS n FROM c": "window of rows",
    "SELECT DISTINCT shop FROM s": "there twice",
    "SELECT shop FROM s LIMIT 3": "LIMIT",
    "SELECT id, row_number() OVER (PARTITION BY shop ORDER BY id) AS n FROM s": "window of rows",
    "SELECT id, lag(id) OVER (ORDER BY id) AS n FROM s JOIN a USING (id)": "window of rows",
    "SELECT id FROM s QUALIFY row_number() OVER (ORDER BY id) = 1": "window of rows",
    "SELECT id FROM s UNION SELECT id FROM t": "UNION without ALL",
    "SELECT id FROM s UNION ALL SELECT id FROM t LIMIT 3": "LIMIT",
    "SELECT id FROM s EXCEPT SELECT id FROM a": "come again in each run",
    "SELECT id FROM s INTERSECT SELECT id FROM t": "INTERSECT",
    "SELECT id FROM s UNION ALL SELECT id FROM a": "come again in each run",
    "SELECT s.id FROM s JOIN t ON s.id = t.id": "joins a stream with a stream",
    "SELECT s.id FROM s, t WHERE s.id = t.id": "joins a stream with a stream",
    "SELECT one.id FROM s AS one JOIN s AS two USING (id)": "joins a stream with a stream",
    "SELECT a.id FROM a LEFT JOIN s ON a.id = s.id": "no match",
    "SELECT a.id FROM s RIGHT JOIN a ON a.id = s.id": "no match",
    "SELECT a.id FROM s FULL JOIN a ON a.id = s.id": "no match",
    "SELECT a.id FROM a LEFT ANTI JOIN s ON a.id = s.id": "no match",
    "SELECT a.id FROM a SEMI JOIN s ON a.id = s.id": "no match",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM s WHERE s.id = a.id)": "in a subquery",
    "SELECT id FROM s WHERE id > (SELECT min(id) FROM s)": "in a subquery",
}
ALLOWED_SQL = (
    "SELECT id, upper(shop) AS shop, CASE WHEN id > 1 THEN 1 END AS n FROM s WHERE id > 0",
    "SELECT s.id, n FROM s LEFT JOIN (SELECT id, count(*) AS n FROM a GROUP BY id) b USING (id)",
    "SELECT s.id FROM a RIGHT JOIN s ON a.id = s.id",
    "SELECT s.id FROM s LEFT SEMI JOIN a ON a.id = s.id",
    "SELECT s.id FROM s ANTI JOIN a ON a.id = s.id",
    "SELECT id FROM s WHERE id IN (SELECT max(id) FROM a GROUP BY shop)",
    "SELECT id, (SELECT max(id) FROM a) AS n FROM s",
    "WITH top AS (SELECT DISTINCT id FROM a) SELECT s.id FROM s JOIN top USING (id)",
    "WITH s AS (SELECT id FROM a GROUP BY id) SELECT id, count(*) AS n FROM s GROUP BY id",
    "WITH s AS (SELECT id FROM a GROUP BY id) SELECT t.id FROM t JOIN s USING (id)",
    "SELECT id FROM s UNION ALL SELECT id FROM t",
    "SELECT id FROM s ORDER BY id",
    "SELECT explode(array(id, id + 1)) AS id FROM s",
    "SELECT aggregate(array(id), 0L, (x, y) -> x + y) AS n, greatest(id, 1) AS m FROM s",
)
REFUSED_FRAMES = {
    "s.groupBy('shop').count()": "groups rows",
    "s.agg(F.max('id'))": "groups rows",
    "s.select(F.count('*'))": "groups rows",
    "s.selectExpr('sum(id) AS n')": "groups rows",
    "s.dropDuplicates(['shop'])": "there twice",
    "s.distinct().select('id')": "there twice",
    "s.limit(1)": "LIMIT",
    "s.withColumn('n', F.row_number().over(w))": "window of rows",
    "s.selectExpr('rank() OVER (ORDER BY id) AS n')": "window of rows",
    "s.join(t, 'id')": "joins a stream with a stream",
    "a.join(s, 'id', 'left')": "no match",
    "a.join(s, 'id', 'left_anti')": "no match",
    "s.join(a, 'id', 'outer')": "no match",
    "s.union(a)": "come again in each run",
    "s.intersect(t)": "INTERSECT",
    "s.join(a, 'id').groupBy('id').applyInPandas(lambda d: d, 'id int')": "groups rows",
}
ALLOWED_FRAMES = (
    "s.where('id > 1').withColumn('n', F.col('id') + 1).drop('shop')",
    "s.join(a.groupBy('id').agg(F.count('*').alias('n')), 'id', 'left')",
    "s.join(a.withColumn('n', F.row_number().over(w)).where('n = 1'), 'id')",
    "a.distinct().join(s, 'id', 'right')",
    "s.join(a, 'id', 'left_anti')",
    "s.unionByName(t)",
    "s.where('id > (SELECT max(id) FROM a)').selectExpr('*', 'id AS n')",
    "s.select(F.expr('transform(array(id), x -> x + 1)'), F.expr('INTERVAL 1 DAY'))",
    "s.select(F.explode(F.array('id')).alias('id'), F.array_max(F.array('id')))",
    "s.mapInPandas(lambda parts: parts, 'id int')",
    "a.groupBy('id').count()",
)


@pytest.fixture(scope="module")
def session():
    with Engine.start() as engine:
        for name in ("s", "t", "a"):
            engine.view(name, engine.session.sql("SELECT 1 AS id, 'x' AS shop"))
        yield engine.session


def frame(session, written: str):
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    known = {name: session.table(name) for name in ("s", "t", "a")}
    return eval(written, {**known, "F": F, "w": Window.partitionBy("shop").orderBy("id")})


@pytest.mark.parametrize("query", REFUSED_SQL)
def test_sql_that_needs_earlier_rows(session, query):
    assert REFUSED_SQL[query] in (earlier_rows_needed(session.sql(query), {"s", "t"}) or "")


@pytest.mark.parametrize("query", ALLOWED_SQL)
def test_sql_that_needs_new_rows_only(session, query):
    assert earlier_rows_needed(session.sql(query), {"s", "t"}) is None


@pytest.mark.parametrize("written", REFUSED_FRAMES)
def test_a_dataframe_that_needs_earlier_rows(session, written):
    needed = earlier_rows_needed(frame(session, written), {"s", "t"})
    assert REFUSED_FRAMES[written] in (needed or "")


@pytest.mark.parametrize("written", ALLOWED_FRAMES)
def test_a_dataframe_that_needs_new_rows_only(session, written):
    assert earlier_rows_needed(frame(session, written), {"s", "t"}) is None


def test_it_is_refused_with_its_place(sales):
    define(
        sales,
        "CREATE STREAMING TABLE silver.n AS SELECT shop, count(*) AS n\n"
        "FROM STREAM(bronze.sales) GROUP BY shop",
        "n.sql",
    )
    define(
        sales,
        """
dp.create_sink("out", "json", options={"path": "out"})

@dp.append_flow(target="out", name="first")
def first():
    return spark.readStream.table("bronze.sales").dropDuplicates(["shop"])
""",
    )
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    message = str(caught.value)
    assert "transformations/n.sql:1: silver.n groups rows. A run of a streaming table" in message
    assert "transformations/extra.py:6: out leaves out rows that are there twice" in message
