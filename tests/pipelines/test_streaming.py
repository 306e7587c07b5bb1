"""Streaming tables: each row once, whatever happens between the runs."""

from __future__ import annotations

import polars as pl
import pytest

from sololakehouse.errors import (
    DefinitionError,
    ExpectationError,
    FeatureTableError,
    NotFoundError,
    RewrittenError,
    RunError,
    UsageError,
)
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.selection import Selection
from sololakehouse.provenance import Change
from tests.conftest import SALES
from tests.pipelines.test_run import define

EVENTS = """
@dp.table(name="silver.events")
@expect("has an amount", "amount IS NOT NULL")
def events():
    return spark.readStream.table("bronze.sales").select("id", "shop", "amount")
"""
SQL_EVENTS = """\
CREATE STREAMING TABLE silver.events (CONSTRAINT has_shop EXPECT (shop IS NOT NULL))
COMMENT 'every sale' AS SELECT id, shop, amount FROM STREAM(bronze.sales)
"""
TOTALS = """\
CREATE MATERIALIZED VIEW gold.totals AS
SELECT shop, count(*) AS sales FROM silver.events GROUP BY shop
"""


def deliver(project, name: str, *ids: int) -> None:
    rows = "".join(f"{i},east,2026-02-01T00:00:00Z,{i}\n" for i in ids)
    project.write(f"landing/{name}.csv", f"id,shop,sold_at,amount\n{rows}")
    project.ingest()


def ids(project, table: str = "silver.events") -> list[int]:
    return sorted(project.lake.read(table).to_polars()["id"].to_list())


def run(project, **selection):
    with prepare(project.lake, Selection(**selection)) as pipeline:
        return execute(pipeline, project.writer())


@pytest.fixture(params=["Python", "SQL"])
def events(sales, request):
    if request.param == "SQL":
        define(sales, SQL_EVENTS, "events.sql")
    else:
        define(sales, EVENTS, "events.py")
    return sales


@pytest.fixture
def stream(sales):
    define(sales, EVENTS, "events.py")
    return sales


def test_only_new_rows_are_read(events):
    events.run()
    deliver(events, "2026-02", 4, 5)
    events.run()
    table = events.lake.read("silver.events")
    assert ids(events) == [1, 2, 3, 4, 5]
    assert [e.record.rows_written for e in table.history(2)] == [2, 3]
    assert table.record.operation == "STREAMING TABLE"


def test_nothing_new_is_up_to_date_and_commits_nothing(events):
    events.run()
    assert events.plan() == {"silver.events": "up to date"}
    events.run()
    assert events.versions()["silver.events"] == 1


def test_another_definition_holds_for_new_rows(stream):
    stream.run()
    define(stream, EVENTS.replace('"amount")', 'F.lit(0.0).alias("amount"))'), "events.py")
    assert stream.plan() == {"silver.events": "up to date"}
    deliver(stream, "2026-02", 4)
    stream.run()
    rows = stream.lake.read("silver.events").to_polars().sort("id")
    assert rows["amount"].to_list() == [10.5, None, 7.0, 0.0]


def test_a_full_refresh_reads_everything_again(stream):
    stream.run()
    define(stream, EVENTS.replace('"amount")', 'F.lit(0.0).alias("amount"))'), "events.py")
    (result,) = run(stream, full_refresh=("silver.events",))
    assert result.step.reason == "full refresh"
    assert stream.lake.read("silver.events").to_polars()["amount"].to_list() == [0.0] * 3
    deliver(stream, "2026-02", 4)
    stream.run()
    assert ids(stream) == [1, 2, 3, 4]


def test_several_flows_append_to_one_table(sales):
    define(
        sales,
        """
dp.create_streaming_table("silver.events")


@dp.append_flow(target="silver.events")
def first():
    return spark.readStream.table("bronze.sales").select("id", F.lit("first").alias("way"))
""",
        "events.py",
    )
    sales.run()
    define(
        sales,
        "CREATE FLOW second AS INSERT INTO silver.events BY NAME\n"
        "SELECT 'second' AS way, id FROM STREAM bronze.sales WHERE id > 1",
        "second.sql",
    )
    sales.run()
    deliver(sales, "2026-02", 4)
    sales.run()
    rows = sales.lake.read("silver.events").to_polars().sort("way", "id").select("way", "id")
    assert rows.rows() == [
        *(("first", i) for i in (1, 2, 3, 4)),
        *(("second", i) for i in (2, 3, 4)),
    ]
    assert sales.lake.read("silver.events").record.rows_written == 2


