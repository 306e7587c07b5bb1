from __future__ import annotations

import re

import pytest

from sololakehouse.errors import DefinitionError
from sololakehouse.pipelines.sql import Constraint, definitions, normal_form, tables_in

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
        ("a, b", "only CONSTRAINT ... EXPECT may stand in the parentheses before AS, not 'A'"),
        ("", "only CONSTRAINT"),
        ("CONSTRAINT", "cannot be read. Write CONSTRAINT name EXPECT"),
        ("CONSTRAINT a CHECK (x)", "'CONSTRAINT A CHECK ...' cannot be read"),
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
