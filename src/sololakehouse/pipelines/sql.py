"""Reading Spark SQL: tokens and trees; what a query reads and calls; a form for fingerprints."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import DefinitionError, UsageError

if TYPE_CHECKING:
    from sqlglot.tokens import Token

_MOMENTS_WITHOUT_PARENTHESES = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtimestamp"}
)
_MOMENTS = frozenset({"now", "today", "tomorrow", "yesterday"})
_LITERALS = frozenset({"date", "timestamp", "timestamp_ltz", "timestamp_ntz"})
_TOKEN = re.compile(r" but got <Token.*>$")
_UNCLOSED = re.compile(r"Missing (\S+) from (\d+):")
_NO_END = "a quote or a comment is not closed"


def normal_form(query: str) -> str:
    r"""Return the query without comments, with keywords in upper case and single spaces.

    Examples
    --------
    >>> normal_form("select  a -- the key\nfrom t")
    'SELECT a FROM t'
    """
    from sqlglot.tokens import TokenType

    return " ".join(
        token_text(query, token) if token.token_type in _literal_types() else _upper(token)
        for token in tokens_of(query, "query")
        if token.token_type is not TokenType.SEMICOLON
    )


def tables_in(query: str, where: str = "query") -> set[str]:
    """Return the names of the tables that a query reads, common table expressions left out.

    Examples
    --------
    >>> sorted(tables_in("WITH c AS (SELECT * FROM silver.a) SELECT * FROM c JOIN b USING (k)"))
    ['b', 'silver.a']
    """
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    tree = parse(query, where)
    return {
        ".".join(part.name for part in source.parts)
        for scope in traverse_scope(tree)
        for source in scope.sources.values()
        if isinstance(source, exp.Table)
    }


def outer_tables(tree: Any) -> list[Any]:
    """Return the tables of a parsed query, common table expressions left out."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    return list(
        {
            id(source): source
            for scope in traverse_scope(tree)
            for source in scope.sources.values()
            if isinstance(source, exp.Table)
        }.values()
    )


def is_query(text: str) -> bool:
    """Whether a text only asks for rows; a text that cannot be parsed is left to the engine.

    Examples
    --------
    >>> is_query("WITH a AS (SELECT 1) SELECT * FROM a"), is_query("DROP TABLE silver.orders")
    (True, False)
    """
    from sqlglot import exp

    try:
        return isinstance(parse(text, "query"), exp.Query | exp.Values)
    except DefinitionError:
        return True


def is_select(text: str) -> bool:
    """Whether a text that says what to read begins a query, and is no name of a table.

    Examples
    --------
    >>> is_select("SELECT * FROM gold.sales"), is_select("gold.sales")
    (True, False)
    """
    return text.upper().split()[:1] in (["SELECT"], ["WITH"])


def functions_in(text: str) -> set[str]:
    """Return the functions that a query or an expression calls, in lower case.

    `current_date` and its like are functions without parentheses, too, and `TIMESTAMP 'now'` and
    its like are `now`. `unix_timestamp` is among them only where it has no argument, which means
    now.

    Examples
    --------
    >>> sorted(functions_in("SELECT rand(), now AS x, t.current_date, current_timestamp FROM t"))
    ['current_timestamp', 'rand']
    """
    tokens = [token.text.lower() for token in tokens_of(text, "query")]
    before = ["", *tokens]
    after = [*tokens[1:], "", ""]
    called = {
        name
        for index, name in enumerate(tokens)
        if before[index] not in (".", "as") and _is_call(name, after[index], after[index + 1])
    }
    return called | ({"now"} if _says_now(text) else set())


def _says_now(text: str) -> bool:
    from sqlglot.tokens import TokenType

    tokens = tokens_of(text, "query")
    return any(
        kind.text.lower() in _LITERALS
        and value.token_type is TokenType.STRING
        and value.text.strip().lower().partition(" ")[0] in _MOMENTS
        for kind, value in pairwise(tokens)
    )


def samples_in(query: str) -> list[str]:
    """Return the clauses of a query that take some of its rows without saying which.

    Examples
    --------
    >>> samples_in("SELECT * FROM (SELECT * FROM a LIMIT 5), b TABLESAMPLE (1 PERCENT)")
    ['LIMIT without ORDER BY', 'TABLESAMPLE']
    """
    from sqlglot import exp

    tree = parse(query, "query")
    cut = [one for one in tree.find_all(exp.Query) if one.args.get("limit")]
    found = ["LIMIT without ORDER BY"] if any(not one.args.get("order") for one in cut) else []
    return found + (["TABLESAMPLE"] if tree.find(exp.TableSample) else [])


