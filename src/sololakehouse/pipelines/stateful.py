"""What a stream's query may not ask for: rows that earlier runs have read.

A run sees the new rows of a stream only. A query that groups them, numbers them or joins two
streams would give rows that depend on how the source's rows are spread over runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import DefinitionError
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.flow_plan import messages_in, names_in, parts_of, relation_of
from sololakehouse.pipelines.rowwise import AGGREGATES, is_aggregate, own_parts

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame

_GROUPS = "groups rows"
_CUTS = "takes some of the rows (LIMIT)"
_DISTINCT = "leaves out rows that are there twice"
_NUMBERS = "computes over a window of rows"
_SUBQUERY = "asks for the stream's rows in a subquery"
_TWO_STREAMS = "joins a stream with a stream"
_MISSED = "keeps rows for which the stream has no match"
_MIXED = "unites a stream with a table, whose rows would come again in each run"
_SET = "compares rows with all others (UNION without ALL, INTERSECT, EXCEPT)"
_RELATIONS: Mapping[str, str] = {
    "aggregate": _GROUPS,
    "apply_in_pandas_with_state": _GROUPS,
    "approx_quantile": _GROUPS,
    "co_group_map": _GROUPS,
    "corr": _GROUPS,
    "cov": _GROUPS,
    "crosstab": _GROUPS,
    "deduplicate": _DISTINCT,
    "describe": _GROUPS,
    "freq_items": _GROUPS,
    "group_map": _GROUPS,
    "limit": _CUTS,
    "offset": _CUTS,
    "summary": _GROUPS,
    "tail": _CUTS,
    "transpose": _GROUPS,
}
_CLAUSES: Mapping[str, str] = {
    "group": _GROUPS,
    "having": _GROUPS,
    "distinct": _DISTINCT,
    "qualify": _NUMBERS,
}
_JOINS = ("as_of_join", "join", "lateral_join")
# For each kind of join, whether rows of the left and of the right side stay without a match.
_KEPT: Mapping[str, tuple[bool, bool]] = {
    "FULL_OUTER": (True, True),
    "LEFT_ANTI": (True, False),
    "LEFT_OUTER": (True, False),
    "LEFT_SEMI": (True, False),
    "RIGHT_OUTER": (False, True),
}


def earlier_rows_needed(frame: DataFrame, streams: Collection[str]) -> str | None:
    """Say what of a query needs more rows of its streams than the new ones; None if nothing does.

    What is done to other tables before they are joined does not matter.

    Parameters
    ----------
    streams
        The names in the query that stand for the new rows of streams.
    """
    return next(_Query(frozenset(streams)).of(relation_of(frame)), None)


class _Query:
    def __init__(self, streams: frozenset[str]) -> None:
        self._streams = streams

    def of(self, relation: Any) -> Iterator[str]:
        """Give the reasons in a plan."""
        if not self._streams & names_in(relation, "stream"):
            return
        kind = relation.WhichOneof("rel_type")
        given = getattr(relation, kind)
        if kind == "sql":
            yield from self._tree(sql.parse(given.query, "stream"), frozenset(self._streams))
        if kind in _RELATIONS:
            yield _RELATIONS[kind]
        if kind in _JOINS:
            yield from self._join(kind, given)
        elif kind == "set_op":
            yield from self._union(given)
        for field, value in given.ListFields():
            for part in parts_of(field, value):
                yield from self._part(part)

    def _part(self, part: Any) -> Iterator[str]:
        if part.DESCRIPTOR.name == "Relation":
            yield from self.of(part)
            return
        for message in messages_in(part):
            yield from _of_expression(message)

    def _join(self, kind: str, given: Any) -> Iterator[str]:
        left, right = (
            bool(self._streams & names_in(side, "stream")) for side in (given.left, given.right)
        )
        name = ""
        if kind == "join":
            name = type(given).JoinType.Name(given.join_type).removeprefix("JOIN_TYPE_")
        yield from _joined(left, right, name)

    def _union(self, given: Any) -> Iterator[str]:
        inputs = (given.left_input, given.right_input)
        yield from _united([bool(self._streams & names_in(one, "stream")) for one in inputs])
        if not (given.is_all and given.set_op_type == type(given).SET_OP_TYPE_UNION):
            yield _SET

    def _tree(self, tree: Any, streams: frozenset[str]) -> Iterator[str]:
        """Give the reasons in a parsed query, `streams` being the names of rows of streams."""
        from sqlglot import exp

        for table in tree.ctes:
            if _reads(table.this, streams):
                yield from self._tree(table.this, streams)
                streams |= {table.alias}
            else:
                streams -= {table.alias}
        if not _reads(tree, streams):
            return
        if tree.args.get("limit") or tree.args.get("offset"):
            yield _CUTS
        if isinstance(tree, exp.Subquery):
            yield from self._tree(tree.this, streams)
        elif isinstance(tree, exp.SetOperation):
            sides = [tree.left, tree.right]
            yield from _united([_reads(side, streams) for side in sides])
            if not isinstance(tree, exp.Union) or tree.args.get("distinct"):
                yield _SET
            for side in sides:
                yield from self._tree(side, streams)
        elif isinstance(tree, exp.Select):
            yield from self._select(tree, streams)

    def _select(self, tree: Any, streams: frozenset[str]) -> Iterator[str]:
        from sqlglot import exp

        sources = [tree.args["from_"].this] if tree.args.get("from_") else []
        joins = tree.args.get("joins") or []
        left = any(_reads(source, streams) for source in sources)
        for join in joins:
            right = _reads(join.this, streams)
            yield from _joined(left, right, _kind(join))
            left = left or right
        for source in (*sources, *(join.this for join in joins)):
            if isinstance(source, exp.Subquery):
                yield from self._tree(source, streams)
        if left:
            yield from (reason for part, reason in _CLAUSES.items() if tree.args.get(part))
        for part in own_parts(tree):
            if any(_reads(query, streams) for query in part.find_all(exp.Query)):
                yield _SUBQUERY
            if left:
                yield from _of_tree(part)


def _of_expression(message: Any) -> Iterator[str]:
    kind = message.DESCRIPTOR.name
    if kind == "Window":
        yield _NUMBERS
    elif kind == "UnresolvedFunction" and message.function_name.lower() in AGGREGATES:
        yield _GROUPS
    elif kind == "ExpressionString":
        with suppress(DefinitionError):
            yield from _of_tree(sql.parse(message.expression, "expression"))


def _of_tree(expression: Any) -> Iterator[str]:
    """Give the reasons in an expression of SQL, subqueries left out."""
    from sqlglot import exp

    inner = {id(node) for query in expression.find_all(exp.Query) for node in query.walk()}
    for node in expression.walk():
        if id(node) in inner:
            continue
        if isinstance(node, exp.Window):
            yield _NUMBERS
        elif isinstance(node, exp.Func) and is_aggregate(node):
            yield _GROUPS


def _joined(left: bool, right: bool, kind: str) -> Iterator[str]:
    kept = _KEPT.get(kind, (False, False))
    if left and right:
        yield _TWO_STREAMS
    elif (left and kept[1]) or (right and kept[0]):
        yield _MISSED


def _united(sides: list[bool]) -> Iterator[str]:
    if any(sides) and not all(sides):
        yield _MIXED


def _kind(join: Any) -> str:
    """Return the kind of a join in SQL, as a plan names it."""
    side, kind = join.side.upper() or "LEFT", join.kind.upper()
    if kind in ("SEMI", "ANTI"):
        return f"{side}_{kind}"
    return f"{join.side.upper()}_OUTER" if join.side else "INNER"


def _reads(tree: Any, names: frozenset[str]) -> bool:
    from sqlglot import exp

    return any(len(one.parts) == 1 and one.name in names for one in tree.find_all(exp.Table))
