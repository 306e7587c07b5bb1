"""A JSON lines file as batches of typed rows: one object per line.

A block is first parsed by Arrow at once. Only if that fails (no object, a value of another type, a
nested value) its lines are read one by one by Python's json module, whose reading is the rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from sololakehouse.errors import IngestError, suggestion
from sololakehouse.pipelines.ahead import side_by_side
from sololakehouse.pipelines.columns import check_names, plain_name, wider
from sololakehouse.pipelines.csv_blocks import RECORD_LIMIT
from sololakehouse.pipelines.csv_header import no_text
from sololakehouse.pipelines.landing import Batch, LandingStream, Malformed, open_landing
from sololakehouse.pipelines.rescue import rescued, shown
from sololakehouse.pipelines.schema_policy import Contract
from sololakehouse.pipelines.values import typed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

BLOCK = 16 << 20
WORKERS = 2
_BOM = b"\xef\xbb\xbf"
_TEXT_TYPES = ("date32[day]", "timestamp[us, tz=UTC]", "timestamp[us]")


@dataclass(frozen=True)
class JsonFile:
    """A file of JSON objects, one per line, in UTF-8; `name` is what errors call it.

    A field that is not there is NULL. In a string column an object, an array, a number or a boolean
    is kept as its JSON text. Dates and timestamps are texts as in a CSV file.
    """

    path: Path
    name: str
    block_size: int = BLOCK

    def check(self, contract: Contract) -> None:
        """Do nothing: without a header, only the rows tell."""

    def new_fields(self, contract: Contract | None) -> list[pa.Field]:
        """Return the fields that the contract lacks, with a type that fits all their values."""
        import pyarrow as pa

        kinds: dict[str, pa.DataType] = {}
        with self._stream() as stream:
            for found in side_by_side(_kinds, self._blocks(stream), WORKERS):
                for name, kind in found.items():
                    kinds[name] = wider(kinds.get(name, pa.null()), kind)
        check_names(list(kinds), self.name)
        unknown = contract.unknown(list(kinds)) if contract else list(kinds)
        text = pa.string()
        return [pa.field(n, text if kinds[n] == pa.null() else kinds[n]) for n in unknown]

    def batches(self, contract: Contract) -> Iterator[Batch]:
        """Read the file, block by block.

        Raises
        ------
        IngestError
            A line has a field that a `strict` contract does not know, a line is longer than 64 MB,
            or the text is not UTF-8.
        """
        with self._stream() as stream:
            reader = _BlockReader(self.name, contract)
            yield from side_by_side(reader.batch, self._blocks(stream), WORKERS)

    def _stream(self) -> AbstractContextManager[LandingStream]:
        return open_landing(self.path, self.name)

    def _blocks(self, stream: LandingStream) -> Iterator[_Block]:
        rest, line = b"", 1
        while True:
            fresh = stream.read(self.block_size)
            data = rest + fresh
            if line == 1 and len(data) < len(_BOM) and fresh:
                rest = data
                continue
            if line == 1:
                data = data.removeprefix(_BOM)
            length = data.rfind(b"\n") + 1 if fresh else len(data)
            rest = data[length:]
            if len(rest) > RECORD_LIMIT:
                raise IngestError(
                    f"{self.name}:{line}: a line is longer than {RECORD_LIMIT >> 20} MB. Write one "
                    "JSON object per line. Nothing was ingested."
                )
            if length:
                block = _Block(self.name, data[:length], line, stream.position)
                yield block
                line += block.line_ends.size
            if not fresh:
                return


@dataclass(frozen=True)
class _Block:
    name: str
    data: bytes
    line: int
    position: int

    @cached_property
    def line_ends(self) -> npt.NDArray[np.int64]:
        """Where the bytes are that end lines; the last line of a file may have none."""
        import numpy as np

        return np.flatnonzero(self._bytes == ord("\n"))

    @property
    def rows(self) -> int:
        return self.line_ends.size + (not self.data.endswith(b"\n"))

    @property
    def plain(self) -> bool:
        """Whether each line begins with `{` and ends with `}`, so that no object spans lines."""
        end = len(self.data) - self.data.endswith(b"\n")
        if not (self.data.startswith(b"{") and self.data.endswith(b"}", 0, end)):
            return False
        between = self.line_ends[self.line_ends < end]
        ends, begins = self._bytes[between - 1] == ord("}"), self._bytes[between + 1] == ord("{")
        return bool(ends.all() and begins.all())

    @property
    def _bytes(self) -> npt.NDArray[np.uint8]:
        import numpy as np

        return np.frombuffer(self.data, np.uint8)

    def texts(self) -> Iterator[tuple[int, str]]:
        """Give the lines that are not blank, each with its number."""
        for number, line in enumerate(self.data.split(b"\n"), self.line):
            if line.strip():
                try:
                    yield number, line.decode().rstrip("\r")
                except UnicodeDecodeError as error:
                    raise no_text(self.name, number, error) from error


def _fast(block: _Block, schema: pa.Schema | None) -> pa.Table | None:
    import pyarrow as pa
    from pyarrow import json as arrow_json

    if not block.plain:
        return None
    behaviour = "infer" if schema is None else "error"
    options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=behaviour)
    whole = arrow_json.ReadOptions(use_threads=False, block_size=max(1 << 20, len(block.data)))
    try:
        rows = arrow_json.read_json(pa.BufferReader(block.data), whole, options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return rows if rows.num_rows == block.rows else None


def _kinds(block: _Block) -> dict[str, pa.DataType]:
    import pyarrow as pa

    rows = _fast(block, None)
    if rows is not None:
        known = (pa.int64(), pa.float64(), pa.bool_(), pa.null())
        return {f.name: f.type if f.type in known else pa.string() for f in rows.schema}
    kinds: dict[str, pa.DataType] = {}
    for _, text in block.texts():
        found = _object(text)
        for name, value in (found if isinstance(found, dict) else {}).items():
            kinds[name] = wider(kinds.get(name, pa.null()), _kind(value))
    return kinds


def _kind(value: Any) -> pa.DataType:
    import pyarrow as pa

    if value is None:
        return pa.null()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if -(2**63) <= value < 2**63 else pa.string()
    return pa.float64() if isinstance(value, float) else pa.string()


class _BlockReader:
    """Turns blocks of one file into batches of the contract's columns."""

    def __init__(self, name: str, contract: Contract) -> None:
        import pyarrow as pa

        self._name = name
        self._contract = contract
        fields = [(field.name, _plain_type(field.type)) for field in contract.columns]
        self._raw = pa.schema(fields) if all(kind for _, kind in fields) else None

    def batch(self, block: _Block) -> Batch:
        import numpy as np
        import pyarrow as pa

        rows = _fast(block, self._raw) if self._raw is not None else None
        arranged = self._typed(rows) if rows is not None else None
        if arranged is None:
            return self._line_by_line(block)
        lines = np.arange(block.line, block.line + arranged.num_rows, dtype=np.int64)
        return Batch(self._with_rescued(arranged, []), pa.array(lines), (), block.position)

    def _typed(self, rows: pa.Table) -> pa.Table | None:
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = []
        for field in self._contract.columns:
            value = rows[field.name].combine_chunks()
            if value.type != field.type:
                given = value
                value = typed(given, field.type)
                if value.null_count != given.null_count:
                    return None
            finite = (
                not pa.types.is_floating(value.type)
                or pc.all(pc.is_finite(value), min_count=0).as_py()
            )
            if not finite:
                return None
            columns.append(value)
        return pa.table(columns, schema=self._contract.columns)

    def _line_by_line(self, block: _Block) -> Batch:
        import pyarrow as pa

        lines: list[int] = []
        values: list[dict[str, Any]] = []
        left: list[dict[str, Any]] = []
        malformed: list[Malformed] = []
        for line, text in block.texts():
            found = _object(text)
            if isinstance(found, str):
                malformed.append(Malformed(line, text, found))
                continue
            row, rest, reason = self._row(found, line)
            if reason is not None:
                malformed.append(Malformed(line, text, reason))
                continue
            lines.append(line)
            values.append(row)
            left.append(rest)
        rows = pa.Table.from_pylist(values, schema=self._contract.columns)
        names = dict.fromkeys(name for rest in left for name in rest)
        columns = [(name, _Values([rest.get(name) for rest in left])) for name in names]
        with_rescued = self._with_rescued(rows, columns)
        return Batch(with_rescued, pa.array(lines, pa.int64()), tuple(malformed), block.position)

    def _row(
        self, found: dict[str, Any], line: int
    ) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        row: dict[str, Any] = {}
        left: dict[str, Any] = {}
        for name, value in found.items():
            column = self._contract.column_of(name)
            if column is None:
                self._refuse_unknown(name, line)
                left[name] = value
                continue
            kind = self._contract.columns.field(column).type
            fits, row[column] = _value(value, kind)
            if not fits and self._contract.policy == "rescue":
                left[name] = value
            elif not fits:
                reason = f"column {name!r} holds {shown(_json(value))}, which is no "
                return row, left, reason + plain_name(kind)
        return row, left, None

    def _refuse_unknown(self, name: str, line: int) -> None:
        if self._contract.policy == "strict":
            raise IngestError(
                f"{self._name}:{line}: the line has the field {name!r}, which its source does not. "
                f"{suggestion(name, self._contract.columns.names, 'column')} Correct the file, or "
                "the source's 'schema' or 'schema_policy' in lakehouse.yml. Nothing was ingested."
            )

    def _with_rescued(self, rows: pa.Table, left: list[tuple[str, Any]]) -> pa.Table:
        if self._contract.policy != "rescue":
            return rows
        return rescued(rows, left, self._name)