def test_a_stream_of_a_stream_and_a_view_on_it(events):
    define(
        events,
        '\n@dp.table(name="gold.late")\ndef late():\n'
        '    events = spark.readStream.table("events")\n'
        "    return events.select(*events.columns).where('id > 1')\n",
        "late.py",
    )
    define(events, TOTALS, "totals.sql")
    events.run()
    deliver(events, "2026-02", 4)
    results = events.run()
    assert [result.step.state for result in results] == ["run"] * 3
    assert ids(events, "gold.late") == [2, 3, 4]
    totals = dict(events.lake.read("gold.totals").to_polars().rows())
    assert totals == {"north": 2, "south": 1, "east": 1}


def test_what_reads_a_stream_that_got_no_row_is_left_alone(stream):
    define(
        stream,
        "CREATE STREAMING TABLE gold.big AS SELECT id FROM STREAM(silver.events) WHERE id > 9",
        "big.sql",
    )
    define(stream, TOTALS, "totals.sql")
    stream.run()
    before = stream.versions()
    deliver(stream, "2026-02", 4)
    run(stream, refresh=("silver.*",))
    assert stream.versions() == before | {"bronze.sales": 2, "silver.events": 2}
    stream.run()
    assert stream.lake.read("gold.big").rows == 0
    assert stream.plan() == dict.fromkeys(
        ["silver.events", "gold.big", "gold.totals"], "up to date"
    )


def test_a_stream_may_be_joined_with_a_table(sales):
    define(
        sales,
        "CREATE STREAMING TABLE silver.named AS SELECT s.id, n.name FROM STREAM(bronze.sales) AS s "
        "JOIN names AS n ON n.shop = s.shop;\n"
        "CREATE MATERIALIZED VIEW silver.names AS SELECT 'north' AS shop, 'N' AS name "
        "UNION ALL SELECT 'east', 'E'",
        "named.sql",
    )
    sales.run()
    deliver(sales, "2026-02", 4)
    sales.run()
    rows = sales.lake.read("silver.named").to_polars().sort("id").rows()
    assert rows == [(1, "N"), (3, "N"), (4, "E")]
    assert [str(i) for i in sales.lake.read("silver.named").record.inputs] == [
        "bronze.sales@v2",
        "silver.names@v1",
    ]
    (file,) = sales.folder.glob("transformations/named.sql")
    file.write_text(file.read_text("utf-8").replace("'E'", "'Z'"), "utf-8")
    assert sales.plan() == {"silver.names": "run", "silver.named": "up to date"}


def test_a_flow_that_comes_back_goes_on_where_it_was(sales):
    define(sales, "CREATE STREAMING TABLE silver.events", "events.sql")
    flow = (
        "CREATE FLOW {0} AS INSERT INTO silver.events BY NAME SELECT id FROM STREAM(bronze.sales)"
    )
    define(sales, flow.format("a"), "a.sql")
    define(sales, flow.format("b"), "b.sql")
    sales.run()
    (sales.folder / "transformations/b.sql").unlink()
    deliver(sales, "2026-02", 4)
    sales.run()
    define(sales, flow.format("b"), "b.sql")
    sales.run()
    assert ids(sales) == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("query", ["id, shop, amount AS paid", "id, shop, 'x' AS amount"])
def test_other_columns_ask_for_a_full_refresh(stream, query):
    stream.run()
    (stream.folder / "transformations/events.py").unlink()
    define(
        stream,
        f"CREATE STREAMING TABLE silver.events AS SELECT {query} FROM STREAM(bronze.sales)",
        "events.sql",
    )
    deliver(stream, "2026-02", 4)
    with pytest.raises(RunError, match=r"its query now gives .*--full-refresh silver\.events"):
        stream.run()
    assert ids(stream) == [1, 2, 3]


