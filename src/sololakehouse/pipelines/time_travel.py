"""`VERSION AS OF` and `TIMESTAMP AS OF` in a query, and the versions that they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import DefinitionError, UsageError
from sololakehouse.pipelines import sql

if TYPE_CHECKING:
    from sqlglot.tokens import Token

_OF_VERSION = ("VERSION", "SYSTEM_VERSION")


@dataclass(frozen=True)
class Clause:
    """One temporal clause of a query.

    Attributes
    ----------
    start, end
        Where the clause is in the text, the table's name included, `end` excluded.
    at
        The version; the text of a moment; or None if the moment is an expression.
    expression
        What stands behind `AS OF`.
    """

    table: str
    start: int
    end: int
    at: int | str | None
    expression: str


def with_clauses(text: str) -> str:
    """Write `schema.table@v3` as Spark SQL's `schema.table VERSION AS OF 3`.

    Examples
    --------
    >>> with_clauses("SELECT 'a.b@v1' FROM gold.sales@v3 s")
    "SELECT 'a.b@v1' FROM gold.sales VERSION AS OF 3 s"
    """
    tokens = sql.tokens_of(text, "query")
    written, position = [], 0
    for dot, table, at, version in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        digits = version.text[1:]
        adjacent = table.end + 1 == at.start and at.end + 1 == version.start
        is_version = version.text[:1] == "v" and digits.isdigit()
        if dot.text == "." and at.text == "@" and adjacent and is_version:
            written += [text[position : at.start], f" VERSION AS OF {digits}"]
            position = version.end + 1
    return "".join([*written, text[position:]])


def clauses(text: str) -> list[Clause]:
    """Return the temporal clauses of a query in their order.

    Raises
    ------
    UsageError
        A version is no number.
    """
    from sqlglot import exp

    tree = sql.parse(text, "query")
    tables = [table for table in tree.find_all(exp.Table) if table.args.get("version")]
    tables.sort(key=lambda table: table.parts[0].meta["start"])
    tokens = sql.tokens_of(text, "query")
    return [_clause(text, table, *_place(tokens, table)) for table in tables]


def tables_as_they_are(text: str) -> set[str]:
    """Return the tables that a query reads without saying of which version or moment.

    Examples
    --------
    >>> tables_as_they_are("SELECT * FROM gold.a JOIN gold.b VERSION AS OF 1 USING (k)")
    {'gold.a'}
    """
    tables = sql.outer_tables(sql.parse(text, "query"))
    plain = [table for table in tables if not table.args.get("version")]
    return {".".join(part.name for part in table.parts) for table in plain}


def pinned(text: str, name_of: Callable[[Clause], str]) -> str:
    """Write another name for every table with a temporal clause, and leave all other text."""
    for clause in reversed(clauses(text)):
        text = text[: clause.start] + name_of(clause) + text[clause.end :]
    return text


def _place(tokens: list[Token], table: Any) -> tuple[int, int]:
    name_end = table.parts[-1].meta["end"]
    behind = [token for token in tokens if token.start > name_end]
    of = next(index for index, token in enumerate(behind) if token.text.upper() == "OF")
    return table.parts[0].meta["start"], behind[of].end + 1


def _clause(text: str, table: Any, start: int, behind: int) -> Clause:
    from sqlglot import exp

    name = ".".join(part.name for part in table.parts)
    version = table.args["version"]
    value = version.expression
    end = _end_of(text, behind, value)
    expression = text[behind:end].strip()
    literal = str(value.name) if isinstance(value, exp.Literal) else None
    if str(version.this).upper() not in _OF_VERSION:
        return Clause(name, start, end, literal, expression)
    if literal is None or not literal.isdigit():
        raise UsageError(f"{name}: VERSION AS OF needs a number, not {expression}.")
    return Clause(name, start, end, int(literal), expression)


def _end_of(text: str, start: int, value: Any) -> int:
    behind = [token for token in sql.tokens_of(text, "query") if token.start >= start]
    for token, following in zip(behind, [*behind[1:], None], strict=True):
        end = token.end + 1
        is_call = following is not None and following.text == "("
        if not is_call and _is_expression(text[start:end], value):
            return end
    raise UsageError(f"The end of {text[start:].strip()!r} cannot be found. Put it in parentheses.")


def _is_expression(text: str, value: Any) -> bool:
    try:
        found = sql.parse(f"SELECT {text}", "query").expressions
    except DefinitionError:
        return False
    return len(found) == 1 and found[0] == value


def as_moment(clause: Clause, value: object) -> datetime:
    """Check that what an expression behind `TIMESTAMP AS OF` gave is a moment."""
    if not isinstance(value, datetime):
        raise UsageError(
            f"{clause.table}: TIMESTAMP AS OF needs a TIMESTAMP with a time zone, and "
            f"{clause.expression} is {value!r}. Write it as '2026-01-31T00:00:00Z'."
        )
    return value
