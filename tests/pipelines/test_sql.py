from __future__ import annotations

import re

import pytest

from sololakehouse.errors import DefinitionError
from sololakehouse.pipelines.sql import normal_form, tables_in
from sololakehouse.pipelines.sql_statements import Constraint, SqlDatabase, SqlSetting, definitions

FILE = """\
-- A comment; with a semicolon.
CREATE MATERIALIZED VIEW silver.a
COMMENT "what it's for"
TBLPROPERTIES ('expect.ok' = "x IN ('a;b')", 'feature.keys' = 'k')
AS WITH c AS (SELECT * FROM bronze.b) SELECT c.x FROM c /* why */ JOIN `bronze`.d USING (k);

CREATE TEMPORARY VIEW v AS SELECT 1.5D AS x
"""


def test_statements_are_read_with_their_text_lines_and_properties():
    first, second = definitions(FILE, "a.sql")
    assert (first.kind, first.name, first.line) == ("materialized view", "silver.a", 2)
    assert first.comment == "what it's for"
    assert first.properties == {"expect.ok": "x IN ('a;b')", "feature.keys": "k"}
    assert first.query.startswith("WITH c AS")
    assert first.query.endswith("USING (k)")
    assert (second.kind, second.name, second.query) == ("temporary view", "v", "SELECT 1.5D AS x")


def test_constraints_are_read_with_what_happens_on_violation():
    (found,) = definitions(
        """CREATE MATERIALIZED VIEW silver.x (
          CONSTRAINT has_shop EXPECT (shop IS NOT NULL AND amount IN (1, 2)),
          CONSTRAINT `is positive` EXPECT (amount > 0) ON VIOLATION DROP ROW, -- why
          CONSTRAINT small EXPECT (coalesce(amount, 0) < 5) ON VIOLATION FAIL UPDATE
        ) COMMENT 'a (b)' TBLPROPERTIES ('k' = 'v') AS SELECT * FROM bronze.sales""",
        "x.sql",
    )
    assert found.constraints == (
        Constraint("has_shop", "shop IS NOT NULL AND amount IN (1, 2)", ""),
        Constraint("is positive", "amount > 0", "DROP ROW"),
        Constraint("small", "coalesce(amount, 0) < 5", "FAIL UPDATE"),
    )
    assert (found.name, found.comment, found.properties) == ("silver.x", "a (b)", {"k": "v"})
    assert found.query == "SELECT * FROM bronze.sales"


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("a, b", "the column 'a' has no type. Write its type behind it"),
        ("a INT,, b INT", "hold an empty entry"),
        ("", "hold an empty entry"),
        ("CONSTRAINT", "cannot be read. Write CONSTRAINT name EXPECT"),
        ("CONSTRAINT a CHECK (x)", "'CONSTRAINT a CHECK ...' cannot be read"),
        ("CONSTRAINT a EXPECT ()", "cannot be read"),
        ("CONSTRAINT a EXPECT (x) ON VIOLATION IGNORE", "cannot be read"),
    ],
)
def test_what_is_no_constraint_is_refused(inside, message):
    with pytest.raises(DefinitionError, match=re.escape(message)):
        list(definitions(f"CREATE MATERIALIZED VIEW y ({inside}) AS SELECT 1", "x.sql"))


def test_tables_of_a_query_leave_out_its_own_names():
    query = """
        WITH c AS (SELECT * FROM bronze.b)
        SELECT *, (SELECT max(x) FROM gold.m) FROM c
        WHERE k IN (SELECT k FROM d) AND EXISTS (SELECT 1 FROM silver.`e f`)
    """
    assert tables_in(query) == {"bronze.b", "gold.m", "d", "silver.e f"}


def test_a_name_that_is_shadowed_in_a_subquery_is_still_read_outside():
    query = "SELECT * FROM c JOIN (WITH c AS (SELECT 1 AS k) SELECT * FROM c) AS d USING (k)"
    assert tables_in(query) == {"c"}


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("select a from t", "SELECT\n  a -- why\nFROM t;", True),
        ("select 'a  b'", "select 'a b'", False),
        ("select 'A'", "select 'a'", False),
        ("select `a b`", "select a b", False),
        ("select 1.5D", "select 1.5", False),
        ("select a from t", "select a from u", False),
    ],
)
def test_the_normal_form_ignores_what_does_not_count(one, two, equal):
    assert (normal_form(one) == normal_form(two)) is equal