def test_a_source_whose_files_do_not_say_all_is_refused(sales):
    from deltalake import write_deltalake

    path = sales.lake.path("bronze.parts")
    path.mkdir(parents=True)
    write_deltalake(path, pl.DataFrame({"id": [1], "shop": ["n"]}), partition_by=["shop"])
    define(sales, "CREATE STREAMING TABLE silver.e AS SELECT * FROM STREAM bronze.parts", "e.sql")
    with pytest.raises(RunError, match=r"bronze\.parts has partitions .* cannot be read as a str"):
        sales.run()
    assert not sales.lake.exists("silver.e")


def test_files_that_were_only_arranged_anew_are_not_read_again(stream):
    from deltalake import DeltaTable

    deliver(stream, "2026-02", 4)
    stream.run()
    deliver(stream, "2026-03", 5)
    DeltaTable(stream.lake.path("bronze.sales")).optimize.compact()
    stream.run()
    assert ids(stream) == [1, 2, 3, 4, 5]
    assert stream.plan() == {"silver.events": "up to date"}


def test_a_rewritten_source_asks_for_a_full_refresh(stream):
    stream.run()
    writer = stream.writer()
    writer.write_frame(
        "bronze.sales", stream.lake.read("bronze.sales").to_polars(), Change("X", "x")
    )
    with pytest.raises(RewrittenError, match=r"--full-refresh silver\.events") as caught:
        stream.run()
    assert "bronze.sales@v2 changed or removed rows" in str(caught.value)
    assert stream.versions()["silver.events"] == 1
    run(stream, full_refresh_all=True)
    assert ids(stream) == [1, 2, 3]


def test_a_source_made_anew_asks_for_a_full_refresh(stream):
    import shutil

    stream.run()
    shutil.rmtree(stream.lake.path("bronze.sales"))
    stream.ingest()
    with pytest.raises(RewrittenError, match="was dropped and made anew"):
        stream.run()


def test_a_table_that_was_a_view_asks_for_a_full_refresh(sales):
    view = "CREATE MATERIALIZED VIEW silver.events AS SELECT id FROM bronze.sales"
    define(sales, view, "events.sql")
    sales.run()
    define(
        sales,
        "CREATE STREAMING TABLE silver.events AS SELECT id FROM STREAM bronze.sales",
        "events.sql",
    )
    with pytest.raises(RunError, match="its rows were not written by one"):
        sales.run()
    run(sales, full_refresh=("silver.events",))
    assert ids(sales) == [1, 2, 3]
    define(sales, view, "events.sql")
    sales.run()
    assert sales.lake.read("silver.events").record.operation == "MATERIALIZED VIEW"


def test_a_new_column_of_the_source_is_null_in_older_files(sales):
    define(
        sales, "CREATE STREAMING TABLE silver.all AS SELECT * FROM STREAM bronze.sales", "all.sql"
    )
    sales.run()
    deliver(sales, "2026-02", 4)
    sales.run()
    kept = sales.lake.read("bronze.sales").to_polars().sort("id")
    assert sales.lake.read("silver.all").to_polars().sort("id").equals(kept)


def test_expectations_look_at_the_new_rows(stream):
    define(
        stream,
        EVENTS.replace("@expect(", "@expect_or_fail(").replace("IS NOT NULL", "< 9 OR id < 4"),
        "events.py",
    )
    stream.write("landing/2026-01.csv", SALES)
    stream.run()
    deliver(stream, "2026-02", 40)
    with pytest.raises(ExpectationError, match="1 of 1 rows violate"):
        stream.run()
    assert ids(stream) == [1, 2, 3]
    define(stream, EVENTS, "events.py")
    stream.run()
    assert ids(stream) == [1, 2, 3, 40]


def test_keys_of_a_feature_table_are_unique_over_all_runs(sales):
    define(
        sales,
        "CREATE STREAMING TABLE features.shops TBLPROPERTIES ('feature.keys' = 'id') "
        "AS SELECT id % 4 AS id FROM STREAM(bronze.sales)",
        "shops.sql",
    )
    sales.run()
    deliver(sales, "2026-02", 5)
    with pytest.raises(FeatureTableError, match="id must be unique"):
        sales.run()
    assert sales.lake.read("features.shops").rows == 3


