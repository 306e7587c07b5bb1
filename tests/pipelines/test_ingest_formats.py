"""Formats, compression and schema policies, on real files."""

from __future__ import annotations

import bz2
import gzip
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sololakehouse.errors import ConfigError, IngestError
from sololakehouse.pipelines import json_file
from sololakehouse.pipelines.json_file import JsonFile
from sololakehouse.pipelines.schema_policy import Contract

CSV = "id,shop\n1,a\n2,b\n"


@pytest.fixture
def project(make_project):
    """Make a project with one source of that kind."""

    def make(source, **files):
        config = f"name: x\nsources: {{s: {{path: 'landing/*', table: bronze.s, {source}}}}}\n"
        return make_project(config=config, **files)

    return make


def rows_of(project, table="bronze.s"):
    rows = project.lake.read(table).to_polars().sort("_source_file", "_source_line")
    return rows.drop("_source_file", "_ingested_at", "_source_sha256")


def refused(project, message):
    with pytest.raises(IngestError, match=message) as raised:
        project.ingest("s")
    return str(raised.value)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", None), (".lz4", None)],
)
def test_compression_goes_by_the_suffix(project, suffix, compress):
    shop = project("schema: {id: bigint, shop: string}")
    path = shop.folder / "landing"
    path.mkdir()
    with pa.output_stream(str(path / f"a.csv{suffix}"), compression="detect") as out:
        out.write(CSV.encode())
    assert shop.ingest("s").rows == 2
    assert rows_of(shop)["_source_line"].to_list() == [2, 3]
    if compress:
        (path / f"b.csv{suffix}").write_bytes(compress(CSV.encode()) + compress(b"3,c\n"))
        assert shop.ingest("s").rows == 3


def test_a_gzip_file_cut_short_is_one_error_that_names_it(project):
    shop = project("schema: {id: bigint, shop: string}")
    path = shop.write("landing/a.csv.gz", "")
    rows = "".join(f"{n},{n * 7919 % 1000}\n" for n in range(5000))
    path.write_bytes(gzip.compress(b"id,shop\n" + rows.encode())[:-3000])
    assert "cut short" in refused(shop, r"^landing/a\.csv\.gz cannot be read")


@pytest.mark.parametrize("name", ["a.zip", "a.csv.xz", "a.tar"])
def test_archives_are_refused_with_what_is_supported(project, name):
    shop = project("schema: {id: bigint}", **{f"landing/{name}": "x"})
    refused(shop, r"are not supported\. Supported: \.gz, \.bz2, \.zst, \.lz4")


def test_csv_options_reach_the_parser(project):
    options = (
        "options: {delimiter: ';', quote: \"'\", header: false, skip_rows: 2, encoding: cp1252}"
    )
    shop = project(f"{options}, schema: {{id: bigint, shop: string}}")
    shop.write("landing/a.csv", "")
    (shop.folder / "landing/a.csv").write_bytes(
        "report\r\n2026\r\n1;'é;x'\r\n2;b\r\n".encode("cp1252")
    )
    shop.ingest("s")
    assert rows_of(shop).rows() == [(1, "é;x", 3), (2, "b", 4)]


def test_a_wrong_encoding_is_one_error(project):
    shop = project("options: {encoding: ascii}, schema: {id: bigint}")
    shop.write("landing/a.csv", "id\né\n")
    refused(shop, r"landing/a\.csv is not in the encoding that its source declares")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("options: {header: false}", "'header: false' needs a 'schema'"),
        ("format: json, options: {delimiter: ';'}", "'options' are for CSV files"),
        ("options: {encoding: utf-9}", "no encoding 'utf-9'"),
        ("options: {delimiter: '\"'}", "delimiter and quote must differ"),
        ("options: {delimiter: 'é'}", "must be one ASCII character"),
        ("schema: {a: bigit}", "Did you mean 'bigint'"),
        ("schema: {a: int, A: int}", "names 'a' twice"),
        ("schema: {a: 'decimal(3,9)'}", "no type"),
        ("max_quarantined: 2", "max_quarantined"),
    ],
)
def test_a_mistake_in_a_source_is_named(project, source, message):
    shop = project(source)
    with pytest.raises(ConfigError, match=re.escape(message)):
        shop.ingest("s")