@pytest.mark.parametrize(
    "text", ["SELECT 1", "CREATE MATERIALIZED VIEW x", "DROP TABLE x", "'open"]
)
def test_what_is_no_definition_is_refused_with_its_place(text):
    with pytest.raises(DefinitionError, match=r"a\.sql"):
        list(definitions(text, "a.sql"))


STATEMENTS = """\
/* Settings; first. */ SET my.key = a 'b' c; -- it's one; still
SET `spark.sql.ansi.enabled`=true;;
USE SCHEMA `gold`;
CREATE MATERIALIZED VIEW `a;b`.`c``d` AS SELECT '; -- no', "it's", `x;y` FROM `t;u`;
CREATE FLOW `my flow` AS INSERT INTO TABLE silver.`e f` BY NAME
SELECT 1 AS `BY`, 'NAME; x' AS name FROM STREAM(`s t`.u) ; ;
USE spark_catalog.silver; USE NAMESPACE bronze; USE plain
"""


def test_several_statements_with_odd_names_and_comments():
    setting, ansi, schema, view, flow, *used = definitions(STATEMENTS, "a.sql")
    assert setting == SqlSetting("my.key", "a 'b' c", 1)
    assert ansi == SqlSetting("spark.sql.ansi.enabled", "true", 2)
    assert schema == SqlDatabase("gold", 3)
    assert (view.name, view.line) == ("a;b.c`d", 4)
    assert view.query == "SELECT '; -- no', \"it's\", `x;y` FROM `t;u`"
    assert (flow.name, flow.target, flow.line) == ("my flow", "silver.e f", 5)
    assert flow.query == "SELECT 1 AS `BY`, 'NAME; x' AS name FROM STREAM(`s t`.u)"
    assert [found.name for found in used] == ["silver", "bronze", "plain"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SET my.key", "this SET cannot be read. Write SET key = value"),
        ("SET my.key =", "this SET cannot be read"),
        ("SET", "this SET cannot be read"),
        ("USE CATALOG main", "a lakehouse is one catalog, spark_catalog"),
        ("USE main.gold", "Write USE SCHEMA and the name of a schema"),
        ("USE", "Write USE SCHEMA"),
        ("CREATE FLOW f AS SELECT 1", "this flow cannot be read"),
        ("CREATE FLOW a.f AS INSERT INTO t BY NAME SELECT 1", "the name has one part"),
        ("CREATE FLOW f AS INSERT INTO t SELECT 1", "by the names of the columns"),
        ("CREATE FLOW f AS INSERT INTO t (a) BY NAME SELECT 1", "no columns or partitions"),
        ("CREATE FLOW f AS INSERT OVERWRITE t BY NAME SELECT 1", "this flow cannot be read"),
        ("CREATE TEMPORARY VIEW v (a INT) AS SELECT 1", "Name them in the query"),
        ("CREATE VIEW v AS SELECT 1", "'CREATE VIEW v ...' is not supported"),
        ("CREATE VIEW v AS SELECT 1", "Supported: CREATE MATERIALIZED VIEW"),
        ("CREATE OR REFRESH STREAMING TABLE t", "write CREATE without OR REFRESH"),
        (
            "CREATE MATERIALIZED VIEW v SCHEDULE EVERY 1 HOUR AS SELECT 1",
            "Between name and AS may stand: columns and constraints in parentheses, COMMENT",
        ),
        ("CREATE MATERIALIZED VIEW v WITH ROW FILTER f ON (a) AS SELECT 1", "head of this"),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT a, FROM WHERE b",
            "table name near 'WHERE'",
        ),
        (
            "CREATE MATERIALIZED VIEW v TBLPROPERTIES ('a' = '1', a = 2) AS SELECT 1",
            "the table property 'a' is there twice",
        ),
    ],
)
def test_statements_that_are_refused(text, message):
    with pytest.raises(DefinitionError) as caught:
        list(definitions(f"-- first\n{text}", "a.sql"))
    assert str(caught.value).startswith("a.sql:2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT\n 'a", "a.sql: the ' in line 2 is not closed"),
        ("SELECT /* a", "a.sql: a quote or a comment is not closed"),
    ],
)
def test_what_has_no_end(text, message):
    with pytest.raises(DefinitionError, match=re.escape(message)):
        list(definitions(text, "a.sql"))


