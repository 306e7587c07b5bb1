"""The spec, as Apache Spark's own `spark-pipelines` reads it, and the settings that it gives."""

from __future__ import annotations

import pytest

from sololakehouse.errors import ConfigError, DefinitionError
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.spec import find_spec
from tests.conftest import SPEC
from tests.pipelines.test_run import define

ONE = "CREATE MATERIALIZED VIEW one AS SELECT {0} AS a"
SETTINGS = """\
configuration:
  my.key: '42'
  my.table: bronze.sales
  my.text: ${my.key} + 1
"""
PYTHON = """
KEY = spark.conf.get("my.key")


@dp.materialized_view(name="gold.p")
def p():
    rows = spark.sql("SELECT ${my.key} AS a, '${my.key}' AS b FROM ${my.table} LIMIT 1")
    more = F.lit(spark.conf.get("my.key"))
    return rows.withColumn("c", F.lit(KEY)).withColumn("d", more)
"""


def rows(project, table: str) -> list[tuple]:
    return project.lake.read(table).to_polars().rows()


def with_spec(project, old: str, new: str) -> None:
    assert old in SPEC
    project.write("spark-pipeline.yml", SPEC.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: test\n", "", "name: Field required"),
        ("storage: .pipeline-storage\n", "", "storage: Field required"),
        ("storage:", "storag:", "unknown key 'storag'. Did you mean 'storage'?"),
        ("database: silver", "catalog: main", "a lakehouse is one catalog; write spark_catalog"),
        ("database: silver", "database: a\nschema: b", "another word for 'database'; write one"),
        ("database: silver", "database: a.b", "'a.b' is no schema's name"),
        ("name: test", "configuration: [a]\nname: test", "configuration: Input should be a valid"),
        ("name: test", "configuration: {a: 5}\nname: test", "value of a must be text; write '5'"),
        ("name: test", "configuration: {a: on}\nname: test", "must be text; write 'true'"),
        ("transformations/**", "transformations/**/*.py", "a file's path or a folder's path end"),
        ("transformations/**", "/etc/**", "must be a path below the spec's folder"),
        ("transformations/**", "../x/**", "must be a path below the spec's folder"),
        (
            "name: test",
            "configuration: {spark.sql.ansi.enabled: 'yes'}\nname: test",
            "spark.sql.ansi.enabled is 'true' or 'false', not 'yes'",
        ),
        (
            "name: test",
            "configuration: {spark.sql.session.timeZone: Nowhere}\nname: test",
            "'Nowhere' is no time zone",
        ),
        (
            "name: test",
            "configuration: {spark.sql.caseSensitive: 'true'}\nname: test",
            "would give other rows on Apache Spark",
        ),
        (
            "name: test",
            "configuration: {pipelines.as_of: '2013-12-31'}\nname: test",
            "2013-12-31T00:00:00 has no time zone",
        ),
    ],
)
def test_a_spec_that_is_wrong(sales, old, new, message):
    define(sales, ONE.format(1), "one.sql")
    with_spec(sales, old, new)
    with pytest.raises(ConfigError) as caught:
        sales.plan()
    assert str(caught.value).startswith(f"{sales.folder}/spark-pipeline.yml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("transformation/**", "Did you mean 'transformations'?"),
        ("transformations", "is a folder. Write 'transformations/**'"),
        ("transformations/two.sql", "'transformations/two.sql' does not exist"),
        ("landing/**", "a pipeline source ends in .py or .sql"),
    ],
)
def test_source_files_that_are_not_there(sales, pattern, message):
    define(sales, ONE.format(1), "one.sql")
    with_spec(sales, "transformations/**", pattern)
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    assert message in str(caught.value)


@pytest.mark.parametrize("word", ["database", "schema"])
def test_names_without_a_schema_are_in_the_database(sales, word):
    define(sales, ONE.format(1), "one.sql")
    with_spec(sales, "database: silver", f"{word}: gold\ncatalog: spark_catalog")
    assert sales.plan() == {"gold.one": "run"}


def test_files_and_folders_may_be_listed_twice(sales):
    define(sales, ONE.format(1), "one.sql")
    define(sales, ONE.format(1).replace("one", "two"), "deep/er/two.sql")
    sales.write("transformations/__pycache__/x.pyc", "x")
    old = "  - glob: {include: transformations/**}\n"
    with_spec(sales, old, old + "  - glob: {include: transformations/one.sql}\n")
    assert set(sales.plan()) == {"silver.one", "silver.two"}
    with_spec(sales, old, "  - glob: {include: transformations/one.sql}\n")
    assert set(sales.plan()) == {"silver.one"}


def test_the_nearest_spec_counts(sales, monkeypatch):
    define(sales, ONE.format(1), "one.sql")
    sales.write("other/spark-pipeline.yaml", SPEC.replace("silver", "gold"))
    sales.write("other/transformations/one.sql", ONE.format(2))
    sales.write("other/deep/er/x.txt", "")
    assert sales.plan() == {"silver.one": "run"}
    for folder in ("other", "other/deep/er"):
        monkeypatch.chdir(sales.folder / folder)
        assert sales.plan() == {"gold.one": "run"}
    monkeypatch.chdir(sales.folder / "landing")
    assert sales.plan() == {"silver.one": "run"}
    monkeypatch.chdir("/")
    assert sales.plan() == {"silver.one": "run"}


def test_a_spec_may_be_named(sales):
    sales.write("other/my.yml", SPEC.replace("silver", "gold"))
    sales.write("other/transformations/one.sql", ONE.format(2))
    with prepare(sales.lake, spec=sales.folder / "other/my.yml") as pipeline:
        execute(pipeline, sales.writer())
    assert rows(sales, "gold.one") == [(2,)]


def test_two_specs_or_none(sales):
    sales.write("spark-pipeline.yaml", SPEC)
    with pytest.raises(ConfigError, match=r"holds both .* Keep one\."):
        find_spec(sales.lake.project)
    for name in ("spark-pipeline.yaml", "spark-pipeline.yml"):
        (sales.folder / name).unlink()
    with pytest.raises(ConfigError, match="'slh init NAME' writes one that runs"):
        find_spec(sales.lake.project)


def test_sources_read_the_configuration(sales):
    with_spec(sales, "name: test\n", f"name: test\n{SETTINGS}")
    define(sales, PYTHON)
    sql = "SELECT ${my.text} AS a, '${hiveconf:my.key}' AS b, ${spark.sql.session.timeZone} AS c"
    sql = sql.replace("${spark.sql.session.timeZone}", "'${spark.sql.session.timeZone}'")
    define(sales, f"CREATE MATERIALIZED VIEW gold.s_${{my.key}} AS {sql}; -- ${{nothing}}", "s.sql")
    sales.run()
    assert rows(sales, "gold.p") == [(42, "42", "42", "42")]
    assert rows(sales, "gold.s_42") == [(43, "42", "UTC")]
    assert [str(one) for one in sales.lake.read("gold.p").record.inputs] == ["bronze.sales@v1"]
    assert set(sales.plan().values()) == {"up to date"}
    with_spec(sales, "name: test\n", f"name: test\n{SETTINGS.replace('42', '41')}")
    assert sales.plan() == {"gold.p": "run", "gold.s_41": "run"}


def test_a_setting_that_nobody_reads_changes_nothing(sales):
    define(sales, ONE.format(1), "one.sql")
    sales.run()
    with_spec(sales, "name: test\n", f"name: test\n{SETTINGS}")
    assert sales.plan() == {"silver.one": "up to date"}


def test_settings_of_the_engine_hold_for_every_query(sales):
    define(sales, ONE.format("CAST('x' AS INT)"), "one.sql")
    hour = ONE.format("hour(TIMESTAMP '2020-01-01T00:00:00Z')").replace("one", "two")
    define(sales, hour, "two.sql")
    config = "{spark.sql.ansi.enabled: 'false', spark.sql.session.timeZone: Asia/Tokyo}"
    with_spec(sales, "name: test\n", f"name: test\nconfiguration: {config}\n")
    sales.run()
    assert (rows(sales, "silver.one"), rows(sales, "silver.two")) == ([(None,)], [(9,)])
    assert set(sales.plan().values()) == {"up to date"}
    sales.write("spark-pipeline.yml", SPEC)
    assert set(sales.plan().values()) == {"run"}


def test_variables_without_a_value_are_all_said(sales):
    with_spec(sales, "name: test\n", f"name: test\n{SETTINGS}")
    define(sales, "SET b.c = 1;\nSELECT\n${a.b}, '${b.c}', ${env:HOME} -- ${d}", "a.sql")
    define(sales, PYTHON.replace("${my.table}", "${my.tabel}"))
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    _, *said = str(caught.value).splitlines()
    assert len(said) == 4
    assert said[0].startswith("  transformations/a.sql:3: the variable ${a.b} has no value. Give")
    assert "SET does not: it holds for queries, not for their text." in said[1]
    assert "${env:HOME} would depend on the machine" in said[2]
    assert said[3].startswith("  transformations/extra.py:11: gold.p: the variable ${my.tabel}")
    (sales.folder / "transformations/a.sql").unlink()
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    start = "transformations/extra.py:11: gold.p: the variable ${my.tabel} has no value."
    assert str(caught.value).startswith(start)


def test_a_variable_that_needs_itself(sales):
    with_spec(sales, "name: test\n", "name: test\nconfiguration: {a: '${b}', b: '${a}'}\n")
    define(sales, ONE.format("${a}"), "one.sql")
    with pytest.raises(DefinitionError, match=r"one\.sql:1: the variable \$\{a\} needs its own"):
        sales.plan()