@dataclass(frozen=True)
class _Values:
    values: list[Any]

    def to_pylist(self) -> list[Any]:
        return self.values


def _plain_type(kind: pa.DataType) -> pa.DataType | None:
    """Return how JSON itself has values of a type; None if Arrow cannot read it from JSON."""
    import pyarrow as pa

    if str(kind) in _TEXT_TYPES:
        return pa.string()
    same = (pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_())
    return kind if kind in same else None


def _object(text: str) -> dict[str, Any] | str:
    """Read a line; return the reason if it is no JSON object."""
    try:
        found = json.loads(text, parse_constant=_refused, object_pairs_hook=_unique)
        text.encode()
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return f"the line is no JSON object: {error}"
    if not isinstance(found, dict):
        return "the line is no JSON object"
    return found


def _refused(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands there twice")
    return found


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _value(value: Any, kind: pa.DataType) -> tuple[bool, Any]:
    """Return whether a JSON value fits a type, and it as Python has it; NULL always fits."""
    import pyarrow as pa

    if value is None:
        return True, None
    if pa.types.is_string(kind):
        return True, value if isinstance(value, str) else _json(value)
    if pa.types.is_boolean(kind):
        return (True, value) if isinstance(value, bool) else (False, None)
    if isinstance(value, bool):
        return False, None
    if pa.types.is_integer(kind):
        limit = 2 ** (kind.bit_width - 1)
        fits = isinstance(value, int) and -limit <= value < limit
        return fits, value if fits else None
    if pa.types.is_floating(kind):
        return _number(value)
    return _text_value(value, kind)


def _number(value: Any) -> tuple[bool, float | None]:
    import math

    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return False, None
    return (True, number) if math.isfinite(number) else (False, None)


def _text_value(value: Any, kind: pa.DataType) -> tuple[bool, Any]:
    import pyarrow as pa

    if pa.types.is_decimal(kind) and isinstance(value, int | float):
        value = _json(value)
    if not isinstance(value, str):
        return False, None
    found = typed(pa.array([value]), kind)[0].as_py()
    return found is not None, found
