"""Commands that take a moment, in a project that declares a zone for those that say none."""

from __future__ import annotations

import json

import polars as pl
import pytest

from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup

SKIPPED, TWICE = "2026-03-29T02:30:00", "2026-10-25T02:30:00"
TOTALS = """\
CREATE MATERIALIZED VIEW gold.totals
TBLPROPERTIES ('feature.keys' = 'shop')
AS SELECT shop, sum(amount) AS amount FROM bronze.sales GROUP BY shop
"""
COMMANDS = {
    "show": ["show", f"gold.totals@{SKIPPED}"],
    "history": ["history", f"gold.totals@{SKIPPED}"],
    "diff": ["diff", "gold.totals", SKIPPED],
    "diff to": ["diff", "gold.totals", "1", SKIPPED],
    "restore": ["restore", "gold.totals", "--to", SKIPPED],
    "features diff": ["features", "diff", "gold.totals", SKIPPED],
    "trace": ["trace", f"gold.totals@{SKIPPED}"],
    "query": ["query", f"SELECT * FROM gold.totals TIMESTAMP AS OF '{SKIPPED}'"],
    "query an expression": [
        "query",
        f"SELECT * FROM gold.totals TIMESTAMP AS OF to_timestamp_ntz('{SKIPPED}')",
    ],
    "lease": ["lease", "add", f"gold.totals@{SKIPPED}", "--why", "x"],
    "vacuum": ["vacuum", "--dry-run", "--at", SKIPPED],
    "explain": ["explain", f"training.sold@{SKIPPED}", "--row", "0"],
    "explain knowledge": ["explain", "sold", "--restatements", "--known-as-of", SKIPPED],
    "run": ["run", "--as-of", SKIPPED],
    "replay": ["replay", "--at", SKIPPED],
    "score": ["score", "rain@1", "--input", "gold.totals", "--output", "a.b", "--as-of", SKIPPED],
}


@pytest.fixture
def zoned(sales):
    sales.write("transformations/totals.sql", TOTALS)
    config = (sales.folder / "lakehouse.yml").read_text()
    sales.write("lakehouse.yml", f"{config}time_zone: Europe/Berlin\n")
    return sales


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """Give a project that no command changes, since each of them is refused."""
    from tests.conftest import SALES, SALES_SOURCE, SPEC, ProjectFolder

    project = ProjectFolder(tmp_path_factory.mktemp("refused"))
    project.write("lakehouse.yml", f"{SALES_SOURCE}time_zone: Europe/Berlin\n")
    project.write("spark-pipeline.yml", SPEC)
    project.write("landing/2026-01.csv", SALES)
    project.write("transformations/totals.sql", TOTALS)
    project.ingest()
    project.run()
    labels = pl.DataFrame({"shop": ["north"], "is_good": [1]})
    FeatureEngineeringClient(project.lake).create_training_set(
        df=labels,
        feature_lookups=[FeatureLookup(table_name="gold.totals", lookup_key="shop")],
        label="is_good",
    ).save("sold")
    return project


@pytest.mark.parametrize("command", COMMANDS)
def test_a_moment_that_clocks_skip_is_refused(refused, slh, command):
    said = slh(*COMMANDS[command], folder=refused.folder)
    assert said.code == 2
    assert f"{SKIPPED} has no time zone, and is not one moment in Europe/Berlin" in said.err
    assert "clocks skip it. Write it in UTC" in said.err


def test_a_run_is_as_of_a_moment_of_the_projects_zone(zoned, slh):
    zoned.write(
        "transformations/totals.sql",
        "CREATE MATERIALIZED VIEW gold.t AS SELECT '${pipelines.as_of}' AS at",
    )
    assert slh("run", "--as-of", "2026-01-31T12:00:00", folder=zoned.folder).code == 0
    rows = slh("query", "SELECT at FROM gold.t", "--json", folder=zoned.folder)
    assert json.loads(rows.out) == [{"at": "2026-01-31T11:00:00Z"}]


def test_the_spec_may_say_the_moment_of_a_run_without_a_zone(zoned, slh):
    zoned.write(
        "transformations/totals.sql",
        "CREATE MATERIALIZED VIEW gold.t AS SELECT '${pipelines.as_of}' AS at",
    )
    spec = (zoned.folder / "spark-pipeline.yml").read_text()
    zoned.write("spark-pipeline.yml", f"{spec}configuration: {{pipelines.as_of: '2026-01-31'}}\n")
    assert slh("run", folder=zoned.folder).code == 0
    rows = slh("query", "SELECT at FROM gold.t", "--json", folder=zoned.folder)
    assert json.loads(rows.out) == [{"at": "2026-01-30T23:00:00Z"}]


def test_a_feature_table_of_the_pipeline_says_its_zone_itself(zoned, slh):
    view = """\
CREATE MATERIALIZED VIEW features.sold
TBLPROPERTIES ('feature.keys' = 'id', 'feature.timestamp' = 'at')
AS SELECT id, {} AS at FROM bronze.sales
"""
    naive = "CAST(sold_at AS TIMESTAMP_NTZ)"
    zoned.write("transformations/sold.sql", view.format(naive))
    said = slh("run", folder=zoned.folder)
    assert said.code == 1
    assert (
        "features.sold: 'at' must be a timestamp with a time zone, and is a timestamp without a "
        "time zone. Make it one in the query, as in to_utc_timestamp(at, 'Europe/Berlin')."
    ) in " ".join(said.err.split())
    zoned.write("transformations/sold.sql", view.format(f"to_utc_timestamp({naive}, 'Asia/Tokyo')"))
    assert slh("run", folder=zoned.folder).code == 0
    rows = slh("query", "SELECT min(at) AS at FROM features.sold", "--json", folder=zoned.folder)
    assert json.loads(rows.out) == [{"at": "2025-12-31T23:00:00Z"}]
