"""A CSV file as batches of typed rows, with the line of each, and its malformed records.

A block is first parsed with its types at once. Only if that fails (a value does not fit, a row has
too few fields) it is read again as text, and each record is judged on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config.source import CsvOptions
from sololakehouse.errors import IngestError
from sololakehouse.pipelines.columns import plain_name, wider
from sololakehouse.pipelines.csv_blocks import (
    BLOCK,
    Block,
    Dialect,
    Records,
    blocks,
    line_ends,
    records,
)
from sololakehouse.pipelines.csv_header import Beginning, begin, no_text
from sololakehouse.pipelines.landing import Batch, LandingStream, Malformed, open_landing
from sololakehouse.pipelines.rescue import rescued, shown
from sololakehouse.pipelines.schema_policy import Contract
from sololakehouse.pipelines.values import typed

if TYPE_CHECKING:
    import pyarrow as pa

_INFERRED = re.compile(r"^(int64|double|bool|date32\[day\]|null)$")


@dataclass(frozen=True)
class CsvFile:
    """A CSV file; `name` is what errors call it, `names` its columns if it has no header."""

    path: Path
    name: str
    options: CsvOptions
    names: tuple[str, ...] | None = None
    block_size: int = BLOCK

    def check(self, contract: Contract) -> None:
        """Refuse a header that breaks the contract."""
        with self._stream() as stream:
            self._check(self._begin(stream), contract)

    def new_fields(self, contract: Contract | None) -> list[pa.Field]:
        """Return the columns that the contract lacks; all without one.

        Their types are those that fit all values of the file; what looks like a timestamp stays
        text: without a declared type its time zone is unknown.
        """
        with self._stream() as stream:
            names = self._begin(stream).names
        unknown = contract.unknown(names) if contract else names
        return list(self._inferred(unknown)) if unknown else []

    def batches(self, contract: Contract) -> Iterator[Batch]:
        """Read the file, block by block.

        Raises
        ------
        IngestError
            The header breaks the contract, the text is not UTF-8, or a quoted field does not end.
        """
        with self._stream() as stream:
            beginning = self._begin(stream)
            self._check(beginning, contract)
            reader = _BlockReader(self.name, self.options, contract, beginning.names)
            for block in self._blocks(stream, beginning):
                yield reader.batch(block, stream.position)

    def _check(self, beginning: Beginning, contract: Contract) -> None:
        contract.check_header(beginning.names, f"{self.name}:{beginning.header_line}")

    def _stream(self) -> AbstractContextManager[LandingStream]:
        return open_landing(self.path, self.name, self.options.encoding)

    def _begin(self, stream: LandingStream) -> Beginning:
        dialect = _dialect(self.name, self.options)
        return begin(stream, dialect, self.names, self.options.skip_rows, self.block_size)

    def _blocks(self, stream: LandingStream, beginning: Beginning) -> Iterator[Block]:
        dialect = _dialect(self.name, self.options)
        return blocks(stream, dialect, beginning.rest, beginning.line, self.block_size)

    def _inferred(self, wanted: Sequence[str]) -> pa.Schema:
        import pyarrow as pa

        kinds = dict.fromkeys(wanted, pa.null())
        with self._stream() as stream:
            beginning = self._begin(stream)
            parser = _Parser(self.name, self.options, beginning.names)
            for block in self._blocks(stream, beginning):
                for name, kind in parser.inferred(block, wanted).items():
                    kinds[name] = wider(kinds[name], kind)
        text = pa.string()
        return pa.schema([(n, text if kind == pa.null() else kind) for n, kind in kinds.items()])


@dataclass(frozen=True)
class _Parser:
    """Arrow's CSV parser for the blocks of one file."""

    name: str
    options: CsvOptions
    names: list[str]

    @property
    def dialect(self) -> Dialect:
        return _dialect(self.name, self.options)

    @property
    def nulls(self) -> list[str]:
        return sorted({"", self.options.null_value})

    def parse(self, data: bytes, **convert: Any) -> pa.Table:
        import pyarrow as pa
        from pyarrow import csv

        return csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(column_names=self.names),
            csv.ParseOptions(
                delimiter=self.options.delimiter,
                quote_char=self.options.quote,
                newlines_in_values=self.dialect.quote in data,
            ),
            csv.ConvertOptions(
                null_values=self.nulls,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                timestamp_parsers=[csv.ISO8601],
                **convert,
            ),
        )

    def texts(self, block: Block, data: bytes) -> pa.Table:
        import pyarrow as pa

        kinds = dict.fromkeys(self.names, pa.string())
        if not data.strip(b"\r\n"):
            return pa.schema(kinds.items()).empty_table()
        try:
            return self.parse(data, column_types=kinds)
        except pa.ArrowInvalid as error:
            raise self._mistake(block, error) from error

    def inferred(self, block: Block, wanted: Sequence[str]) -> dict[str, pa.DataType]:
        import pyarrow as pa

        options = {
            "include_columns": list(wanted),
            "true_values": ["true", "True", "TRUE"],
            "false_values": ["false", "False", "FALSE"],
        }
        try:
            rows = self.parse(block.data, **options)
        except pa.ArrowInvalid:
            found = records(block, self.dialect)
            data = _joined(block, found, found.fields == len(self.names))
            if not self.texts(block, data).num_rows:
                return {}
            rows = self.parse(data, **options)
        text = pa.string()
        known = ((f.name, f.type) for f in rows.schema)
        return {n: kind if _INFERRED.match(str(kind)) else text for n, kind in known}

    def _mistake(self, block: Block, error: Exception) -> IngestError:
        try:
            block.data.decode()
        except UnicodeDecodeError as wrong:
            line = block.line + line_ends(block.data[: wrong.start])
            return no_text(self.name, line, wrong)
        return IngestError(f"{self.name}:{block.line}: {error}. Nothing was ingested.")


