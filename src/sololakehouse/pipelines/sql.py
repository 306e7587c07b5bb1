"""Reading Spark SQL: statements of a file, tables of a query, a normal form for fingerprints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import DefinitionError, UsageError
from sololakehouse.pipelines.auto_cdc import refuse_auto_cdc

if TYPE_CHECKING:
    from sqlglot.tokens import Token

Kind = Literal["materialized view", "streaming table", "temporary view", "sink"]
_KINDS: Mapping[str, Kind] = {
    "CREATE MATERIALIZED VIEW": "materialized view",
    "CREATE STREAMING TABLE": "streaming table",
    "CREATE TEMPORARY VIEW": "temporary view",
}
CATALOG = "spark_catalog"
# What may stand between a table's name and AS, besides its columns.
_CLAUSES = frozenset(
    {"CLUSTER", "COMMENT", "LOCATION", "OPTIONS", "PARTITIONED", "TBLPROPERTIES", "USING"}
)
_MOMENTS_WITHOUT_PARENTHESES = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtimestamp"}
)


@dataclass(frozen=True)
class Constraint:
    """A `CONSTRAINT name EXPECT (condition) [ON VIOLATION action]`, as Databricks has it.

    `action` is `DROP ROW`, `FAIL UPDATE`, or empty to keep the rows.
    """

    name: str
    condition: str
    action: str


@dataclass(frozen=True)
class SqlFlow:
    """A `CREATE FLOW ... AS INSERT INTO ... BY NAME SELECT ...`; `line` is where it begins."""

    name: str
    target: str
    query: str
    line: int


@dataclass(frozen=True)
class SqlDefinition:
    """A `CREATE ... AS SELECT` of a source file; `line` is where it begins, from 1.

    `query` is None for a streaming table that only flows fill, `columns` is what the parentheses
    after the name say of columns, as DDL.
    """

    kind: Kind
    name: str
    query: str | None
    line: int
    comment: str | None
    properties: dict[str, str]
    constraints: tuple[Constraint, ...]
    columns: str | None = None
    format: str | None = None
    partition_cols: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class SqlSetting:
    """A `SET key = value`; it holds for the statements after it."""

    key: str
    value: str
    line: int


@dataclass(frozen=True)
class SqlDatabase:
    """A `USE schema`: names without a schema belong to it from here on."""

    name: str
    line: int


SqlStatement = SqlDefinition | SqlFlow | SqlSetting | SqlDatabase


def definitions(text: str, where: str) -> Iterator[SqlStatement]:
    """Give the statements of a SQL file in their order.

    Raises
    ------
    DefinitionError
        A statement cannot be parsed or defines something that is not supported.
    """
    for statement in _statements(tokens_of(text, where)):
        refuse_auto_cdc([token.text.upper() for token in statement], f"{where}:{statement[0].line}")
        words = [token.text.upper() for token in statement[:2]]
        if words == ["CREATE", "FLOW"]:
            yield _flow(text, statement, where)
        elif words[0] == "SET":
            yield _setting(text, statement, where)
        elif words[0] == "USE":
            yield _database(statement, where)
        else:
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

    `current_date` and its like are functions without parentheses, too. `unix_timestamp` is among
    them only where it has no argument, which means now.

    Examples
    --------
    >>> sorted(functions_in("SELECT rand(), now AS x, t.current_date, current_timestamp FROM t"))
    ['current_timestamp', 'rand']
    """
    tokens = [token.text.lower() for token in tokens_of(text, "query")]
    before = ["", *tokens]
    after = [*tokens[1:], "", ""]
    return {
        name
        for index, name in enumerate(tokens)
        if before[index] not in (".", "as") and _is_call(name, after[index], after[index + 1])
    }


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

    try:
        return _tokens(text)
    except errors.SqlglotError as error:
        raise DefinitionError(f"{where}: {_one_line(error)}") from error


