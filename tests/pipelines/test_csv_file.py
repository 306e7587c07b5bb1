"""CSV files against an oracle of Python's csv module, with blocks so small that records cross."""

from __future__ import annotations

import csv
import re

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sololakehouse.config.source import CsvOptions
from sololakehouse.errors import IngestError
from sololakehouse.pipelines.columns import arrow_type
from sololakehouse.pipelines.csv_file import CsvFile
from sololakehouse.pipelines.schema_policy import Contract
from sololakehouse.pipelines.values import necessary_form, parsed, typed

SCHEMA = pa.schema([("k", pa.int64()), ("t", pa.string()), ("x", pa.float64())])
FIELDS = st.one_of(
    st.sampled_from(["", "1", "-7", "2.5", " 3", "ten", "NA", "0x1F", '"', 'a"b', "é", "x,y"]),
    st.sampled_from(['"a,b"', '"two\nlines"', '"he said ""no"""', '""', '"\r\n"', '"x"y', "1e5"]),
    st.text(alphabet='a1,"\n\r ', max_size=6),
)
LINES = st.lists(FIELDS, min_size=0, max_size=4).map(",".join)
TEXTS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\n\n"])), max_size=8).map(
    lambda lines: "".join(text + end for text, end in lines)
)


def line_starts(text):
    """Python's csv reader: each record that is not blank, with its line; None if unended."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
    pulled = 0

    def pull():
        nonlocal pulled
        yield from lines
        pulled = 1

    reader, begins, found = csv.reader(pull()), 1, []
    for record in reader:
        if pulled:
            return None
        if record:
            found.append((begins, record))
        begins = reader.line_num + 1
    return found


def fits(value, kind):
    return value in ("", "NA") or parsed(pa.array([value]), kind) is not None


def oracle(text):
    """The accepted rows as (line, fields) and the lines of the malformed; None for an error."""
    found = line_starts(text)
    if found is None:
        return None
    rows, malformed = [], []
    for line, record in found[1:]:
        good = len(record) == 3 and fits(record[0], pa.int64()) and fits(record[2], pa.float64())
        (rows if good else malformed).append((line, record))
    return rows, malformed


def read(path, text, size, options=None, policy="strict", schema=SCHEMA):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    file = CsvFile(path, path.name, options or CsvOptions(null_value="NA"), block_size=size)
    batches = list(file.batches(Contract(schema, policy)))
    rows = [
        (line, tuple(row.values()))
        for batch in batches
        for line, row in zip(batch.lines.to_pylist(), batch.rows.to_pylist(), strict=True)
    ]
    return rows, [one for batch in batches for one in batch.malformed]


def value_of(text, kind):
    if kind == pa.string():
        return text
    if text in ("", "NA"):
        return None
    return parsed(pa.array([text]), kind)[0].as_py()


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from([1, 2, 3, 5, 8, 13, 40, 1000]))
@example('1,"a\nb",2\n\n3,c\n4,"d', 4)
@example('1,a"b,2\n3,"c\n",4\n', 7)
@example('1,"a",2\r3,b,ten\r', 5)
def test_rows_and_lines_are_those_of_pythons_csv_reader(tmp_path_factory, body, size):
    text = "k,t,x\n" + body
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    expected = oracle(text)
    if expected is None:
        with pytest.raises(IngestError, match=r"a\.csv:\d+: the quoted field"):
            read(path, text, size)
        return
    rows, malformed = read(path, text, size)
    assert [one.line for one in malformed] == [line for line, _ in expected[1]]
    assert [line for line, _ in rows] == [line for line, _ in expected[0]]
    for (_, row), (_, record) in zip(rows, expected[0], strict=True):
        assert row[0] == value_of(record[0], pa.int64())
        assert (row[1] or "") == ("" if record[1] == "NA" and row[1] is None else record[1])
        assert repr(row[2]) == repr(value_of(record[2], pa.float64()))


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="0123456789.-+eExXnaifNAFtTruezZ: \t", max_size=24),
    st.sampled_from(
        ["tinyint", "int", "bigint", "double", "boolean", "date", "timestamp", "timestamp_ntz"]
    ),
)
@example("2026-01-01T10:00:00+01:00", "timestamp")
@example("2026-01-01", "date")
@example("-inf", "double")
@example("0x1F", "bigint")
def test_what_arrow_parses_has_the_form_of_its_type(text, name):
    kind = arrow_type(name)
    value = parsed(pa.array([text]), kind)
    if value is not None:
        assert re.search(necessary_form(kind), text)
    expected = [None] if value is None else value.to_pylist()
    assert repr(typed(pa.array([text]), kind).to_pylist()) == repr(expected)
