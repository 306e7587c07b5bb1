"""A CSV file as a typed Arrow table, or one error that names the line, the column and the value."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.config import ColumnType, CsvOptions
from sololakehouse.errors import IngestError

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK = 1 << 20
_INFERRED = re.compile(r"^(int64|double|bool|date32\[day\]|string)$")


def arrow_type(name: ColumnType) -> pa.DataType:
    """Return the Arrow type of a type in `lakehouse.yml`; a timestamp is in UTC microseconds."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    return types[name]


@dataclass(frozen=True)
class CsvFile:
    """A CSV file in UTF-8 with a header; `name` is what errors call it."""

    path: Path
    name: str
    options: CsvOptions

    def header(self) -> list[str]:
        """Return the column names.

        Raises
        ------
        IngestError
            The file is empty, or a name stands in it twice.
        """
        try:
            names = next(self._records(), (1, []))[1]
        except UnicodeDecodeError as error:
            raise self._no_text(error) from error
        if not names:
            raise IngestError(f"{self.name} is empty: it has no header line.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise IngestError(f"{self.name}:1: the header names {twice[0]!r} twice.")
        return names

    def read(self, columns: pa.Schema | None) -> pa.Table:
        """Read the file, with the columns in the order of `columns`.

        Parameters
        ----------
        columns
            Names and types. With None, types are inferred from the values, and what looks like a
            timestamp stays text: without a declared type its time zone is unknown.

        Raises
        ------
        IngestError
            A row has too few or too many fields, or a value does not fit its column.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        self.header()
        try:
            rows = arrow_csv.read_csv(
                self.path,
                parse_options=self._parse_options(),
                convert_options=self._convert_options(columns),
            )
        except pa.ArrowInvalid as error:
            raise self._diagnosis(columns, str(error)) from error
        if columns is not None:
            return rows.select(columns.names)
        return self._without_guessed_moments(rows)

    def lines(self, rows: int) -> pa.Array:
        """Return the line on which each of the file's `rows` records begins, from 1."""
        import pyarrow as pa

        if self._newlines() == rows + 1:
            return pa.array(range(2, rows + 2), pa.int64())
        starts = [line for line, _ in self._records()][1:]
        return pa.array(starts, pa.int64())

    def _parse_options(self) -> object:
        from pyarrow import csv as arrow_csv

        return arrow_csv.ParseOptions(
            delimiter=self.options.delimiter,
            quote_char=self.options.quote,
            newlines_in_values=True,
        )

    def _convert_options(self, columns: pa.Schema | None) -> object:
        from pyarrow import csv as arrow_csv

        nulls = sorted({"", self.options.null_value})
        return arrow_csv.ConvertOptions(
            column_types=columns,
            null_values=nulls,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            timestamp_parsers=[arrow_csv.ISO8601],
        )

    def _without_guessed_moments(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        fields = [
            field if _INFERRED.match(str(field.type)) else field.with_type(pa.string())
            for field in rows.schema
        ]
        schema = pa.schema(fields)
        return rows if schema == rows.schema else self.read(schema)

    def _newlines(self) -> int:
        count, last = 0, b"\n"
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                count += chunk.count(b"\n")
                last = chunk[-1:]
        return count + (last != b"\n")

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(
                file, delimiter=self.options.delimiter, quotechar=self.options.quote
            )
            begins = 1
            for record in reader:
                if record:
                    yield begins, record
                begins = reader.line_num + 1

    def _diagnosis(self, columns: pa.Schema | None, cause: str) -> IngestError:
        try:
            return self._first_mistake(columns) or IngestError(f"{self.name}: {cause}.")
        except UnicodeDecodeError as error:
            return self._no_text(error)

    def _no_text(self, error: UnicodeDecodeError) -> IngestError:
        return IngestError(
            f"{self.name} is not UTF-8 text: {error.reason} {error.object[error.start]:#04x}. "
            "Convert the file and ingest again. Nothing was ingested."
        )

    def _first_mistake(self, columns: pa.Schema | None) -> IngestError | None:
        records = self._records()
        header = next(records)[1]
        for line, record in records:
            if len(record) != len(header):
                return IngestError(
                    f"{self.name}:{line}: the row has {len(record)} fields, the header has "
                    f"{len(header)}. Nothing was ingested."
                )
            for name, value in zip(header, record, strict=True):
                if columns is None or value in ("", self.options.null_value):
                    continue
                if not _fits(value, columns.field(name).type):
                    return IngestError(
                        f"{self.name}:{line}: column {name!r} holds {value!r}, which is no "
                        f"{_plain_name(columns.field(name).type)}. Correct the file, name the "
                        "value under options.null_value, or declare another type in "
                        "lakehouse.yml. Nothing was ingested."
                    )
        return None


@cache
def _fits(value: str, kind: pa.DataType) -> bool:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    text = io.BytesIO(b'v\n"' + value.replace('"', '""').encode() + b'"\n')
    options = arrow_csv.ConvertOptions(
        column_types={"v": kind}, timestamp_parsers=[arrow_csv.ISO8601]
    )
    try:
        arrow_csv.read_csv(text, convert_options=options)
    except pa.ArrowInvalid:
        return False
    return True


def _plain_name(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return "timestamp with a time zone (as 2013-01-31T12:00:00Z)"
    names = {"int32": "int (32 bit)", "int64": "bigint", "bool": "boolean", "date32[day]": "date"}
    return names.get(str(kind), str(kind))