@lru_cache(maxsize=512)
def _tokens(text: str) -> list[Token]:
    from sqlglot.dialects import Spark

    return list(Spark().tokenize(text))


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
        supported = ", ".join(f"{key} ... AS SELECT" for key in _KINDS)
        raise DefinitionError(
            f"{place}: '{' '.join(words[:3])}' is not supported in a pipeline source. "
            f"Supported: {supported}, CREATE FLOW ... AS INSERT INTO ... BY NAME, SET key = value, "
            "USE schema."
        )
    start = _query_start(tokens, place, required=kind != "streaming table")
    query = text[tokens[start].start : tokens[-1].end + 1] if start else None
    head = tokens[: start - 1] if start else tokens
    first, last = _parenthesis(head)
    columns, constraints = _listed(text, head[first + 1 : last], place) if first else (None, ())
    kept = [*head[:first], *head[last + 1 :]] if first else head
    written = [_token_text(text, token) for token in kept]
    if kind == "streaming table":
        written[1:3] = ["MATERIALIZED", "VIEW"]
    header = parse(" ".join([*written, "AS SELECT 1"]), place)
    if not isinstance(header, exp.Create):
        raise DefinitionError(f"{place}: the head of this {kind} cannot be read.")
    _refuse_clauses(header, kind, columns, place)
    comment = header.find(exp.SchemaCommentProperty)
    name = header.find(exp.Table)
    if query is not None:
        parse(streams_renamed(query, lambda _: "stream"), place)
    written_as = header.find(exp.FileFormatProperty)
    return SqlDefinition(
        kind=kind,
        name=".".join(part.name for part in name.parts) if name else "",
        query=query,
        line=tokens[0].line,
        comment=_string(comment) if comment else None,
        properties=_properties(header),
        constraints=constraints,
        columns=columns,
        format=written_as.name.lower() if written_as else None,
        partition_cols=_named_in(header.find(exp.PartitionedByProperty)),
        cluster_by=_named_in(header.find(exp.ClusterProperty)),
    )


def _listed(
    text: str, tokens: list[Token], place: str
) -> tuple[str | None, tuple[Constraint, ...]]:
    """Read the columns and constraints between the parentheses after the name."""
    parts = list(_split(tokens))
    if not all(parts):
        raise DefinitionError(f"{place}: the parentheses after the name hold an empty entry.")
    constraints = [part for part in parts if part[0].text.upper() == "CONSTRAINT"]
    columns = [part for part in parts if part not in constraints]
    untyped = next((part[0].text for part in columns if len(part) < 2), None)
    if untyped:
        raise DefinitionError(
            f"{place}: the column {untyped!r} has no type. Write its type behind it, or name "
            "columns in the query only."
        )
    ddl = ", ".join(" ".join(_token_text(text, token) for token in part) for part in columns)
    return ddl or None, tuple(_constraint(text, part, place) for part in constraints)


def _refuse_clauses(header: Any, kind: Kind, columns: str | None, place: str) -> None:
    from sqlglot import exp

    known: tuple[type, ...] = (exp.MaterializedProperty, exp.TemporaryProperty)
    known += (exp.SchemaCommentProperty, exp.PartitionedByProperty, exp.ClusterProperty)
    known += (exp.FileFormatProperty,)
    for entry in header.find_all(exp.Property):
        if type(entry) is not exp.Property and not isinstance(entry, known):
            clause = type(entry).__name__.removesuffix("Property").upper()
            raise DefinitionError(
                f"{place}: {clause} is not supported before AS: the lakehouse decides where and "
                "how a table is stored. Leave it out."
            )
    if kind == "temporary view" and columns:
        raise DefinitionError(
            f"{place}: Apache Spark passes over the columns before AS of a view. Name them in the "
            "query."
        )


def _named_in(clause: Any) -> tuple[str, ...]:
    from sqlglot import exp

    return tuple(found.name for found in clause.find_all(exp.Identifier)) if clause else ()


def _setting(text: str, tokens: list[Token], where: str) -> SqlSetting:
    place = f"{where}:{tokens[0].line}"
    signs = [token.text for token in tokens]
    equals = signs.index("=") if "=" in signs else 0
    if equals < 2 or equals == len(tokens) - 1:
        raise DefinitionError(f"{place}: this SET cannot be read. Write SET key = value.")
    key = "".join(signs[1:equals])
    value = text[tokens[equals + 1].start : tokens[-1].end + 1]
    return SqlSetting(key, value.strip("`"), tokens[0].line)


