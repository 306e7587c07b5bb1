"""A definition that models count on changes only if somebody says why."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sololakehouse.errors import NotFoundError, RedefinitionError
from sololakehouse.lake.definition import Definition, definition_versions
from sololakehouse.lake.optimize import optimize
from sololakehouse.lake.reference import parse_moment
from sololakehouse.lake.restore import restore
from sololakehouse.pipelines.redefinition import Redefining
from sololakehouse.pipelines.run import execute, prepare
from tests.conftest import SALES, SALES_SOURCE, SPEC, ProjectFolder
from tests.pipelines.test_run import define
from tests.pipelines.test_streaming import deliver

SHOPS = """\
CREATE TEMPORARY VIEW sold AS SELECT * FROM silver.clean WHERE amount > 0;
CREATE MATERIALIZED VIEW features.shops
COMMENT 'Sales of a shop'
TBLPROPERTIES (
  'feature.keys' = 'shop',
  'expect_or_fail.is_set' = 'shop IS NOT NULL'
) AS
-- one row for each shop
SELECT
  shop,
  count(*) AS sales,
  sum(amount) AS amount
FROM sold
GROUP BY shop
"""
CLEAN = "CREATE MATERIALIZED VIEW silver.clean AS SELECT *, 1 AS one FROM bronze.sales"
PYTHON = """
import pricing

FACTOR = 2


def doubled(value):
    return value * FACTOR


@F.udf("double")
def price(value):
    return None if value is None else pricing.price(doubled(value))


@dp.materialized_view(name="features.prices", table_properties={"feature.keys": "id"})
@expect("has a shop", "shop IS NOT NULL")
def prices():
    '''Prices.'''
    return spark.table("bronze.sales").select("id", "shop", price("amount").alias("price"))
"""
PRICING = "def price(value):\n    return value + 1\n"
STREAM = """\
CREATE STREAMING TABLE features.events TBLPROPERTIES ('feature.keys' = 'id')
AS SELECT id, amount AS amount FROM STREAM(bronze.sales)
"""
MOMENT = """\
CREATE MATERIALIZED VIEW features.recent TBLPROPERTIES ('feature.keys' = 'id') AS
SELECT id, amount FROM bronze.sales WHERE sold_at <= TIMESTAMP '${pipelines.as_of}'
"""
TABLES = ("features.shops", "features.prices", "features.events", "features.recent")
USERS = dict.fromkeys(TABLES, ("rain version 2 (production)",))
COUNTED_ON = Redefining(lambda: USERS)


def prepared(project, redefining=COUNTED_ON, as_of=None):
    sys.modules.pop("pricing", None)
    moment = parse_moment(as_of) if as_of else None
    return prepare(project.lake, as_of=moment, redefining=redefining)


def run(project, redefining=COUNTED_ON, as_of=None):
    with prepared(project, redefining, as_of) as pipeline:
        return execute(pipeline, project.writer())


def refused(project, redefining=COUNTED_ON, as_of=None) -> str:
    before = project.versions()
    with pytest.raises(RedefinitionError) as raised:
        run(project, redefining, as_of)
    assert project.versions() == before
    return str(raised.value)


def built(folder: Path, *sources: tuple[str, str]) -> ProjectFolder:
    """Make a project with sales whose pipeline has run."""
    project = ProjectFolder(folder)
    project.write("lakehouse.yml", SALES_SOURCE)
    project.write("spark-pipeline.yml", SPEC)
    project.write("landing/2026-01.csv", SALES)
    project.write("pricing.py", PRICING)
    project.ingest()
    for name, text in sources:
        define(project, text, name)
    run(project)
    return project


@pytest.fixture(scope="module")
def shops_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shops")
    return built(folder, ("clean.sql", CLEAN), ("shops.sql", SHOPS)).folder


@pytest.fixture
def shops(shops_once, tmp_path):
    return ProjectFolder(Path(shutil.copytree(shops_once, tmp_path / "shops")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-- one row for each shop\n", ""),
        ("  sum(amount) AS amount\n", "  sum( amount ) AS amount -- in euros\n"),
        ("COMMENT 'Sales of a shop'\n", "COMMENT 'Sales'\n"),
    ],
)
def test_comments_and_layout_are_no_definition(shops, old, new):
    define(shops, SHOPS.replace(old, new), "shops.sql")
    assert all(result.state in ("up to date", "view") for result in run(shops))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sum(amount) AS amount", "max(amount) AS amount", "+    max(amount) AS amount"),
        ("amount > 0", "amount > 1", "+    SELECT * FROM silver.clean WHERE amount > 1"),
        ("shop IS NOT NULL", "length(shop) > 1", "-  fail is_set: shop IS NOT NULL"),
        ("'feature.keys' = 'shop',", "'feature.keys' = 'shop', 'team' = 'a',", "+  team = a"),
        (",\n  sum(amount) AS amount", "", "column amount double is gone"),
        ("count(*) AS sales", "count(*) AS sold", "column sold bigint is new"),
        ("count(*)", "CAST(count(*) AS INT)", "column sales was bigint and is int"),
    ],
)
def test_another_definition_is_refused_with_its_difference(shops, old, new, said):
    define(shops, SHOPS.replace(old, new), "shops.sql")
    assert f"  {said}" in refused(shops).split("\n")


def test_the_refusal_names_the_models_and_the_two_ways_on(shops):
    define(shops, SHOPS.replace("sum(amount)", "max(amount)"), "shops.sql")
    with prepared(shops) as pipeline:
        (found,) = [step.redefinition for step in pipeline.steps if step.redefinition]
    assert refused(shops) == (
        "features.shops (transformations/shops.sql:2) would get another definition, and rain "
        f"""version 2 (production) uses it.
  --- {found.old.short} (v1)
  +++ {found.new.short} (now)
  @@ -2,7 +2,7 @@
     SELECT
       shop,
       count(*) AS sales,
  -    sum(amount) AS amount
  +    max(amount) AS amount
     FROM sold
     GROUP BY shop
     view sold
  Two ways on:
    - define it beside this one, as features.shops_v2, for the next model;
    - change it for all who read it: slh run --redefine features.shops --reason '...'.

