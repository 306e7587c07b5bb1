"""Sinks: rows leave the lakehouse once, whatever ends a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from sololakehouse.errors import (
    DefinitionError,
    ExpectationError,
    RewrittenError,
    RunError,
    StepError,
)
from sololakehouse.pipelines import delivery
from sololakehouse.provenance import Change
from tests.pipelines.test_run import define
from tests.pipelines.test_streaming import deliver, run

SINK = """
dp.create_sink("out", "{format}", options={options})


@dp.append_flow(target="out", name="to_out")
def to_out():
    return spark.readStream.table("bronze.sales").select("id", "shop", "amount")
"""


class Killed(BaseException):
    """What nothing in the code under test catches."""


FORMATS = ("csv", "json", "parquet", "delta")


def sink(project, kind: str, **options: str) -> None:
    given = {"path": "out"} | options if kind != "console" else options
    define(project, SINK.format(format=kind, options=given))


def read(project, kind: str) -> pl.DataFrame:
    folder = project.folder / "out"
    if kind == "delta":
        return pl.read_delta(str(folder))
    if kind == "parquet":
        return pl.read_parquet(folder / "*.parquet")
    if kind == "json":
        return pl.concat([pl.read_ndjson(file) for file in folder.glob("*.json")], how="diagonal")
    return pl.read_csv(folder / "*.csv", has_header=False)


def ids(project, kind: str) -> list[int]:
    return sorted(read(project, kind).to_series(0).to_list())


def batches(project) -> list[tuple]:
    rows = project.lake.read("system.sinks").to_polars().sort("batch")
    return rows.select("sink", "batch", "format", "rows").rows()


@pytest.mark.parametrize("kind", FORMATS)
def test_each_run_delivers_the_new_rows(sales, kind):
    sink(sales, kind)
    assert sales.plan() == {"out": "run"}
    sales.run()
    assert ids(sales, kind) == [1, 2, 3]
    assert sales.plan() == {"out": "up to date"}
    sales.run()
    deliver(sales, "2026-02", 4, 5)
    sales.run()
    assert ids(sales, kind) == [1, 2, 3, 4, 5]
    assert batches(sales) == [("out", 0, kind, 3), ("out", 1, kind, 2)]


@pytest.mark.parametrize("kind", [*FORMATS, "console"])
@pytest.mark.parametrize("moment", ["before anything is out", "while it goes out", "after it"])
def test_a_delivery_that_is_ended_is_finished_by_the_next_run(
    sales, kind, moment, monkeypatch, capsys
):
    sink(sales, kind)
    sales.run()
    deliver(sales, "2026-02", 4, 5)
    with monkeypatch.context() as patch:
        _end(patch, moment)
        with pytest.raises(StepError, match="Killed"):
            sales.run()
    assert batches(sales) == [("out", 0, kind, 3)]
    deliver(sales, "2026-03", 6)
    assert sales.plan() == {"out": "run"}
    sales.run()
    assert batches(sales) == [("out", 0, kind, 3), ("out", 1, kind, 2), ("out", 2, kind, 1)]
    if kind == "console":
        assert capsys.readouterr().err.count("|  6|east|   6.0|") == 1
    else:
        assert ids(sales, kind) == [1, 2, 3, 4, 5, 6]
    first, second, third = reversed(sales.lake.history("system.sinks", 3))
    read_from = [entry.record.inputs[0].version for entry in (first, second, third)]
    assert read_from == [1, 2, 3]
    assert sales.plan() == {"out": "up to date"}
    assert not list((sales.folder / "warehouse/_sinks").iterdir())


def _end(patch: pytest.MonkeyPatch, moment: str) -> None:
    def ended(*_, **__):
        raise Killed

    if moment == "before anything is out":
        patch.setattr(delivery, "_out", ended)
        return
    out = delivery._out

    def out_and_ended(*given):
        out(*given)
        raise Killed

    if moment == "while it goes out":
        patch.setattr(delivery, "_out", out_and_ended)
    else:
        patch.setattr("sololakehouse.lake.LakeWriter.write_frame", ended)


@pytest.mark.parametrize("kind", ["csv", "delta"])
def test_a_run_that_is_ended_after_the_position_was_noted(sales, kind, monkeypatch):
    sink(sales, kind)
    with monkeypatch.context() as patch:
        patch.setattr(delivery.shutil, "rmtree", _ends)
        with pytest.raises(StepError, match="Killed"):
            sales.run()
    sales.run()
    assert ids(sales, kind) == [1, 2, 3]
    assert batches(sales) == [("out", 0, kind, 3)]


def _ends(folder, **_):
    if Path(folder).parent.name == "_sinks":
        raise Killed


def test_a_file_appears_in_full_or_not_at_all(sales, monkeypatch):
    sink(sales, "csv")

    def half(source, target):
        target.write_bytes(source.read_bytes()[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(delivery.shutil, "copyfile", half)
        with pytest.raises(RunError, match="the disk is full"):
            sales.run()
    assert not list((sales.folder / "out").glob("*.csv"))
    sales.run()
    assert ids(sales, "csv") == [1, 2, 3]


def test_options_of_files(sales):
    sink(sales, "csv", header="true", sep=";", nullValue="NA")
    sales.run()
    (file,) = (sales.folder / "out").glob("part-00000-*.csv")
    head, *lines = file.read_text("utf-8").splitlines()
    assert head == "id;shop;amount"
    assert sorted(lines) == ["1;north;10.5", "2;south;NA", "3;north;7.0"]


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_compressed_files(sales, kind):
    sink(sales, kind, compression="gzip")
    sales.run()
    (file,) = (sales.folder / "out").glob("part-*")
    if kind == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_metadata(file).row_group(0).column(0).compression == "GZIP"
    else:
        assert (file.name.endswith(f".{kind}.gz"), file.read_bytes()[:2]) == (True, b"\x1f\x8b")


def test_the_console_shows_the_new_rows_as_spark_does(sales, capsys):
    sink(sales, "console", numRows="2", truncate="4")
    sales.run()
    said = capsys.readouterr()
    assert said.out == ""
    assert "Batch: 0 of out\n-----" in said.err
    assert "|  1|n...|  10.5|\n|  2|s...|  NULL|" in said.err
    assert "only showing top 2 rows" in said.err
    sales.run()
    assert capsys.readouterr().err == ""


def test_a_delta_sink_keeps_what_others_wrote_and_says_where_rows_are_from(sales):
    out = sales.folder / "out"
    other = {"id": [9], "shop": ["other"], "amount": [1.0]}
    write_deltalake(out, pl.DataFrame(other, schema_overrides={"id": pl.Int64}))
    sink(sales, "delta", path=str(out))
    sales.run()
    assert ids(sales, "delta") == [1, 2, 3, 9]
    record = json.loads(DeltaTable(out).history(1)[0]["sololakehouse"])
    assert [(one["table"], one["version"]) for one in record["inputs"]] == [("bronze.sales", 1)]
    assert record["rows_written"] == 3


def test_a_delta_table_with_other_columns_takes_nothing(sales):
    write_deltalake(sales.folder / "out", pl.DataFrame({"other": [1]}))
    sink(sales, "delta")
    with pytest.raises(RunError, match="does not take the rows"):
        sales.run()
    assert read(sales, "delta").rows() == [(1,)]
    assert not sales.lake.exists("system.sinks")


def test_a_full_refresh_delivers_everything_again(sales):
    sink(sales, "json")
    sales.run()
    run(sales, full_refresh=("out",))
    assert ids(sales, "json") == [1, 1, 2, 2, 3, 3]
    assert batches(sales) == [("out", 0, "json", 3), ("out", 1, "json", 3)]


def test_a_rewritten_source_stops_the_sink(sales):
    sink(sales, "json")
    sales.run()
    frame = sales.lake.read("bronze.sales").to_polars()
    sales.writer().write_frame("bronze.sales", frame, Change("X", "x"))
    with pytest.raises(RewrittenError, match=r"out cannot go on .*--full-refresh out"):
        sales.run()
    assert ids(sales, "json") == [1, 2, 3]


def test_expectations_of_a_sink_stop_the_delivery(sales):
    define(
        sales,
        SINK.format(format="json", options={"path": "out"}).replace(
            "def to_out", '@expect_or_fail("cheap", "amount < 8")\ndef to_out'
        ),
    )
    with pytest.raises(ExpectationError, match="2 of 3 rows violate 'cheap'"):
        sales.run()
    assert not (sales.folder / "out").exists()


def test_no_rows_no_file(sales):
    define(
        sales,
        SINK.format(format="csv", options={"path": "out"}).replace(
            '"amount")', '"amount").where("id > 3")'
        ),
    )
    sales.run()
    assert not (sales.folder / "out").exists()
    assert batches(sales) == [("out", 0, "csv", 0)]
    deliver(sales, "2026-02", 4)
    sales.run()
    assert ids(sales, "csv") == [4]


def test_a_sink_of_a_streaming_table_in_one_run_with_two_flows(sales):
    define(sales, "CREATE STREAMING TABLE silver.e AS SELECT * FROM STREAM(bronze.sales)", "e.sql")
    more = """

