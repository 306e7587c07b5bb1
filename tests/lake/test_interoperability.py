"""Tables written here and read by others, written by others and read here; or refused by name."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from sololakehouse.engine import Engine
from sololakehouse.errors import RunError
from sololakehouse.lake import Snapshot
from sololakehouse.lake.appended import appended_files
from sololakehouse.lake.log import read_log
from sololakehouse.pipelines.query import run_query
from sololakehouse.provenance import Change, content_manifest
from tests.lake import delta_log
from tests.lake.delta_log import FRAME

CHANGE = Change("TEST", "f1")
EVERY_TYPE = pl.DataFrame(
    {
        "id": [1, 2, 3],
        "flag": [True, None, False],
        "small": pl.Series([1, None, -3], dtype=pl.Int16),
        "number": [1.5, float("nan"), None],
        "text": ["a", "ü\n", None],
        "day": [dt.date(1999, 12, 31), None, dt.date(2026, 1, 1)],
        "at": [dt.datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC), None, None],
        "price": pl.Series([Decimal("1.10"), None, Decimal("-0.01")], dtype=pl.Decimal(10, 2)),
        "bytes": [b"\0", None, b"x"],
        "many": [[1, None], [], None],
        "pair": [{"a": 1, "b": "x"}, None, {"a": None, "b": None}],
    }
)


@pytest.fixture
def project(make_project):
    return make_project()


@pytest.fixture
def written(project):
    """Give a table of ours with two data commits, one of all types."""
    project.writer().write_frame("silver.t", EVERY_TYPE, CHANGE)
    return project.writer().write_frame("silver.t", EVERY_TYPE, CHANGE, mode="append")


def polars_reads(path, version):
    return pl.scan_delta(str(path), version=version).collect()


def deltalake_reads(path, version):
    return pl.from_arrow(DeltaTable(path, version=version).to_pyarrow_table())


def engine_reads(path, version):
    with Engine.start() as engine:
        engine.pin(Snapshot("other.t", path, version))
        return pl.from_arrow(engine.session.sql("SELECT * FROM other.t").toArrow())


def duckdb_reads(path, version):
    duckdb = pytest.importorskip("duckdb")
    table = DeltaTable(path, version=version).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", table)
        return pl.from_arrow(connection.sql("SELECT * FROM t").to_arrow_table())


READERS = [polars_reads, deltalake_reads, engine_reads, duckdb_reads]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("version", [1, 2])
def test_others_read_every_version_of_a_table_written_here(written, read, version):
    rows = read(written.path, version)
    expected = EVERY_TYPE if version == 1 else pl.concat([EVERY_TYPE, EVERY_TYPE])
    assert rows.height == expected.height
    assert content_manifest(rows.lazy()) == content_manifest(expected.lazy())


@pytest.mark.parametrize("read", READERS)
def test_statistics_written_here_let_others_skip_files_but_no_rows(written, read, project):
    for low in (0, 1000, 2000):
        frame = pl.DataFrame({"n": range(low, low + 10), "s": [f"{i:04}" for i in range(10)]})
        snapshot = project.writer().write_frame("silver.n", frame, CHANGE, mode="append")
    rows = read(snapshot.path, snapshot.version)
    assert rows.filter(pl.col("n") >= 1005, pl.col("n") < 2001)["n"].sum() == 5035 + 2000


def by_polars(folder, partitions):
    options = {"partition_by": partitions} if partitions else None
    FRAME.write_delta(str(folder), delta_write_options=options)
    FRAME.write_delta(str(folder), mode="append")


def by_deltalake(folder, partitions):
    for _ in range(2):
        write_deltalake(folder, FRAME, mode="append", partition_by=partitions or None)


def by_the_engine(folder, partitions):
    with Engine.start() as engine:
        frame = engine.session.createDataFrame(FRAME.rows(), "id bigint, shop string")
        for _ in range(2):
            frame.write.format("delta").mode("append").partitionBy(*partitions).save(str(folder))


WRITERS = [by_polars, by_deltalake, by_the_engine]


@pytest.mark.parametrize("partitions", [[], ["shop"]])
@pytest.mark.parametrize("write", WRITERS)
def test_tables_of_others_are_read_here(project, write, partitions):
    path = project.lake.path("silver.other")
    path.parent.mkdir(parents=True)
    write(path, partitions)
    snapshot = project.lake.read("silver.other")
    expected = pl.concat([FRAME, FRAME]).sort("id")
    assert (snapshot.rows, snapshot.record) == (6, None)
    assert snapshot.columns == {"id": "long", "shop": "string"}
    assert snapshot.to_polars().select("id", "shop").sort("id").equals(expected)
    assert snapshot.scan().filter(shop="north").select(pl.len()).collect().item() == 4
    assert sorted(snapshot.to_arrow()["id"].to_pylist()) == [1, 1, 2, 2, 3, 3]
    sql = "SELECT shop, sum(id) AS total FROM silver.other GROUP BY shop ORDER BY shop"
    assert run_query(project.lake, sql).to_pylist() == [
        {"shop": "north", "total": 8},
        {"shop": "south", "total": 4},
    ]
    assert not any(entry.record for entry in snapshot.history())


def test_statistics_of_others_may_hold_what_python_takes_for_the_end_of_a_line(project):
    folder = project.lake.path("other.t")
    for text in ("\x85", "\u2028"):
        write_deltalake(folder, pl.DataFrame({"s": [text]}), mode="append")
    stored = project.lake.read("other.t")
    assert stored.rows == 2
    assert read_log(folder, "other.t").newest == 1
    assert len(appended_files(stored, 0)) == 1


@pytest.mark.parametrize("values", [["a b", "x/y", None, "ü", "p=1", "50%"]])
def test_partition_values_keep_their_special_characters(project, values):
    frame = pl.DataFrame({"id": range(len(values)), "p": values})
    path = project.lake.path("silver.other")
    path.mkdir(parents=True)
    write_deltalake(path, frame, partition_by=["p"])
    snapshot = project.lake.read("silver.other")
    assert snapshot.to_polars().sort("id").select("id", "p").equals(frame)
    rows = run_query(project.lake, "SELECT p FROM silver.other ORDER BY id").to_pylist()
    assert [row["p"] for row in rows] == values


def test_a_run_reads_a_partitioned_table_of_another_writer(project):
    path = project.lake.path("bronze.other")
    path.mkdir(parents=True)
    write_deltalake(path, FRAME, partition_by=["shop"])
    project.write(
        "transformations/t.sql",
        "CREATE MATERIALIZED VIEW gold.t AS SELECT shop, count(*) AS n FROM bronze.other "
        "GROUP BY shop",
    )
    project.run()
    rows = project.lake.read("gold.t").to_polars().sort("shop").rows()
    assert rows == [("north", 2), ("south", 1)]


@pytest.mark.parametrize("inline", [True, False])
def test_rows_behind_a_deletion_vector_are_not_read(project, inline):
    path = delta_log.deletion_vectors(project.lake.path("silver.dv"), [1], inline=inline)
    snapshot = project.lake.read("silver.dv")
    assert snapshot.rows == 2
    assert snapshot.to_polars()["id"].to_list() == [1, 3]
    assert snapshot.scan().filter(pl.col("id") > 1).collect()["id"].to_list() == [3]
    assert project.lake.read("silver.dv", version=0).rows == 3
    query = run_query(project.lake, "SELECT count(*) AS n, sum(id) AS total FROM silver.dv")
    assert query.to_pylist() == [{"n": 2, "total": 4}]
    assert engine_reads(path, 1)["id"].to_list() == [1, 3]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_table_with_deletion_vectors_is_written_rightly(project, mode):
    delta_log.deletion_vectors(project.lake.path("silver.dv"), [1], inline=True)
    snapshot = project.writer().write_frame("silver.dv", FRAME, CHANGE, mode=mode)
    expected = {"append": [1, 1, 2, 3, 3], "overwrite": [1, 2, 3]}[mode]
    assert sorted(snapshot.to_polars()["id"]) == expected
    assert snapshot.record.manifest == content_manifest(snapshot.scan())
    query = run_query(project.lake, "SELECT id FROM silver.dv ORDER BY id")
    assert query.to_pydict() == {"id": expected}
    assert sorted(engine_reads(snapshot.path, snapshot.version)["id"]) == expected


UNREADABLE = {
    "columnMapping": lambda path: delta_log.renamed_columns(path, by_feature=False),
    "columnMapping by feature": lambda path: delta_log.renamed_columns(path, by_feature=True),
    **{
        feature: lambda path, feature=feature: delta_log.table_with(
            path, reader=3, writer=7, reader_features=[feature], writer_features=[feature]
        )
        for feature in ("typeWidening", "v2Checkpoint", "vacuumProtocolCheck", "fancyFeature")
    },
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_table_that_cannot_be_read_rightly_is_refused_by_the_feature(project, case):
    feature = case.split()[0]
    UNREADABLE[case](project.lake.path("silver.other"))
    said = rf"silver\.other uses the Delta feature {feature}, which cannot be read here"
    with pytest.raises(RunError, match=said):
        project.lake.read("silver.other")
    with pytest.raises(RunError, match=said):
        run_query(project.lake, "SELECT * FROM silver.other")
    with pytest.raises(RunError, match=said):
        project.writer().write_frame("silver.other", FRAME, CHANGE)
    assert delta_log.entry(project.lake.path("silver.other"), 1).exists() is False


def unwritable(path, **about):
    return delta_log.table_with(path, **about)


UNWRITABLE = {
    "checkConstraints": {"writer": 3, "configuration": {"delta.constraints.c": "id < 3"}},
    "generatedColumns": {
        "writer": 4,
        "fields": {"shop": {"metadata": {"delta.generationExpression": "CAST(id AS STRING)"}}},
    },
    "invariants": {
        "fields": {"id": {"metadata": {"delta.invariants": '{"expression":{"expression":"1"}}'}}}
    },
    "identityColumns": {"writer": 6, "fields": {"id": {"metadata": {"delta.identity.start": 1}}}},
    "rowTracking": {"writer": 7, "writer_features": ["rowTracking", "domainMetadata"]},
    "clustering": {"writer": 7, "writer_features": ["clustering", "domainMetadata"]},
    "inCommitTimestamp": {"writer": 7, "writer_features": ["inCommitTimestamp"]},
    "icebergCompatV2": {"writer": 7, "writer_features": ["icebergCompatV2"]},
    "NOT NULL columns (id)": {"fields": {"id": {"nullable": False}}},
}


@pytest.mark.parametrize("feature", UNWRITABLE)
def test_a_table_whose_rules_nobody_checks_is_read_but_not_written(project, feature):
    path = unwritable(project.lake.path("silver.other"), **UNWRITABLE[feature])
    assert project.lake.read("silver.other").rows == 3
    with pytest.raises(RunError, match=rf"{re.escape(feature)}.*cannot be written here"):
        project.writer().write_frame("silver.other", FRAME, CHANGE, mode="append")
    assert [file.suffix for file in path.iterdir() if file.is_file()] == [".parquet"]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_partitioned_table_of_another_writer_is_not_written(project, mode):
    path = project.lake.path("silver.other")
    path.mkdir(parents=True)
    write_deltalake(path, FRAME, partition_by=["shop"])
    with pytest.raises(RunError, match=r"partitions \(by shop\), with which it cannot be written"):
        project.writer().write_frame("silver.other", FRAME, CHANGE, mode=mode)
    assert project.lake.read("silver.other").version == 0
    assert not list(path.glob("*.parquet"))


def test_a_table_for_appends_only_takes_appends_only(project):
    delta_log.table_with(
        project.lake.path("silver.log"), configuration={"delta.appendOnly": "true"}
    )
    appended = project.writer().write_frame("silver.log", FRAME, CHANGE, mode="append")
    assert appended.rows == 6
    with pytest.raises(RunError, match=r"appendOnly, with which it cannot be written here"):
        project.writer().write_frame("silver.log", FRAME, CHANGE)
    assert project.lake.read("silver.log").rows == 6


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_table_with_a_change_data_feed_is_written_rightly(project, mode):
    delta_log.table_with(
        project.lake.path("silver.t"),
        writer=4,
        configuration={"delta.enableChangeDataFeed": "true"},
    )
    snapshot = project.writer().write_frame("silver.t", FRAME, CHANGE, mode=mode)
    assert snapshot.to_polars().height == {"append": 6, "overwrite": 3}[mode]
    changes = DeltaTable(snapshot.path).load_cdf(starting_version=1).read_all()
    kinds = pl.DataFrame(changes)["_change_type"].to_list()
    assert sorted(kinds) == ["delete"] * (3 if mode == "overwrite" else 0) + ["insert"] * 3


def test_overwriting_a_table_with_not_null_columns_lifts_them(project):
    delta_log.table_with(project.lake.path("silver.t"), fields={"id": {"nullable": False}})
    frame = pl.DataFrame({"id": [None, 1], "shop": ["a", "b"]})
    snapshot = project.writer().write_frame("silver.t", frame, CHANGE)
    assert snapshot.to_polars()["id"].to_list() == [None, 1]
    assert engine_reads(snapshot.path, snapshot.version)["id"].to_list() == [None, 1]


def test_timestamps_without_a_zone_go_there_and_back(project):
    frame = pl.DataFrame({"at": [dt.datetime(2026, 3, 29, 2, 30)]})
    project.writer().write_frame("silver.t", frame, CHANGE)
    snapshot = project.writer().write_frame("silver.t", frame, CHANGE, mode="append")
    assert snapshot.columns == {"at": "timestamp_ntz"}
    for read in (polars_reads, deltalake_reads, engine_reads):
        assert read(snapshot.path, 2)["at"].to_list() == frame["at"].to_list() * 2


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["1", "2"], "has the column 'id' as long, the rows have it as string"),
        (pl.Series([1, 2], dtype=pl.Int32), "has the column 'id' as long, the rows have it as int"),
        ([[1], [2]], "has the column 'id' as long, the rows have it as"),
    ],
)
def test_rows_of_another_type_are_not_appended(project, column, said):
    project.writer().write_frame("silver.t", pl.DataFrame({"id": [1]}), CHANGE)
    with pytest.raises(RunError, match=re.escape(said)):
        project.writer().write_frame(
            "silver.t", pl.DataFrame({"id": column}), CHANGE, mode="append"
        )
    assert project.lake.read("silver.t").version == 1