@pytest.mark.parametrize(
    ("selection", "computed"),
    [
        ({"refresh": ("silver.events",)}, {"silver.events"}),
        ({"refresh": ("silver.*",), "downstream": True}, {"silver.events", "gold.totals"}),
        ({"full_refresh": ("gold.totals",)}, {"gold.totals"}),
        ({"full_refresh_all": True}, {"silver.events", "gold.totals"}),
    ],
)
def test_a_selection_computes_what_it_names(stream, selection, computed):
    define(stream, TOTALS, "totals.sql")
    stream.run()
    deliver(stream, "2026-02", 4)
    results = run(stream, **selection)
    assert {result.step.name for result in results if result.step.state == "run"} == computed


def test_a_selection_of_what_does_not_exist(stream):
    define(stream, TOTALS, "totals.sql")
    with pytest.raises(NotFoundError, match=r"Did you mean 'silver\.events'\?"):
        run(stream, refresh=("silver.evnts",))
    with pytest.raises(
        UsageError, match=r"gold\.totals reads silver\.events, which does not exist"
    ):
        run(stream, refresh=("gold.*",))
    with pytest.raises(UsageError, match="--downstream needs tables"):
        run(stream, downstream=True)
    with pytest.raises(UsageError, match="name no others beside it"):
        run(stream, refresh=("gold.*",), full_refresh_all=True)


def test_two_flows_of_one_name(sales):
    define(
        sales,
        "CREATE STREAMING TABLE silver.e;\n"
        + "CREATE FLOW f AS INSERT INTO silver.e BY NAME SELECT * FROM STREAM(bronze.sales);\n" * 2,
        "e.sql",
    )
    with pytest.raises(DefinitionError, match=r"silver\.e has two flows of the name 'f'"):
        sales.plan()


def test_rows_are_the_same_as_read_at_once(stream):
    for month in range(2, 6):
        stream.run()
        deliver(stream, f"2026-{month:02}", *range(10 * month, 10 * month + month))
    stream.run()
    assert ids(stream) == sorted(stream.lake.read("bronze.sales").to_polars()["id"].to_list())
    before = stream.lake.read("silver.events").record.manifest
    run(stream, full_refresh_all=True)
    assert stream.lake.read("silver.events").record.manifest == before
    assert isinstance(stream.lake.read("silver.events").to_polars(), pl.DataFrame)


def test_a_contract_that_a_stream_gains_later_holds_for_all_its_rows(sales):
    stream = "CREATE STREAMING TABLE features.shops AS SELECT 'n' AS shop, {} AS at"
    text = stream.format("TIMESTAMP '2026-01-01T00:00:00Z'") + " FROM STREAM(bronze.sales)"
    define(sales, text, "shops.sql")
    sales.run()
    keyed = text.replace(
        " AS SELECT",
        " TBLPROPERTIES ('feature.keys' = 'shop', 'feature.timestamp' = 'at') AS SELECT",
    ).replace("2026-01-01", "2026-02-01")
    define(sales, keyed, "shops.sql")
    deliver(sales, "2026-02", 5)
    with pytest.raises(FeatureTableError, match="shop='n', at=2026-01-01T00:00:00Z"):
        sales.run()


@pytest.mark.parametrize("given", ["id, shop AS shp", "CAST(id AS STRING) AS id, shop"])
def test_flows_of_one_table_give_the_same_columns(sales, given):
    define(
        sales,
        "CREATE STREAMING TABLE silver.e;\n"
        "CREATE FLOW a AS INSERT INTO silver.e BY NAME SELECT id, shop FROM STREAM(bronze.sales);\n"
        f"CREATE FLOW b AS INSERT INTO silver.e BY NAME SELECT {given} FROM STREAM(bronze.sales);",
        "e.sql",
    )
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    said = str(caught.value)
    assert said.startswith("transformations/e.sql:1: silver.e: its flow 'b' gives id ")
    assert said.endswith(
        "'a' gives id bigint, shop string. Let all give the same columns with the same types."
    )