@dp.append_flow(target="out")
def again():
    return spark.readStream.table("silver.e").select("id", "shop", "amount").where("id = 1")
"""
    define(sales, SINK.format(format="parquet", options={"path": "out"}) + more)
    sales.run()
    assert ids(sales, "parquet") == [1, 1, 2, 3]
    assert sales.plan() == {"silver.e": "up to date", "out": "up to date"}


def test_a_lakehouse_made_anew_does_not_overwrite_old_files(sales):
    sink(sales, "json")
    sales.run()
    shutil.rmtree(sales.folder / "warehouse")
    deliver(sales, "2026-02", 4)
    sales.run()
    assert ids(sales, "json") == [1, 1, 2, 2, 3, 3, 4]


MISTAKES = {
    "a format": ("kafka", {}, "No sink format 'kafka'. Sink formats: console, csv, delta, json"),
    "an option": (
        "csv",
        {"path": "out", "heder": "true"},
        "csv sink: No option 'heder'. Did you mean 'header'?",
    ),
    "no path": ("json", {}, "the sink 'out' has no path"),
    "a table": ("delta", {"tableName": "silver.x"}, "filled by a streaming table: declare it with"),
    "a checkpoint": ("csv", {"path": "o", "checkpointLocation": "c"}, "in the table system.sinks"),
    "the warehouse": ("delta", {"path": "warehouse/silver/x"}, "is in the warehouse: a table of"),
    "far away": ("csv", {"path": "s3://bucket/out"}, "is not on this machine"),
    "compression": ("parquet", {"path": "o", "compression": "lz9"}, "No compression 'lz9'."),
    "a number": ("console", {"numRows": "many"}, "'numRows' is a number, not 'many'"),
    "a flag": ("csv", {"path": "o", "header": "yes"}, "'header' is 'true' or 'false', not 'yes'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_sink_that_is_declared_wrongly(sales, case):
    kind, options, message = MISTAKES[case]
    define(sales, SINK.format(format=kind, options=options))
    with pytest.raises(DefinitionError) as caught:
        sales.plan()
    assert str(caught.value).startswith("transformations/extra.py:6: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "CREATE MATERIALIZED VIEW silver.y AS SELECT * FROM out",
            "silver.y reads the sink 'out', whose rows have left the lakehouse",
        ),
        (
            "CREATE STREAMING TABLE silver.y AS SELECT * FROM STREAM(out)",
            "silver.y reads the sink 'out'",
        ),
    ],
)
def test_a_sink_cannot_be_read(sales, text, message):
    sink(sales, "json")
    define(sales, text, "y.sql")
    with pytest.raises(DefinitionError, match=message):
        sales.plan()


def test_a_table_may_have_the_name_of_a_sink(sales):
    sink(sales, "json")
    define(sales, "CREATE MATERIALIZED VIEW silver.out AS SELECT 1 AS a", "o.sql")
    define(sales, "CREATE MATERIALIZED VIEW silver.y AS SELECT * FROM out", "y.sql")
    sales.run()
    assert sales.lake.read("silver.y").to_polars().rows() == [(1,)]
    assert ids(sales, "json") == [1, 2, 3]


def test_a_flow_into_a_sink_reads_a_stream(sales):
    sink(sales, "json")
    file = sales.folder / "transformations/extra.py"
    file.write_text(file.read_text("utf-8").replace("readStream", "read"), "utf-8")
    with pytest.raises(DefinitionError, match="the flow 'to_out' of the sink out reads no stream"):
        sales.plan()