Nothing was run."""
    )


def test_a_table_that_no_model_uses_gets_another_definition(shops):
    define(shops, SHOPS.replace("sum(amount)", "max(amount)"), "shops.sql")
    run(shops, Redefining())
    new, old = definition_versions(shops.lake.history("features.shops"))
    assert (old.versions, new.versions, new.reason) == ((1,), (2,), None)
    assert old.definition.fingerprint != new.definition.fingerprint


def test_with_a_reason_it_changes_and_the_commit_says_why(shops):
    first = Definition.kept(shops.lake.read("features.shops").record)
    define(shops, SHOPS.replace("sum(amount)", "max(amount)"), "shops.sql")
    refused(shops, replace(COUNTED_ON, tables=(), reason="not for this one"))
    run(shops, replace(COUNTED_ON, tables=("features.shops",), reason="sums were wrong"))
    stored = shops.lake.read("features.shops")
    assert stored.record.details["redefined"] == {
        "reason": "sums were wrong",
        "before": first.short,
    }
    deliver(shops, "2", 7)
    run(shops)
    optimize(shops.writer(), "features.shops")
    new, old = definition_versions(shops.lake.history("features.shops"))
    assert (old.versions, old.reason) == ((1,), None)
    assert (new.versions[:2], new.reason) == ((2, 3), "sums were wrong")
    assert "redefined" not in shops.lake.read("features.shops").record.details


def test_what_may_be_redefined_must_be_a_feature_table(shops):
    with pytest.raises(NotFoundError) as raised:
        run(shops, Redefining(tables=("features.shps",), reason="x"))
    assert str(raised.value) == (
        "--redefine: No feature table 'features.shps'. Did you mean 'features.shops'? "
        "Feature tables: features.shops."
    )


def test_another_definition_upstream_is_another_input_and_not_refused(shops):
    define(shops, CLEAN.replace("1 AS one", "2 AS one"), "clean.sql")
    with prepared(shops) as pipeline:
        step = next(step for step in pipeline.steps if step.name == "features.shops")
    assert (step.reason, step.redefinition) == ("silver.clean is computed again", None)
    run(shops)
    assert shops.versions()["features.shops"] == 2


def test_upstream_may_not_change_the_columns_unseen(shops):
    typed = "id, shop, sold_at, CAST(amount AS INT) AS amount,"
    define(shops, CLEAN.replace("*,", typed), "clean.sql")
    assert "  column amount was double and is bigint" in refused(shops)


def test_new_rows_are_no_definition(shops):
    deliver(shops, "2", 7)
    run(shops)
    assert shops.versions()["features.shops"] == 2


def test_another_key_is_refused_whoever_uses_the_table(shops):
    other = SHOPS.replace("  shop,\n", "  length(shop) AS shop,\n").replace("BY shop", "BY 1")
    define(shops, other, "shops.sql")
    said = refused(shops, Redefining())
    assert said.startswith("features.shops (transformations/shops.sql:2) would get another def")
    assert "\n  Its rows would be told apart otherwise: shop was string and is int.\n" in said


@pytest.fixture(scope="module")
def prices_once(tmp_path_factory):
    return built(tmp_path_factory.mktemp("prices"), ("extra.py", PYTHON)).folder


@pytest.fixture
def prices(prices_once, tmp_path):
    return ProjectFolder(Path(shutil.copytree(prices_once, tmp_path / "prices")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("FACTOR = 2", "FACTOR = 3", "+  FACTOR = 3"),
        ("value * FACTOR", "value + FACTOR", "+      return value + FACTOR"),
        ('"shop", price', '"shop", 1 + price', None),
        ('@F.udf("double")', '@F.udf("float")', '+  @F.udf("float")'),
    ],
)
def test_the_difference_of_python_shows_functions_helpers_and_constants(prices, old, new, said):
    define(prices, PYTHON.replace(old, new))
    lines = refused(prices).split("\n")
    said = (
        said
        or '+      return spark.table("bronze.sales").select("id", "shop", 1 + '
        'price("amount").alias("price"))'
    )
    assert f"  {said}" in lines


def test_the_difference_of_python_shows_modules_of_the_project(prices):
    prices.write("pricing.py", PRICING.replace("value + 1", "value + 2"))
    assert "  +      return value + 2" in refused(prices).split("\n")


def test_comments_and_docstrings_of_python_are_no_definition(prices):
    prices.write("pricing.py", f"# about prices\n{PRICING}")
    define(prices, PYTHON.replace("'''Prices.'''", "'''What it costs.'''  # now"))
    (result,) = run(prices)
    assert result.state == "up to date"


def test_what_stands_in_no_text_is_said_to_be_so(prices):
    spec = (prices.folder / "spark-pipeline.yml").read_text()
    prices.write("spark-pipeline.yml", spec + "configuration: {spark.sql.ansi.enabled: 'false'}\n")
    assert "Its text is as it was. Something that the query takes from elsewhere" in refused(prices)


def test_the_moment_of_the_run_is_no_definition(sales):
    define(sales, MOMENT, "recent.sql")
    run(sales, as_of="2026-01-01T08:30:00Z")
    run(sales, as_of="2026-01-03T00:00:00Z")
    assert sales.lake.read("features.recent").rows == 3
    define(sales, MOMENT.replace("<=", "<"), "recent.sql")
    said = refused(sales, as_of="2026-01-05T00:00:00Z")
    assert "WHERE sold_at < TIMESTAMP '${pipelines.as_of}'" in said


def test_a_stream_is_refused_when_it_would_add_rows_of_another_definition(sales):
    define(sales, STREAM, "events.sql")
    run(sales)
    define(sales, STREAM.replace("amount AS", "2 * amount AS"), "events.sql")
    assert [result.state for result in run(sales)] == ["up to date"]
    deliver(sales, "2", 7)
    assert "+  SELECT id, 2 * amount AS amount" in refused(sales)
    define(sales, STREAM, "events.sql")
    run(sales)
    assert sales.lake.read("features.events").rows == 4


def test_a_restored_definition_counts_from_then_on(shops):
    define(shops, SHOPS.replace("sum(amount)", "max(amount)"), "shops.sql")
    run(shops, Redefining())
    restore(shops.writer(), "features.shops", 1)
    assert "+    max(amount) AS amount" in refused(shops)
    define(shops, SHOPS, "shops.sql")
    assert all(result.state in ("up to date", "view") for result in run(shops))


def test_a_restore_does_not_repeat_why_a_definition_was_changed(shops):
    for amount in ("max(amount)", "min(amount)"):
        define(shops, SHOPS.replace("sum(amount)", amount), "shops.sql")
        run(shops, replace(COUNTED_ON, tables=("features.shops",), reason=amount))
    restore(shops.writer(), "features.shops", 2)
    found = definition_versions(shops.lake.history("features.shops"))
    assert [version.reason for version in found] == [None, "min(amount)", "max(amount)", None]
    assert found[0].definition == found[2].definition


def test_a_table_of_an_older_release_is_compared_by_its_fingerprint(sales, monkeypatch):
    define(sales, CLEAN, "clean.sql")
    define(sales, SHOPS, "shops.sql")
    with monkeypatch.context() as older:
        older.setattr(Definition, "details", property(lambda _: {}))
        run(sales)
    define(sales, SHOPS.replace("sum(amount)", "max(amount)"), "shops.sql")
    assert "An older release made it, which kept no text" in refused(sales)
    define(sales, SHOPS, "shops.sql")
    deliver(sales, "2", 7)
    run(sales)
    assert Definition.kept(sales.lake.read("features.shops").record) is not None


def test_a_stream_of_an_older_release_goes_on(sales, monkeypatch):
    define(sales, STREAM, "events.sql")
    with monkeypatch.context() as older:
        older.setattr(Definition, "details", property(lambda _: {}))
        run(sales)
    deliver(sales, "2", 7)
    run(sales)
    assert sales.lake.read("features.events").rows == 4


def test_another_program_does_not_hide_the_definition(shops):
    from deltalake import write_deltalake

    rows = shops.lake.read("features.shops").to_polars()
    write_deltalake(shops.lake.path("features.shops"), rows, mode="overwrite")
    run(shops)
    write_deltalake(shops.lake.path("features.shops"), rows, mode="overwrite")
    define(shops, SHOPS.replace("sum(amount)", "max(amount)"), "shops.sql")
    assert "+    max(amount) AS amount" in refused(shops)


def test_users_are_asked_only_if_a_definition_has_changed(shops):
    def users():
        raise AssertionError

    deliver(shops, "2", 7)
    run(shops, Redefining(users))
