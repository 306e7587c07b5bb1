"""Reading Spark SQL: statements of a file, tables of a query, a normal form for fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import DefinitionError, UsageError

if TYPE_CHECKING:
    from sqlglot.tokens import Token

_KINDS = {
    "CREATE MATERIALIZED VIEW": "materialized view",
    "CREATE TEMPORARY VIEW": "temporary view",
}


@dataclass(frozen=True)
class SqlDefinition:
    """A `CREATE ... AS SELECT` of a source file; `line` is where it begins, from 1."""

    kind: str
    name: str
    query: str
    line: int
    comment: str | None
    properties: dict[str, str]


def definitions(text: str, where: str) -> Iterator[SqlDefinition]:
    """Give the definitions of a SQL file in their order.

    Raises
    ------
    DefinitionError
        A statement cannot be parsed or defines something that is not supported.
    """
    for statement in _statements(tokens_of(text, where)):
        yield _definition(text, statement, where)


def normal_form(query: str) -> str:
    r"""Return the query without comments, with keywords in upper case and single spaces.

    Examples
    --------
    >>> normal_form("select  a -- the key\nfrom t")
    'SELECT a FROM t'
    """
    from sqlglot.tokens import TokenType

    return " ".join(
        _token_text(query, token) if token.token_type in _literal_types() else _upper(token)
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


def tables_in_query(text: str) -> set[str]:
    """Return the tables that a person's query reads; anything but one query is refused.

    Raises
    ------
    UsageError
        The text is not exactly one `SELECT`.
    """
    from sqlglot import exp

    try:
        statements = len(list(_statements(tokens_of(text, "query"))))
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
    from sqlglot.dialects import Spark

    try:
        return list(Spark().tokenize(text))
    except errors.SqlglotError as error:
        raise DefinitionError(f"{where}: {_one_line(error)}") from error


def _statements(tokens: list[Token]) -> Iterator[list[Token]]:
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


def _definition(text: str, tokens: list[Token], where: str) -> SqlDefinition:
    from sqlglot import exp

    place = f"{where}:{tokens[0].line}"
    words = [token.text.upper() for token in tokens[:5]]
    if words[1:3] == ["OR", "REPLACE"]:
        raise DefinitionError(f"{place}: write CREATE without OR REPLACE, as Apache Spark does.")
    kind = _KINDS.get(" ".join(words[:3]))
    if kind is None:
        supported = " and ".join(f"{key} ... AS SELECT" for key in _KINDS)
        raise DefinitionError(
            f"{place}: '{' '.join(words[:3])}' is not supported in a pipeline source. "
            f"Supported: {supported}."
        )
    start = _query_start(tokens, place)
    query = text[tokens[start].start : tokens[-1].end + 1]
    header = parse(text[tokens[0].start : tokens[start].start] + "SELECT 1", place)
    if not isinstance(header, exp.Create):
        raise DefinitionError(f"{place}: the head of this {kind} cannot be read.")
    comment = header.find(exp.SchemaCommentProperty)
    name = header.find(exp.Table)
    parse(query, place)
    return SqlDefinition(
        kind=kind,
        name=".".join(part.name for part in name.parts) if name else "",
        query=query,
        line=tokens[0].line,
        comment=_string(comment) if comment else None,
        properties=_properties(header),
    )


def _query_start(tokens: list[Token], place: str) -> int:
    from sqlglot.tokens import TokenType

    depth = 0
    for index, token in enumerate(tokens[:-1]):
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth == 0 and token.token_type is TokenType.ALIAS:
            return index + 1
    raise DefinitionError(f"{place}: a view needs 'AS SELECT ...'.")


def _properties(header: Any) -> dict[str, str]:
    from sqlglot import exp

    return {
        entry.name: _string(entry.args["value"])
        for entry in header.find_all(exp.Property)
        if type(entry) is exp.Property
    }


def _string(node: Any) -> str:
    from sqlglot import exp

    return "".join(literal.name for literal in node.find_all(exp.Literal))


def parse(text: str, place: str) -> Any:
    """Parse one statement of Spark SQL; `place` is for the message.

    Raises
    ------
    DefinitionError
        The text cannot be parsed.
    """
    import sqlglot
    from sqlglot import errors

    try:
        return sqlglot.parse_one(text, dialect="spark")
    except errors.SqlglotError as error:
        raise DefinitionError(f"{place}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    from sqlglot.errors import ParseError

    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        return f"{first['description']} near '{first['highlight']}'"
    return str(error).splitlines()[0]


def _literal_types() -> frozenset[Any]:
    from sqlglot.tokens import TokenType

    return frozenset({TokenType.STRING, TokenType.VAR, TokenType.IDENTIFIER, TokenType.RAW_STRING})


def _token_text(query: str, token: Token) -> str:
    return query[token.start : token.end + 1]


def _upper(token: Token) -> str:
    return token.text.upper()