def _database(tokens: list[Token], where: str) -> SqlDatabase:
    place = f"{where}:{tokens[0].line}"
    names = [token.text for token in tokens[1:] if token.text != "."]
    if len(names) > 1 and names[0].upper() in ("SCHEMA", "DATABASE", "NAMESPACE"):
        names = names[1:]
    if names[:1] == [CATALOG] and len(names) == 2:
        names = names[1:]
    if len(names) != 1:
        raise DefinitionError(
            f"{place}: 'USE {' '.join(names)}' is not supported: a lakehouse is one catalog, "
            f"{CATALOG}. Write USE SCHEMA and the name of a schema."
        )
    return SqlDatabase(names[0], tokens[0].line)


def _parenthesis(head: list[Token]) -> tuple[int, int]:
    """Return where the parenthesis after the name opens and closes; twice 0 if there is none."""
    from sqlglot.tokens import TokenType

    depth, first = 0, 0
    for index, token in enumerate(head):
        if token.token_type is TokenType.L_PAREN:
            first = first or index
            depth += 1
        elif token.token_type is TokenType.R_PAREN:
            depth -= 1
            if depth == 0:
                return first, index
        elif depth == 0 and token.text.upper().split(" ")[0] in _CLAUSES:
            break
    return 0, 0


def _split(tokens: list[Token]) -> Iterator[list[Token]]:
    """Give what commas separate, outside of parentheses."""
    from sqlglot.tokens import TokenType

    depth = 0
    part: list[Token] = []
    for token in tokens:
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth == 0 and token.token_type is TokenType.COMMA:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def _constraint(text: str, tokens: list[Token], place: str) -> Constraint:
    words = [token.text.upper() for token in tokens]
    first, last = _parenthesis(tokens)
    action = " ".join(words[last + 1 :])
    known = {"": "", "ON VIOLATION DROP ROW": "DROP ROW", "ON VIOLATION FAIL UPDATE": "FAIL UPDATE"}
    if words[2:3] != ["EXPECT"] or first != 3 or last < 5 or action not in known:
        raise DefinitionError(
            f"{place}: '{' '.join(words[:3])} ...' cannot be read. Write CONSTRAINT name EXPECT "
            "(condition), then nothing, ON VIOLATION DROP ROW, or ON VIOLATION FAIL UPDATE."
        )
    condition = text[tokens[first + 1].start : tokens[last - 1].end + 1]
    return Constraint(tokens[1].text, condition, known[action])


def _flow(text: str, tokens: list[Token], where: str) -> SqlFlow:
    place = f"{where}:{tokens[0].line}"
    words = [_token_text(text, token).upper() for token in tokens]
    starts = [i for i in range(3, len(words)) if words[i : i + 3] == ["AS", "INSERT", "INTO"]]
    by_name = [i for i in range(3, len(words)) if words[i : i + 2] == ["BY", "NAME"]]
    if not starts or words[3] not in ("AS", "COMMENT"):
        raise DefinitionError(
            f"{place}: this flow cannot be read. Write CREATE FLOW name AS INSERT INTO table BY "
            "NAME SELECT ... FROM STREAM(table); the name has one part."
        )
    first = starts[0] + 3 + (words[starts[0] + 3 : starts[0] + 4] == ["TABLE"])
    if not by_name or not words[by_name[0] + 2 :] or by_name[0] == first:
        raise DefinitionError(
            f"{place}: a flow inserts by the names of the columns. Write INSERT INTO "
            "table BY NAME SELECT ..."
        )
    target = "".join(token.text for token in tokens[first : by_name[0]])
    if "(" in target:
        raise DefinitionError(
            f"{place}: a flow's target has no columns or partitions. Write INSERT INTO "
            f"{target.partition('(')[0]} BY NAME SELECT ..."
        )
    query = text[tokens[by_name[0] + 2].start : tokens[-1].end + 1]
    parse(streams_renamed(query, lambda _: "stream"), place)
    return SqlFlow(tokens[2].text, target, query, tokens[0].line)


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


def _query_start(tokens: list[Token], place: str, *, required: bool) -> int:
    from sqlglot.tokens import TokenType

    depth = 0
    for index, token in enumerate(tokens[:-1]):
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth == 0 and token.token_type is TokenType.ALIAS:
            return index + 1
    if not required:
        return 0
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

    statements = Spark().parser().parse(_tokens(text), text)
    is_one = len(statements) == 1 and statements[0] is not None
    return statements[0] if is_one else sqlglot.parse_one(text, dialect="spark")


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