def test_all_declared_types_are_read_from_csv(project):
    kinds = {
        "a": ("tinyint", "7", 7),
        "b": ("smallint", "-300", -300),
        "c": ("int", "70000", 70000),
        "d": ("float", "0.5", 0.5),
        "e": ("decimal(9,2)", "12.30", Decimal("12.30")),
        "f": ("date", "2026-01-31", date(2026, 1, 31)),
        "g": ("timestamp", "2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
        "h": ("timestamp_ntz", "2026-01-01 01:00:00", datetime(2026, 1, 1, 1)),
        "i": ("boolean", "true", True),
        "j": ("binary", "xy", b"xy"),
    }
    schema = ", ".join(f"{name}: '{kind}'" for name, (kind, _, _) in kinds.items())
    good = ",".join(text for _, text, _ in kinds.values())
    shop = project(f"max_quarantined: 1, schema: {{{schema}}}")
    shop.write("landing/a.csv", f"{','.join(kinds)}\n{good}\n{good}x\n{good},9\n200{good}\n")
    result = shop.ingest("s")
    assert rows_of(shop).rows()[0][:-1] == tuple(value for _, _, value in kinds.values())
    assert (result.rows, result.quarantined) == (2, 2)
    found = shop.lake.read("bronze.s_quarantine").to_polars()["_reason"].to_list()
    assert "tinyint (8 bit)" in found[1]


def test_a_quoted_empty_value_is_null_in_a_number_and_empty_in_text(project):
    shop = project("schema: {id: bigint, shop: string}")
    shop.write("landing/a.csv", 'id,shop\n"",""\n1,\n')
    shop.ingest("s")
    assert rows_of(shop).rows() == [(None, "", 2), (1, None, 3)]


def test_a_quote_that_never_ends_names_the_line_where_it_begins(project):
    shop = project("schema: {id: bigint, shop: string}")
    shop.write("landing/a.csv", 'id,shop\n1,"a\n""b"\n2,"c\n3,d\n')
    refused(shop, r"landing/a\.csv:4: the quoted field that begins here does not end")


def test_a_record_without_an_end_is_refused_before_it_fills_the_memory(project, monkeypatch):
    from sololakehouse.pipelines import csv_blocks

    monkeypatch.setattr(csv_blocks, "RECORD_LIMIT", 1 << 16)
    path = project("schema: {id: bigint}").write("landing/a.csv", 'id\n"' + "1\n" * 200_000)
    from sololakehouse.config.source import CsvOptions
    from sololakehouse.pipelines.csv_file import CsvFile

    file = CsvFile(path, "a.csv", CsvOptions(), block_size=1 << 14)
    contract = Contract(pa.schema([("id", pa.int64())]), "strict")
    with pytest.raises(IngestError, match=r"a\.csv:2: the quoted field"):
        list(file.batches(contract))


JSON_SCHEMA = "schema: {id: bigint, name: string, at: timestamp, x: double, ok: boolean}"
JSON_LINES = [
    '{"id": 1, "name": "a", "at": "2026-01-01T00:00:00Z", "x": 1, "ok": true}',
    "",
    '{"id": 2, "name": {"first": "b", "n": [1, 2.50]}, "x": null}',
    '{"id": 3, "name": 7}',
    '{"id": "4"}',
    '{"id": 5, "at": "2026-01-01T00:00:00"}',
    "[6]",
    '{"id": 7, "x": NaN}',
    '{"id": 8} {"id": 9}',
    '{"id": 1, "id": 2}',
    '{"id": 9223372036854775808}',
    '{"id": true}',
    '{"name": "\\ud800"}',
]


def test_json_lines_are_typed_and_what_is_none_is_quarantined(project):
    shop = project(f"format: json, max_quarantined: 1, {JSON_SCHEMA}")
    shop.write("landing/a.json", "\n".join(JSON_LINES))
    result = shop.ingest("s")
    rows = rows_of(shop)
    assert rows["_source_line"].to_list() == [1, 3, 4]
    assert rows["name"].to_list() == ["a", '{"first":"b","n":[1,2.5]}', "7"]
    assert rows["at"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC), None, None]
    bad = shop.lake.read("bronze.s_quarantine").to_polars()
    assert bad["_source_line"].to_list() == list(range(5, 14))
    assert bad["_raw"].to_list() == JSON_LINES[4:]
    reasons = bad["_reason"].to_list()
    assert reasons[0] == "column 'id' holds '\"4\"', which is no bigint"
    assert reasons[2] == "the line is no JSON object"
    assert result.quarantined == 9


def test_json_without_a_schema_takes_the_types_of_all_lines(project):
    shop = project("format: json")
    shop.write("landing/a.json", '{"a": 1, "b": "2026-01-01"}\n{"a": 2.5, "c": [1]}\n')
    shop.ingest("s")
    assert rows_of(shop).schema["a"] == pl.Float64
    assert rows_of(shop)["b"].to_list() == ["2026-01-01", None]
    assert rows_of(shop)["c"].to_list() == [None, "[1]"]