def _is_call(name: str, first: str, second: str) -> bool:
    if name in _MOMENTS_WITHOUT_PARENTHESES:
        return True
    return first == "(" and (name != "unix_timestamp" or second == ")")


def condition_mistake(text: str) -> str | None:
    """Say why a text is no condition on one row; None if nothing speaks against it.

    Examples
    --------
    >>> condition_mistake("a > 1) OR (b > 2")
    'has parentheses that do not match'
    >>> condition_mistake("a > (SELECT max(a) FROM t)")
    'asks for other rows in a subquery, and a condition sees one row'
    """
    from sqlglot import exp
    from sqlglot.tokens import TokenType

    try:
        kinds = [token.token_type for token in tokens_of(text, "condition")]
    except DefinitionError:
        return "has a quote or a comment that is not closed"
    depths = list(accumulate((k is TokenType.L_PAREN) - (k is TokenType.R_PAREN) for k in kinds))
    if any(depth < 0 for depth in depths) or depths[-1:] not in ([], [0]):
        return "has parentheses that do not match"
    try:
        tree = parse(text, "condition")
    except DefinitionError:
        return None
    if tree.find(exp.Query):
        return "asks for other rows in a subquery, and a condition sees one row"
    if tree.find(exp.Window, exp.AggFunc):
        return "counts over several rows, and a condition sees one row"
    return None


def tables_in_query(text: str) -> set[str]:
    """Return the tables that a person's query reads; anything but one query is refused.

    Raises
    ------
    UsageError
        The text is not exactly one `SELECT`.
    """
    from sqlglot import exp

    try:
        statements = len(list(statements_of(tokens_of(text, "query"))))
        if statements != 1:
            raise UsageError(f"Ask one query at a time; this text holds {statements} statements.")
        tree = parse(text.rstrip().rstrip(";"), "query")
    except DefinitionError as error:
        raise UsageError(f"{error}.") from error
    if not isinstance(tree, exp.Query):
        raise UsageError(
            f"Only a SELECT can be asked, not {type(tree).__name__.upper()}: tables are changed by "
            "'slh ingest' and 'slh run'."
        )
    return tables_in(text)


def tokens_of(text: str, where: str) -> list[Token]:
    """Split Spark SQL into tokens; `where` is for the message.

    Raises
    ------
    DefinitionError
        The text is no SQL.
    """
    from sqlglot import errors

    try:
        return _tokens(text)
    except errors.SqlglotError as error:
        raise DefinitionError(f"{where}: {_one_line(error)}") from error


@lru_cache(maxsize=512)
def _tokens(text: str) -> list[Token]:
    from sqlglot.dialects import Spark

    return list(Spark().tokenize(text))


def statements_of(tokens: list[Token]) -> Iterator[list[Token]]:
    """Give the tokens of each statement, without the semicolons between them."""
    from sqlglot.tokens import TokenType

    statement: list[Token] = []
    for token in tokens:
        if token.token_type is not TokenType.SEMICOLON:
            statement.append(token)
        elif statement:
            yield statement
            statement = []
    if statement:
        yield statement


def parse(text: str, place: str) -> Any:
    """Parse one statement of Spark SQL; `place` is for the message, the tree is not to be changed.

    Raises
    ------
    DefinitionError
        The text cannot be parsed.
    """
    from sqlglot import errors

    try:
        return _tree(text)
    except errors.SqlglotError as error:
        raise DefinitionError(f"{place}: {_one_line(error)}") from error


@lru_cache(maxsize=512)
def _tree(text: str) -> Any:
    import sqlglot
    from sqlglot.dialects import Spark

    # What it cannot read it would also log.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    statements = Spark().parser().parse(_tokens(text), text)
    is_one = len(statements) == 1 and statements[0] is not None
    return statements[0] if is_one else sqlglot.parse_one(text, dialect="spark")


def _one_line(error: Exception) -> str:
    from sqlglot.errors import ParseError, TokenError

    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        said = _TOKEN.sub("", first["description"])
        return f"{said} near '{first['highlight']}'"
    if isinstance(error, TokenError):
        opened = _UNCLOSED.search(str(error.__cause__))
        return f"the {opened[1]} in line {opened[2]} is not closed" if opened else _NO_END
    return str(error).splitlines()[0]


def _literal_types() -> frozenset[Any]:
    from sqlglot.tokens import TokenType

    return frozenset({TokenType.STRING, TokenType.VAR, TokenType.IDENTIFIER, TokenType.RAW_STRING})


def token_text(query: str, token: Token) -> str:
    """Return a token as it is written in the query."""
    return query[token.start : token.end + 1]


def _upper(token: Token) -> str:
    return token.text.upper()