def test_properties_are_written_as_spark_reads_them():
    (found,) = definitions(
        "CREATE MATERIALIZED VIEW x TBLPROPERTIES (pipelines.deterministic = false, "
        "'a' = 5, b = 1.5, \"c\" = 'x', `d.e` = TRUE) AS SELECT 1",
        "x.sql",
    )
    assert found.properties == {
        "pipelines.deterministic": "false",
        "a": "5",
        "b": "1.5",
        "c": "x",
        "d.e": "true",
    }


def test_what_stands_before_as_is_read():
    (found,) = definitions(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS x (a INT NOT NULL COMMENT 'of, (it)', "
        "b DECIMAL(10, 2), c STRUCT<d: INT, e: STRING>) USING DELTA PARTITIONED BY (a, b) "
        "CLUSTER BY (`b`, c) COMMENT 'x' TBLPROPERTIES ('k' = 'v') AS SELECT 1",
        "x.sql",
    )
    assert found.columns == (
        "a INT NOT NULL COMMENT 'of, (it)', b DECIMAL ( 10 , 2 ), c STRUCT < d : INT, e : STRING >"
    )
    assert (found.format, found.partition_cols, found.cluster_by) == (
        "delta",
        ("a", "b"),
        ("b", "c"),
    )
    assert (found.name, found.comment, found.properties) == ("x", "x", {"k": "v"})


def test_use_says_where_names_without_a_schema_belong(sales):
    sales.write(
        "transformations/a.sql",
        """
        CREATE MATERIALIZED VIEW first AS SELECT id FROM bronze.sales;
        USE SCHEMA gold;
        CREATE TEMPORARY VIEW v AS SELECT * FROM first;
        CREATE MATERIALIZED VIEW first AS SELECT id, 'gold' AS way FROM bronze.sales;
        CREATE MATERIALIZED VIEW second AS
        WITH silver AS (SELECT first.id, way FROM first) SELECT silver.*, v.id AS v FROM silver
        JOIN v ON v.id = silver.id WHERE 'first' <> 'FROM first';
        CREATE STREAMING TABLE third;
        CREATE FLOW f AS INSERT INTO third BY NAME SELECT way FROM STREAM(first) AS s;
        USE SCHEMA silver;
        CREATE MATERIALIZED VIEW fourth AS SELECT * FROM first;
        """,
    )
    sales.write("transformations/b.sql", "CREATE MATERIALIZED VIEW fifth AS SELECT * FROM first")
    sales.run()
    columns = {name: sales.lake.read(name).to_polars().columns for name in sales.lake.table_names()}
    assert columns["silver.first"] == ["id"]
    assert columns["gold.first"] == ["id", "way"]
    assert columns["gold.second"] == ["id", "way", "v"]
    assert columns["gold.third"] == ["way"]
    assert columns["silver.fourth"] == columns["silver.fifth"] == ["id"]


def test_settings_of_a_file_hold_if_they_are_those_of_the_session(sales):
    text = "SET {} = {};\nCREATE MATERIALIZED VIEW x AS SELECT id FROM bronze.sales"
    for key, value in (("spark.sql.ansi.enabled", "true"), ("my.own", "x")):
        sales.write("transformations/a.sql", text.format(key, value))
        assert sales.plan() == {"silver.x": "run"}
    sales.write("transformations/a.sql", text.format("spark.sql.ansi.enabled", "false"))
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    message = "transformations/a.sql:1: SET: 'spark.sql.ansi.enabled' cannot be 'false' for one"
    assert str(caught.value).startswith(message)