def test_a_json_field_that_a_strict_source_does_not_know_is_an_error(project):
    shop = project(f"format: json, {JSON_SCHEMA}")
    shop.write("landing/a.json", '{"id": 1}\n{"id": 2, "nam": "x"}\n')
    refused(shop, r"landing/a\.json:2: the line has the field 'nam'.*Did you mean 'name'")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "é\n", "2026-01-01T00:00:00Z", "2026-01-01", '"}\n{"', ""]),
    st.just([1]),
)
RECORDS = st.dictionaries(st.sampled_from(["id", "name", "at", "x", "ok"]), VALUES, max_size=3)
JSON_TEXTS = st.lists(
    st.one_of(RECORDS.map(json.dumps), st.sampled_from(["", "{", "[]", '{"id":1}{"id":2}', "}{"])),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(JSON_TEXTS, st.sampled_from([3, 20, 1000]))
@example(['{"at": "2026-01-01"}'], 1000)
@example(['{"x": 1e999}'], 1000)
@example(['{"id":1} {"id":2}', '{"id":', "3}"], 1000)
def test_json_blocks_read_at_once_are_what_single_lines_are(tmp_path_factory, lines, size):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text("\n".join(lines))
    contract = Contract(
        pa.schema(
            [
                ("id", pa.int64()),
                ("name", pa.string()),
                ("at", pa.timestamp("us", "UTC")),
                ("x", pa.float64()),
                ("ok", pa.bool_()),
            ]
        ),
        "strict",
    )

    def read():
        batches = list(JsonFile(path, "a.json", size).batches(contract))
        rows = [row for batch in batches for row in batch.rows.to_pylist()]
        places = [line for batch in batches for line in batch.lines.to_pylist()]
        return repr(rows), places, [one for batch in batches for one in batch.malformed]

    both = read()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_file, "_fast", lambda *_: None)
        assert read() == both
    assert len(both[1]) + len(both[2]) == sum(bool(line.strip()) for line in lines)


def parquet(project, name, frame):
    path = project.folder / "landing" / name
    path.parent.mkdir(exist_ok=True)
    frame.write_parquet(path)
    return path


def test_parquet_keeps_its_types_and_widens_safely(project):
    shop = project("format: parquet")
    frame = pl.DataFrame({"id": [1, 2], "n": [[1], None], "d": [Decimal("1.5"), None]})
    parquet(shop, "a.parquet", frame)
    shop.ingest("s")
    parquet(shop, "b.parquet", frame.with_columns(pl.col("id").cast(pl.Int16)))
    assert shop.ingest("s").rows == 2
    rows = rows_of(shop)
    assert rows["id"].to_list() == [1, 2, 1, 2]
    assert rows["n"].to_list() == [[1], None] * 2
    assert rows["_source_line"].null_count() == 4


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"id": ["1"]}), "column 'id' is string, and its source has it as bigint"),
        (pl.DataFrame({"id": [1], "x": [1]}), "has the column 'x', which its source does not"),
        (pl.DataFrame({"id": [1.5]}), "column 'id' is double"),
    ],
)
def test_a_parquet_file_of_other_types_is_refused(project, frame, message):
    shop = project("format: parquet, schema: {id: bigint}")
    parquet(shop, "a.parquet", frame)
    refused(shop, message)


def test_parquet_types_that_delta_does_not_have_are_stored_or_refused(project):
    shop = project("format: parquet")
    frame = pl.DataFrame({"u": pl.Series([2**64 - 1], dtype=pl.UInt64), "c": ["a"]})
    parquet(shop, "a.parquet", frame.with_columns(pl.col("c").cast(pl.Categorical)))
    shop.ingest("s")
    assert rows_of(shop).rows() == [(Decimal(2**64 - 1), "a", None)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (pl.Datetime("ns", "UTC"), "cannot hold without loss"),
        (pl.Time, "which a Delta table cannot hold"),
        (pl.Datetime("us"), "column 't' is timestamp_ntz"),
    ],
)
def test_parquet_values_that_would_change_are_refused(project, kind, message):
    shop = project("format: parquet, schema: {t: timestamp}")
    parquet(shop, "a.parquet", pl.DataFrame({"t": pl.Series([1], dtype=kind)}))
    refused(shop, message)


