"""The beginning of a CSV file: byte order mark, skipped lines, header."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from sololakehouse.errors import IngestError
from sololakehouse.pipelines.columns import check_names
from sololakehouse.pipelines.csv_blocks import RECORD_LIMIT, Dialect, line_ends
from sololakehouse.pipelines.landing import LandingStream

_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


@dataclass(frozen=True)
class Beginning:
    """Column names, the line of the header, and what was read past it with its line number."""

    names: list[str]
    header_line: int
    rest: bytes
    line: int


def begin(
    stream: LandingStream,
    dialect: Dialect,
    names: tuple[str, ...] | None,
    skip_rows: int,
    size: int,
) -> Beginning:
    """Read up to the first record; with `names` there is no header.

    Raises
    ------
    IngestError
        The file is empty, its header does not end, or its names cannot be a table's.
    """
    data, line = _skipped(_Text(stream, size), skip_rows)
    if names is not None:
        return Beginning(list(names), line, data.bytes, line)
    while True:
        found = _header(data.bytes, dialect, line, final=data.ended)
        if found is not None:
            check_names(found.names, f"{dialect.name}:{found.header_line}")
            return found
        if data.ended:
            raise IngestError(f"{dialect.name} is empty: it has no header line.")
        if len(data.bytes) > RECORD_LIMIT:
            raise dialect.unended(line)
        data.more()


class _Text:
    """Bytes from the beginning of a stream, as many as were asked for."""

    def __init__(self, stream: LandingStream, size: int) -> None:
        self._stream = stream
        self._size = size
        self.bytes = b""
        self.ended = False
        while len(self.bytes) < len(_BOM) and not self.ended:
            self.more()
        self.bytes = self.bytes.removeprefix(_BOM)

    def more(self) -> None:
        fresh = self._stream.read(self._size)
        self.bytes += fresh
        self.ended = not fresh


def _skipped(data: _Text, count: int) -> tuple[_Text, int]:
    while line_ends(data.bytes) <= count and not data.ended and count:
        data.more()
    for _ in range(count):
        found = _LINE.match(data.bytes)
        data.bytes = data.bytes[found.end() :] if found else b""
    return data, count + 1


def _header(data: bytes, dialect: Dialect, line: int, *, final: bool) -> Beginning | None:
    length, exhausted = 0, False

    def texts() -> Iterator[str]:
        nonlocal length, exhausted
        for found in _LINE.finditer(data):
            length = found.end()
            yield found[0].decode("latin-1")
        exhausted = True

    options = {"delimiter": dialect.delimiter.decode(), "quotechar": dialect.quote.decode()}
    limit = csv.field_size_limit(sys.maxsize)
    try:
        reader = csv.reader(texts(), **options)  # type: ignore[arg-type]
        before = 0
        for row in reader:
            if row:
                break
            before = reader.line_num
        else:
            return None
        names = [name.encode("latin-1").decode() for name in row]
    except UnicodeDecodeError as error:
        raise no_text(dialect.name, line + before, error) from error
    finally:
        csv.field_size_limit(limit)
    if exhausted and final:
        raise dialect.unended(line + before)
    if exhausted or (not final and length == len(data)):
        return None
    return Beginning(names, line + before, data[length:], line + reader.line_num)


def no_text(name: str, line: int, error: UnicodeDecodeError) -> IngestError:
    """Return the error of a file that is not UTF-8; `line` is where the wrong byte stands."""
    return IngestError(
        f"{name} is not UTF-8 text: line {line} holds the byte {error.object[error.start]:#04x} "
        f"({error.reason}). Convert the file, or declare options.encoding in lakehouse.yml. "
        "Nothing was ingested."
    )
