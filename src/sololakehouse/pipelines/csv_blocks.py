"""A CSV file's bytes in blocks of whole records, and the records of a block.

A quote opens a field only where a field begins; inside, two quotes stand for one. If every quote
that would open something stands where a field begins (or follows the quote that it doubles), then
counting quotes tells where records end, and numpy does it. A block with a stray quote is read by
Python's csv module, which has the same grammar.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sololakehouse.errors import IngestError

if TYPE_CHECKING:
    import numpy as np

BLOCK = 16 << 20
RECORD_LIMIT = 64 << 20
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_LF, _CR = 10, 13


class Readable(Protocol):
    """What gives bytes, and none at its end."""

    def read(self, size: int, /) -> bytes:
        """Read about `size` bytes."""
        ...


@dataclass(frozen=True)
class Dialect:
    """The two bytes that structure a CSV file, and what errors call the file."""

    name: str
    delimiter: bytes
    quote: bytes

    def unended(self, line: int) -> IngestError:
        """Return the error of a quoted field without an end."""
        return IngestError(
            f"{self.name}:{line}: the quoted field that begins here does not end within the file "
            f"or within {RECORD_LIMIT >> 20} MB. Correct the file, or set options.quote in "
            "lakehouse.yml. Nothing was ingested."
        )


@dataclass(frozen=True)
class Block:
    """Whole records; `line` is the number of the first line, from 1, `lines` counts line ends."""

    data: bytes
    line: int
    lines: int
    regular: bool


@dataclass(frozen=True)
class Records:
    """Where the records of a block are: byte offsets, lines from 1, and numbers of fields.

    An end is exclusive and without the line end; blank lines are no records.
    """

    starts: np.ndarray[Any, Any]
    ends: np.ndarray[Any, Any]
    lines: np.ndarray[Any, Any]
    fields: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.starts)


def line_ends(data: bytes) -> int:
    """Count line ends: line feeds, and carriage returns without one."""
    import numpy as np

    feeds = int(np.count_nonzero(np.frombuffer(data, np.uint8) == _LF))
    if b"\r" not in data:
        return feeds
    return feeds + data.count(b"\r") - data.count(b"\r\n")


def blocks(
    stream: Readable, dialect: Dialect, begun: bytes, line: int, size: int = BLOCK
) -> Iterator[Block]:
    """Cut a stream into blocks of whole records of about `size` bytes.

    Parameters
    ----------
    begun
        Bytes that were read already, and stand before the rest of the stream.
    line
        Line number of their beginning, from 1.

    Raises
    ------
    IngestError
        A quoted field does not end; its line is named.
    """
    rest = begun
    while True:
        fresh = stream.read(size)
        if not fresh and not rest:
            return
        data, rest, regular = _cut(rest, fresh, dialect, line)
        if data:
            block = Block(data, line, line_ends(data), regular)
            yield block
            line += block.lines
        elif len(rest) > RECORD_LIMIT:
            raise dialect.unended(line)
        if not fresh:
            return


def _cut(rest: bytes, fresh: bytes, dialect: Dialect, line: int) -> tuple[bytes, bytes, bool]:
    end = fresh.rfind(b"\n") + 1
    if end and dialect.quote not in fresh and dialect.quote not in rest:
        return b"".join((rest, memoryview(fresh)[:end])), fresh[end:], True
    data = rest + fresh
    length, regular = _whole_records(data, dialect, line, final=not fresh)
    return data[:length], data[length:], regular


def _whole_records(data: bytes, dialect: Dialect, line: int, *, final: bool) -> tuple[int, bool]:
    if dialect.quote not in data:
        return (len(data) if final else _last_line_end(data, len(data))), True
    quotes = _positions(data, dialect.quote)
    if not _is_regular(data, quotes, dialect):
        return _whole_by_csv(data, dialect, line, final=final), False
    if not final:
        return _last_record_end(data, quotes), True
    if len(quotes) % 2:
        raise dialect.unended(line + line_ends(data[: _opener(quotes)]))
    return len(data), True


def _last_record_end(data: bytes, quotes: np.ndarray[Any, Any]) -> int:
    end = _last_line_end(data, len(data))
    while end:
        before = int(quotes.searchsorted(end))
        if before % 2 == 0:
            break
        end = _last_line_end(data, int(quotes[before - 1]))
    return end


def _last_line_end(data: bytes, limit: int) -> int:
    found = data.rfind(b"\n", 0, limit)
    if found >= 0:
        return found + 1
    return data.rfind(b"\r", 0, min(limit, len(data) - 1)) + 1


def _positions(data: bytes, byte: bytes) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.flatnonzero(np.frombuffer(data, np.uint8) == byte[0])


def _is_regular(data: bytes, quotes: np.ndarray[Any, Any], dialect: Dialect) -> bool:
    import numpy as np

    openers = quotes[::2]
    before = np.frombuffer(data, np.uint8)[openers - 1]
    at_field = np.isin(before, [dialect.delimiter[0], _LF, _CR]) | (openers == 0)
    doubles = np.zeros(len(openers), bool)
    doubles[1:] = openers[1:] == quotes[1::2][: len(openers) - 1] + 1
    return bool((at_field | doubles).all())


def _opener(quotes: np.ndarray[Any, Any]) -> int:
    last = len(quotes) - 1
    while last and quotes[last] == quotes[last - 1] + 1:
        last -= 2
    return int(quotes[last])


def records(block: Block, dialect: Dialect) -> Records:
    """Find the records of a block."""
    if not block.regular:
        return _records_by_csv(block, dialect)
    import numpy as np

    data = np.frombuffer(block.data, np.uint8)
    line_end = _line_end_positions(data)
    ends, outside = line_end, None
    if dialect.quote in block.data:
        quotes = _positions(block.data, dialect.quote)
        outside = quotes
        ends = line_end[np.searchsorted(quotes, line_end) % 2 == 0]
    if not len(ends) or ends[-1] != len(data) - 1:
        ends = np.append(ends, len(data))
    starts = np.concatenate(([0], ends[:-1] + 1))
    delimiters = _positions(block.data, dialect.delimiter)
    if outside is not None:
        delimiters = delimiters[np.searchsorted(outside, delimiters) % 2 == 0]
    fields = np.searchsorted(delimiters, ends) - np.searchsorted(delimiters, starts) + 1
    lines = block.line + np.searchsorted(line_end, starts)
    ends = _without_carriage_returns(data, starts, ends)
    return _chosen(starts, ends, lines, fields, ends > starts)


def _line_end_positions(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    is_end = data == _LF
    returns = data == _CR
    if returns.any():
        returns[:-1] &= ~is_end[1:]
        is_end |= returns
    return np.flatnonzero(is_end)


def _without_carriage_returns(
    data: np.ndarray[Any, Any], starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    at_feed = (ends < len(data)) & (data[ends.clip(max=len(data) - 1)] == _LF)
    has_return = at_feed & (ends > starts) & (data[ends - 1] == _CR)
    shortened: np.ndarray[Any, Any] = ends - has_return
    return shortened


def _chosen(
    starts: np.ndarray[Any, Any],
    ends: np.ndarray[Any, Any],
    lines: np.ndarray[Any, Any],
    fields: np.ndarray[Any, Any],
    kept: np.ndarray[Any, Any],
) -> Records:
    return Records(starts[kept], ends[kept], lines[kept], fields[kept])


@dataclass(frozen=True)
class _Row:
    start: int
    end: int
    line: int
    fields: int
    ended: bool


def _rows_by_csv(data: bytes, dialect: Dialect, line: int) -> Iterator[_Row]:
    lines = _LINE.findall(data)
    exhausted = False

    def texts() -> Iterator[str]:
        nonlocal exhausted
        for one in lines:
            yield one.decode("latin-1")
        exhausted = True

    reader = csv.reader(
        texts(), delimiter=dialect.delimiter.decode(), quotechar=dialect.quote.decode()
    )
    start, read = 0, 0
    limit = csv.field_size_limit(sys.maxsize)
    try:
        for row in reader:
            end = start + sum(len(one) for one in lines[read : reader.line_num])
            yield _Row(start, end, line + read, len(row), not exhausted)
            start, read = end, reader.line_num
    finally:
        csv.field_size_limit(limit)


def _whole_by_csv(data: bytes, dialect: Dialect, line: int, *, final: bool) -> int:
    whole = len(data) if final else _last_line_end(data, len(data))
    for row in _rows_by_csv(data[:whole], dialect, line):
        if not row.ended:
            if final:
                raise dialect.unended(row.line)
            return row.start
    return whole


def _records_by_csv(block: Block, dialect: Dialect) -> Records:
    import numpy as np

    rows = [row for row in _rows_by_csv(block.data, dialect, block.line) if row.fields]
    starts = np.array([row.start for row in rows], np.int64)
    texts = [block.data[row.start : row.end] for row in rows]
    ends = starts + np.array([len(text.rstrip(b"\r\n")) for text in texts], np.int64)
    lines = np.array([row.line for row in rows], np.int64)
    return Records(starts, ends, lines, np.array([row.fields for row in rows], np.int64))