@pytest.mark.parametrize("kept", [0, 3, 500, 0.99])
def test_a_parquet_file_cut_short_is_one_error_that_names_it(project, kept):
    shop = project("format: parquet")
    path = parquet(shop, "a.parquet", pl.DataFrame({"id": range(10_000)}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    refused(shop, r"^landing/a\.parquet cannot be read")


def test_evolve_adds_columns_at_the_end_and_missing_ones_are_null(project):
    schema = "schema: {id: bigint, shop: string}"
    shop = project(f"schema_policy: evolve, max_quarantined: 0.5, {schema}")
    shop.write("landing/a.csv", CSV)
    shop.ingest("s")
    shop.write("landing/b.csv", "id,tax\n3,0.5\n4,1\n")
    shop.write("landing/c.csv", "ID,tax,note\n5,much,x\n6,2,y\n")
    assert shop.ingest("s").quarantined == 1
    table = shop.lake.read("bronze.s")
    assert list(table.columns)[-2:] == ["tax", "note"]
    rows = table.to_polars().sort("id")
    assert rows.select("id", "shop", "tax", "note").rows() == [
        (1, "a", None, None),
        (2, "b", None, None),
        (3, None, 0.5, None),
        (4, None, 1.0, None),
        (6, None, 2.0, "y"),
    ]
    from sololakehouse.provenance import content_manifest

    assert table.record.manifest == content_manifest(table.scan(), ["_ingested_at"])


def test_a_declared_schema_that_grew_needs_evolve(project):
    shop = project("schema: {id: bigint, shop: string}", **{"landing/a.csv": CSV})
    shop.ingest("s")
    grown = "schema: {id: bigint, shop: string, tax: double}"
    files = {"landing/b.csv": "id,shop,tax\n3,c,1\n"}
    refused(project(grown, **files), "declares other columns than bronze.s has: tax")
    assert project(f"schema_policy: evolve, {grown}").ingest("s").rows == 1
    other = project("schema: {id: string, shop: string}", **{"landing/c.csv": CSV})
    refused(other, "declares column 'id' as string, and bronze.s has it as bigint")


def test_rescue_keeps_unknown_fields_and_misfits_as_json(project):
    shop = project("schema_policy: rescue, schema: {id: bigint, shop: string}")
    shop.write("landing/a.csv", "id,Shop,tax\n1,a,2\nx,,3\n4,,\n")
    assert shop.ingest("s").quarantined == 0
    rows = rows_of(shop)
    assert rows["id"].to_list() == [1, None, 4]
    assert rows["shop"].to_list() == [None] * 3
    found = [text and json.loads(text) for text in rows["_rescued_data"]]
    assert found == [
        {"Shop": "a", "tax": "2", "_file_path": "landing/a.csv"},
        {"tax": "3", "id": "x", "_file_path": "landing/a.csv"},
        None,
    ]


def test_rescue_may_be_chosen_and_left_later(project):
    schema = "schema: {id: bigint, shop: string}"
    project(schema, **{"landing/a.csv": CSV}).ingest("s")
    files = {"landing/b.csv": "id,shop\n3,c\nx,d\n"}
    rescuing = project(f"schema_policy: rescue, {schema}", **files)
    rescuing.ingest("s")
    project(schema, **{"landing/c.csv": "id,shop\n5,e\n"}).ingest("s")
    rows = rows_of(rescuing)
    assert rows["shop"].to_list() == ["a", "b", "c", "d", "e"]
    assert rows["_rescued_data"].is_null().to_list() == [True, True, True, False, True]


def test_rescue_of_json_and_parquet(project):
    shop = project("format: json, schema_policy: rescue, schema: {id: bigint}")
    text = '{"id": "1", "more": {"a": [1]}}\n{"id": 2}\nbroken\n'
    shop.write("landing/a.json", text + "{}\n" * 200)
    assert shop.ingest("s").quarantined == 1
    first = json.loads(rows_of(shop)["_rescued_data"][0])
    assert first == {"id": "1", "more": {"a": [1]}, "_file_path": "landing/a.json"}


def test_rescue_of_parquet_keeps_columns_of_another_type(project):
    shop = project("format: parquet, schema_policy: rescue, schema: {id: bigint}")
    parquet(shop, "a.parquet", pl.DataFrame({"id": ["x"], "day": [date(2026, 1, 1)]}))
    shop.ingest("s")
    (text,) = rows_of(shop)["_rescued_data"]
    assert json.loads(text) == {"id": "x", "day": "2026-01-01", "_file_path": "landing/a.parquet"}


def test_a_header_in_another_case_is_another_column_unless_the_source_evolves(project):
    files = {"landing/a.csv": "ID,shop\n1,a\n"}
    refused(project("schema: {id: bigint, shop: string}", **files), "no column 'id'")
    evolving = project("schema_policy: evolve, schema: {id: bigint, shop: string}", **files)
    evolving.ingest("s")
    assert rows_of(evolving)["id"].to_list() == [1]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,_source_line", "the column '_source_line' has a name that ingestion uses"),
        ("a,A", "the columns 'a' and 'A' differ in upper and lower case only"),
        ("a,", "column 2 has no name"),
    ],
)
def test_names_that_a_table_cannot_have_are_refused(project, header, message):
    refused(project("format: csv", **{"landing/a.csv": f"{header}\n1,2\n"}), message)
