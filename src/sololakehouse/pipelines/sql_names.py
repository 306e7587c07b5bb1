"""Names in Spark SQL written differently, with all other text as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.pipelines.sql import outer_tables, parse, tokens_of

if TYPE_CHECKING:
    from sqlglot.tokens import Token


def renamed(query: str, names: Mapping[str, str]) -> str:
    """Write two-part table names of a query differently and leave all other text as it is.

    Examples
    --------
    >>> renamed("SELECT 'system.runs' FROM system.runs", {"system.runs": "other.runs"})
    "SELECT 'system.runs' FROM other.runs"
    """
    tokens = tokens_of(query, "query")
    text, position = [], 0
    for schema, dot, table in zip(tokens, tokens[1:], tokens[2:], strict=False):
        name = f"{schema.text}.{table.text}"
        if dot.text == "." and names.get(name, name) != name and schema.start >= position:
            text += [query[position : schema.start], names[name]]
            position = table.end + 1
    return "".join([*text, query[position:]])


def tables_renamed(query: str, names: Mapping[str, str]) -> str:
    """Let names of tables in a query mean other tables, and leave all other text as it is.

    A table without an alias keeps the last part of its name as one, and columns that are qualified
    with schema and table lose the schema. Common table expressions are other things, and stay.

    Examples
    --------
    >>> tables_renamed("SELECT a.k, s.a.v FROM s.a JOIN b ON a.k = b.k", {"s.a": "new"})
    'SELECT a.k, a.v FROM new AS `a` JOIN b ON a.k = b.k'
    """
    tree = parse(query, "query")
    text, position = [], 0
    for start, end, written in sorted([*_new_tables(tree, names), *_new_columns(tree, names)]):
        text += [query[position:start], written]
        position = end
    return "".join([*text, query[position:]])


def _new_tables(tree: Any, names: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    for table in outer_tables(tree):
        name = ".".join(part.name for part in table.parts)
        if name in names:
            alias = "" if table.alias else f" AS `{table.name}`"
            first, last = table.parts[0].meta, table.parts[-1].meta
            yield first["start"], last["end"] + 1, names[name] + alias


def _new_columns(tree: Any, names: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    from sqlglot import exp

    for column in tree.find_all(exp.Column):
        schema = column.args.get("db")
        if schema is not None and f"{schema.name}.{column.table}" in names:
            yield schema.meta["start"], column.args["table"].meta["start"], ""


def qualified(query: str, qualify: Callable[[str], str]) -> str:
    """Write the one-part names of tables differently, and leave all other text as it is.

    Common table expressions are no tables.

    Examples
    --------
    >>> qualified("WITH c AS (SELECT a.x FROM a) SELECT * FROM c, s.b", lambda n: f"gold.{n}")
    'WITH c AS (SELECT a.x FROM gold.a) SELECT * FROM c, s.b'
    """
    found = [table.this for table in outer_tables(parse(query, "query")) if len(table.parts) == 1]
    names = [name for name in found if "start" in name.meta]
    for name in sorted(names, key=lambda part: part.meta["start"], reverse=True):
        start, end = name.meta["start"], name.meta["end"] + 1
        if qualify(name.name) != name.name:
            query = query[:start] + qualify(name.name) + query[end:]
    return query


def streams_renamed(query: str, rename: Callable[[str], str]) -> str:
    """Replace `STREAM(table)` and `STREAM table` by another name for the table.

    Examples
    --------
    >>> streams_renamed("SELECT * FROM STREAM(silver.a) JOIN b", str.upper)
    'SELECT * FROM SILVER.A JOIN b'
    """
    tokens = tokens_of(query, "query")
    text, position, index = [], 0, 0
    while index < len(tokens):
        found = _stream_at(tokens, index)
        if found is None:
            index += 1
            continue
        table, last = found
        text += [query[position : tokens[index].start], rename(table)]
        position = tokens[last].end + 1
        index = last + 1
    return "".join([*text, query[position:]])


def _stream_at(tokens: list[Token], index: int) -> tuple[str, int] | None:
    before = tokens[index - 1].text.upper() if index else ""
    if tokens[index].text.upper() != "STREAM" or before not in ("FROM", "JOIN", ","):
        return None
    first = index + 1
    inside = first < len(tokens) and tokens[first].text == "("
    first += inside
    last = first
    while last + 2 < len(tokens) and tokens[last + 1].text == ".":
        last += 2
    if last >= len(tokens) or (inside and last + 1 >= len(tokens)):
        return None
    table = "".join(token.text for token in tokens[first : last + 1])
    return table, last + inside