class _BlockReader:
    """Turns blocks of one file into batches of the contract's columns."""

    def __init__(
        self, name: str, options: CsvOptions, contract: Contract, names: list[str]
    ) -> None:
        import pyarrow as pa

        self._parser = _Parser(name, options, names)
        self._contract = contract
        matched = {column: contract.column_of(column) for column in names}
        self._file_column = {known: column for column, known in matched.items() if known}
        self._unknown = [column for column, known in matched.items() if known is None]
        self._types = {
            column: contract.columns.field(known).type if known else pa.string()
            for column, known in matched.items()
        }

    def batch(self, block: Block, position: int) -> Batch:
        import pyarrow as pa

        try:
            rows = self._parser.parse(block.data, column_types=self._types)
        except pa.ArrowInvalid:
            return self._record_by_record(block, position)
        lines = self._lines(block, rows.num_rows)
        if lines is None:
            return self._record_by_record(block, position)
        unknown = [(column, rows[column]) for column in self._unknown]
        return Batch(self._arranged(rows, unknown), lines, (), position)

    def _lines(self, block: Block, rows: int) -> pa.Array | None:
        import numpy as np
        import pyarrow as pa

        ended = block.data[-1:] in (b"\n", b"\r")
        if rows == block.lines + (not ended):
            return pa.array(np.arange(block.line, block.line + rows, dtype=np.int64))
        found = records(block, self._parser.dialect)
        return pa.array(found.lines) if len(found) == rows else None

    def _record_by_record(self, block: Block, position: int) -> Batch:
        import numpy as np
        import pyarrow as pa

        found = records(block, self._parser.dialect)
        whole = found.fields == len(self._parser.names)
        reasons = {int(at): self._ragged(found.fields[at]) for at in np.flatnonzero(~whole)}
        texts = self._parser.texts(block, _joined(block, found, whole))
        places = np.flatnonzero(whole)
        if texts.num_rows != len(places):
            raise IngestError(
                f"{self._parser.name}:{block.line}: the records from here on cannot be told apart. "
                "Check options.delimiter and options.quote in lakehouse.yml. Nothing was ingested."
            )
        values, misfits = self._values(texts)
        kept = np.ones(len(places), bool)
        left = [(column, texts[column]) for column in self._unknown]
        if self._contract.policy == "rescue":
            left += misfits
        else:
            kept = self._judge(misfits, places, reasons)
        mask = pa.array(kept)
        rows = self._arranged(values, left).filter(mask)
        malformed = tuple(_malformed(block, found, at, reasons[at]) for at in sorted(reasons))
        return Batch(rows, pa.array(found.lines[places][kept]), malformed, position)

    def _values(self, texts: pa.Table) -> tuple[pa.Table, list[tuple[str, pa.ChunkedArray]]]:
        import pyarrow as pa
        import pyarrow.compute as pc

        columns, misfits = [], []
        nulls = pa.array(self._parser.nulls)
        for name, kind in self._types.items():
            text = texts[name].combine_chunks()
            if pa.types.is_string(kind):
                columns.append(text)
                continue
            text = pc.if_else(pc.is_in(text, value_set=nulls), None, text)
            value = typed(text, kind)
            wrong = pc.and_(pc.is_valid(text), pc.is_null(value))
            if pc.any(wrong).as_py():
                misfits.append((name, pc.if_else(wrong, text, None)))
            columns.append(value)
        return pa.table(columns, names=list(self._types)), misfits

    def _judge(self, misfits: list[tuple[str, Any]], places: Any, reasons: dict[int, str]) -> Any:
        import numpy as np

        kept = np.ones(len(places), bool)
        for name, values in misfits:
            for at in np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)):
                kept[at] = False
                known = plain_name(self._types[name])
                reason = f"column {name!r} holds {shown(values[at].as_py())}, which is no {known}"
                reasons.setdefault(int(places[at]), reason)
        return kept

    def _arranged(self, rows: pa.Table, left: list[tuple[str, Any]]) -> pa.Table:
        import pyarrow as pa

        columns = [
            rows[self._file_column[field.name]]
            if field.name in self._file_column
            else pa.nulls(rows.num_rows, field.type)
            for field in self._contract.columns
        ]
        table = pa.table(columns, schema=self._contract.columns)
        if self._contract.policy != "rescue":
            return table
        return rescued(table, left, self._parser.name)

    def _ragged(self, fields: int) -> str:
        return f"the row has {fields} fields, the header has {len(self._parser.names)}"


def _dialect(name: str, options: CsvOptions) -> Dialect:
    return Dialect(name, options.delimiter.encode(), options.quote.encode())


def _joined(block: Block, found: Records, chosen: Any) -> bytes:
    import numpy as np

    if chosen.all():
        return block.data
    edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen.astype(np.int8), [0]))))
    runs = zip(edges[::2], edges[1::2] - 1, strict=True)
    return b"".join(
        block.data[found.starts[first] : found.ends[last]] + b"\n" for first, last in runs
    )


def _malformed(block: Block, found: Records, at: int, reason: str) -> Malformed:
    raw = block.data[found.starts[at] : found.ends[at]].decode(errors="replace")
    return Malformed(int(found.lines[at]), raw, reason)
