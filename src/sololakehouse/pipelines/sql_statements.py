"""The statements of a pipeline's SQL file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import DefinitionError
from sololakehouse.pipelines.auto_cdc import refuse_auto_cdc
from sololakehouse.pipelines.sql import parse, statements_of, token_text, tokens_of
from sololakehouse.pipelines.sql_names import streams_renamed

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
    {
        *("CLUSTER", "COMMENT", "LOCATION", "OPTIONS", "PARTITIONED", "SCHEDULE"),
        *("TBLPROPERTIES", "USING", "WITH"),
    }
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
    for statement in statements_of(tokens_of(text, where)):
        yield read_statement(text, statement, where)


def read_statement(text: str, statement: list[Token], where: str) -> SqlStatement:
    """Read one statement of a SQL file, given by its tokens; see `definitions`."""
    refuse_auto_cdc([token.text.upper() for token in statement], f"{where}:{statement[0].line}")
    words = [token.text.upper() for token in statement[:2]]
    if words == ["CREATE", "FLOW"]:
        return _flow(text, statement, where)
    if words[0] == "SET":
        return _setting(text, statement, where)
    if words[0] == "USE":
        return _database(statement, where)
    return _definition(text, statement, where)


def _definition(text: str, tokens: list[Token], where: str) -> SqlDefinition:
    from sqlglot import exp

    place = f"{where}:{tokens[0].line}"
    words = [token.text.upper() for token in tokens[:5]]
    if words[1:3] in (["OR", "REPLACE"], ["OR", "REFRESH"]):
        raise DefinitionError(
            f"{place}: write CREATE without {' '.join(words[1:3])}, as Apache Spark does."
        )
    kind = _KINDS.get(" ".join(words[:3]))
    if kind is None:
        supported = ", ".join(f"{key} ... AS SELECT" for key in _KINDS)
        begin = " ".join(token_text(text, token) for token in tokens[:3])
        raise DefinitionError(
            f"{place}: '{begin} ...' is not supported in a pipeline source. "
            f"Supported: {supported}, CREATE FLOW ... AS INSERT INTO ... BY NAME, SET key = value, "
            "USE schema."
        )
    start = _query_start(tokens, place, required=kind != "streaming table")
    query = text[tokens[start].start : tokens[-1].end + 1] if start else None
    head = tokens[: start - 1] if start else tokens
    first, last = _parenthesis(head)
    columns, constraints = _listed(text, head[first + 1 : last], place) if first else (None, ())
    kept = [*head[:first], *head[last + 1 :]] if first else head
    written = [token_text(text, token) for token in kept]
    if kind == "streaming table":
        written[1:3] = ["MATERIALIZED", "VIEW"]
    header = parse(" ".join([*written, "AS SELECT 1"]), place)
    if not isinstance(header, exp.Create):
        raise DefinitionError(
            f"{place}: the head of this {kind} cannot be read. Between name and AS may stand: "
            "columns and constraints in parentheses, COMMENT, CLUSTER BY and TBLPROPERTIES."
        )
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
        properties=_properties(header, place),
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
    ddl = ", ".join(" ".join(token_text(text, token) for token in part) for part in columns)
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
    begin = " ".join(token_text(text, token) for token in tokens[:3])
    if words[2:3] != ["EXPECT"] or first != 3 or last < 5 or action not in known:
        raise DefinitionError(
            f"{place}: '{begin} ...' cannot be read. Write CONSTRAINT name EXPECT "
            "(condition), then nothing, ON VIOLATION DROP ROW, or ON VIOLATION FAIL UPDATE."
        )
    condition = text[tokens[first + 1].start : tokens[last - 1].end + 1]
    return Constraint(tokens[1].text, condition, known[action])


def _flow(text: str, tokens: list[Token], where: str) -> SqlFlow:
    place = f"{where}:{tokens[0].line}"
    words = [token_text(text, token).upper() for token in tokens]
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


def _properties(header: Any, place: str) -> dict[str, str]:
    from sqlglot import exp

    given = [
        (_key(entry.this), _string(entry.args["value"]))
        for entry in header.find_all(exp.Property)
        if type(entry) is exp.Property
    ]
    keys = [key for key, _ in given]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise DefinitionError(f"{place}: the table property '{twice}' is there twice. Keep one.")
    return dict(given)


def _key(node: Any) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Dot):
        return f"{_key(node.this)}.{_key(node.expression)}"
    return str(node.name)


def _string(node: Any) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Boolean):
        return str(node.this).lower()
    return "".join(literal.name for literal in node.find_all(exp.Literal))
