"""Names of tables on a server that others use, too.

A server has one catalog for all of its sessions. Each session of ours has databases of its own
there, `slh_1a2b3c4d_silver` for `silver`, and what is sent to the server names them. The DataFrames
that a pipeline's sources make, and so the fingerprints, keep the names that a person wrote.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import grpc

from sololakehouse.engine.messages import SPACE
from sololakehouse.engine.questions import Calls, is_query

_TWO_PARTS = re.compile(r"\s*(`[^`]+`|\w+)\.(`[^`]+`|\w+)(\.?)")


class NamesOnTheWire(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Puts a session's prefix before every database in the plans that are sent to a server."""

    def __init__(self, space: str) -> None:
        self._space = space

    def intercept_unary_unary(self, send: Calls, details: Any, request: Any) -> Any:
        """Send a request, for example to analyse a plan."""
        return send(details, self._renamed(request))

    def intercept_unary_stream(self, send: Calls, details: Any, request: Any) -> Any:
        """Send a request, for example to execute a plan."""
        return send(details, self._renamed(request))

    def _renamed(self, request: Any) -> Any:
        if not {"plan", "schema"} & set(request.DESCRIPTOR.fields_by_name.keys()):
            return request
        renamed = copy.deepcopy(request)
        messages = list(_messages(renamed))
        named = {
            name
            for message in messages
            if message.DESCRIPTOR.name == "NamedTable"
            and (name := _table(message.unparsed_identifier))
        }
        for message in messages:
            self._rename(message, named)
        return renamed

    def _rename(self, message: Any, named: set[tuple[str, str]]) -> None:
        kind = message.DESCRIPTOR.name
        if kind == "NamedTable" and _table(message.unparsed_identifier):
            message.unparsed_identifier = self._prefixed(message.unparsed_identifier)
        elif kind == "SQL":
            message.query = self.in_sql(message.query)
        elif kind == "ExpressionString" and "select" in message.expression.lower():
            message.expression = self.in_sql(f"SELECT {message.expression}")[len("SELECT ") :]
        elif (
            kind == "UnresolvedAttribute"
            and _table(message.unparsed_identifier, more=True) in named
        ):
            message.unparsed_identifier = self._prefixed(message.unparsed_identifier)
        elif kind == "UnresolvedStar" and _table(message.unparsed_target, more=True) in named:
            message.unparsed_target = self._prefixed(message.unparsed_target)

    def in_sql(self, text: str) -> str:
        """Rename the databases of a query, and leave all other text as it is."""
        from sqlglot import exp, parse_one
        from sqlglot.errors import SqlglotError

        if not is_query(text):
            return text
        try:
            tree = parse_one(text, dialect="spark")
        except SqlglotError:
            return text
        tables = [table.parts for table in tree.find_all(exp.Table) if len(table.parts) == 2]
        named = {_key(parts) for parts in tables}
        columns = [column.parts for column in tree.find_all(exp.Column)]
        qualified = [parts for parts in columns if len(parts) > 2 and _key(parts) in named]
        first = [parts[0] for parts in (*tables, *qualified)]
        for database in sorted(first, key=lambda part: part.meta["start"], reverse=True):
            start, end = database.meta["start"], database.meta["end"] + 1
            text = text[:start] + self._prefixed(text[start:end]) + text[end:]
        return text

    def _prefixed(self, name: str) -> str:
        bare = name.lstrip().removeprefix("`")
        if SPACE.match(bare):
            return name
        quote = "`" if name.lstrip().startswith("`") else ""
        return f"{quote}{self._space}{bare}"


def _table(name: str, *, more: bool = False) -> tuple[str, str] | None:
    """Return database and table of a name, which may go on; None if it has other parts."""
    found = _TWO_PARTS.match(name)
    if found is None or bool(found[3]) != more:
        return None
    return found[1].strip("`").lower(), found[2].strip("`").lower()


def _key(parts: list[Any]) -> tuple[str, str]:
    return parts[0].name.lower(), parts[1].name.lower()


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            parts = [part for part in value.values() if hasattr(part, "ListFields")]
        else:
            parts = list(value) if descriptor.is_repeated else [value]
        for part in parts:
            yield from _messages(part)
