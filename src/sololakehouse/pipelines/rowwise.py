"""Which queries give new rows for new rows, and nothing else.

A query f is row by row in a table if f(old rows and new rows) = f(old rows) and f(new rows), all
other tables being the same: it selects, filters and renames, and may join the table's rows with
other tables. What cannot be shown to be so counts as not row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from sololakehouse.pipelines import sql
from sololakehouse.pipelines.flow_plan import messages_in, names_in, parts_of, relation_of

if TYPE_CHECKING:
    from sqlglot import exp

    from sololakehouse.pipelines.graph import Node

# The groups "Aggregate Functions" and "Window Functions" of pyspark.sql.functions.
AGGREGATES = frozenset(
    {
        *("any_value", "approx_count_distinct", "approx_percentile", "array_agg", "avg"),
        *("bit_and", "bit_or", "bit_xor", "bitmap_and_agg", "bitmap_construct_agg"),
        *("bitmap_or_agg", "bool_and", "bool_or", "collect_list", "collect_set", "corr", "count"),
        *("count_distinct", "count_if", "count_min_sketch", "covar_pop", "covar_samp", "every"),
        *("first", "first_value", "grouping", "grouping_id", "histogram_numeric"),
        *("hll_sketch_agg", "hll_union_agg", "kll_sketch_agg_bigint", "kll_sketch_agg_double"),
        *("kll_sketch_agg_float", "kll_merge_agg_bigint", "kll_merge_agg_double"),
        *("kll_merge_agg_float", "kurtosis", "last", "last_value", "listagg", "listagg_distinct"),
        *("max", "max_by", "mean", "median", "min", "min_by", "mode", "percentile"),
        *("percentile_approx", "product", "regr_avgx", "regr_avgy", "regr_count"),
        *("regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy"),
        *("skewness", "some", "std", "stddev", "stddev_pop", "stddev_samp", "string_agg"),
        *("string_agg_distinct", "sum", "sum_distinct", "theta_intersection_agg"),
        *("theta_sketch_agg", "theta_union_agg", "tuple_intersection_agg_double"),
        *("tuple_intersection_agg_integer", "tuple_sketch_agg_double"),
        *("tuple_sketch_agg_integer", "tuple_union_agg_double", "tuple_union_agg_integer"),
        *("try_avg", "try_sum", "var_pop", "var_samp", "variance"),
        *("cume_dist", "dense_rank", "lag", "lead", "nth_value", "ntile", "percent_rank"),
        *("rank", "row_number"),
    }
)
_OPERATORS = frozenset(
    {
        *("+", "-", "*", "/", "%", "==", "<", "<=", ">", ">=", "<=>", "&", "|", "^", "~"),
        *("and", "or", "not", "in", "isnull", "isnotnull", "isnan", "bitwisenot"),
        *("startswith", "endswith", "contains"),
    }
)
_ONE_INPUT = frozenset(
    {"project", "filter", "subquery_alias", "with_columns", "with_columns_renamed", "drop", "to_df"}
)
_UNSAFE_EXPRESSIONS = frozenset(
    {"Window", "SubqueryExpression", "TypedAggregateExpression", "CallFunction", "MergeAction"}
)
# PythonEvalType: SQL_BATCHED_UDF and SQL_ARROW_BATCHED_UDF are called for each row.
_ROW_UDFS = frozenset({100, 101})
_WHOLE_SELECT = (
    *("group", "having", "distinct", "qualify", "windows", "order", "sort", "cluster"),
    *("distribute", "limit", "offset", "laterals", "pivots", "sample", "connect", "match"),
)
_KEPT_ROWS = {
    "": ("", "INNER", "CROSS"),
    "LEFT": ("", "OUTER", "SEMI", "ANTI"),
}


def is_rowwise(node: Node, source: str, nodes: Mapping[str, Node]) -> bool:
    """Whether a declaration gives, for new rows of a source, just the new rows of its table.

    Parameters
    ----------
    node
        The declaration.
    source
        The table that gets new rows.
    nodes
        All declarations by name: the temporary views among them are looked into.
    """
    return _Proof(source, nodes).holds(node)


class _Proof:
    def __init__(self, source: str, nodes: Mapping[str, Node]) -> None:
        self._source = source
        self._nodes = nodes

    def holds(self, node: Node) -> bool:
        return self._relation(node, relation_of(node.frame))

    def _relation(self, node: Node, relation: Any) -> bool:
        kind = relation.WhichOneof("rel_type")
        given = getattr(relation, kind)
        if kind == "read":
            return self._table(node, given.named_table.unparsed_identifier.replace("`", ""))
        if kind == "sql":
            has_arguments = len(given.ListFields()) > 1
            return not has_arguments and self._query(node, sql.parse(given.query, node.name), {})
        if kind == "join":
            return self._join(node, given)
        if kind not in _ONE_INPUT:
            return False
        own = [
            part
            for field, value in given.ListFields()
            if field.name != "input"
            for part in parts_of(field, value)
        ]
        return self._relation(node, given.input) and all(_is_safe(part) for part in own)

    def _table(self, node: Node, name: str) -> bool:
        table = node.names[name]
        return table == self._source or self.holds(self._nodes[table])

    def _join(self, node: Node, join: Any) -> bool:
        from pyspark.sql.connect.proto import relations_pb2

        kind = relations_pb2.Join.JoinType.Name(join.join_type).removeprefix("JOIN_TYPE_")
        left, right = (self._is_changed(node, side) for side in (join.left, join.right))
        if not _is_safe(join.join_condition):
            return False
        if left and not right:
            inner = ("INNER", "CROSS", "LEFT_OUTER", "LEFT_ANTI", "LEFT_SEMI")
            return kind in inner and self._relation(node, join.left)
        if right and not left:
            return kind in ("INNER", "CROSS", "RIGHT_OUTER") and self._relation(node, join.right)
        return False

    def _is_changed(self, node: Node, relation: Any) -> bool:
        return any(self._reads(node.names[name]) for name in names_in(relation, node.name))

    def _reads(self, table: str) -> bool:
        view = self._nodes.get(table)
        if table == self._source or view is None or not view.is_view:
            return table == self._source
        return any(self._reads(read) for read in view.reads)

    def _query(self, node: Node, tree: Any, known: Mapping[str, Any]) -> bool:
        from sqlglot import exp

        if not isinstance(tree, exp.Select) or any(tree.args.get(part) for part in _WHOLE_SELECT):
            return False
        named = {**known, **{one.alias: one.this for one in tree.ctes}}
        joins = tree.args.get("joins") or []
        first = tree.args.get("from_")
        return (
            first is not None
            and all(_keeps_rows(join) for join in joins)
            and not any(self._mentions(node, join, named) for join in joins)
            and all(self._is_row_expression(node, part, named) for part in own_parts(tree))
            and self._from(node, first.this, named)
        )

    def _from(self, node: Node, source: Any, named: Mapping[str, Any]) -> bool:
        from sqlglot import exp

        if isinstance(source, exp.Subquery):
            return self._query(node, source.this, named)
        if (
            not isinstance(source, exp.Table)
            or source.args.get("joins")
            or source.args.get("sample")
        ):
            return False
        name = _name(source)
        if name in named:
            earlier = {key: value for key, value in named.items() if key != name}
            return self._query(node, named[name], earlier)
        return name in node.names and self._reads(node.names[name]) and self._table(node, name)

    def _mentions(self, node: Node, part: Any, named: Mapping[str, Any]) -> bool:
        from sqlglot import exp

        for table in part.find_all(exp.Table):
            name = _name(table)
            if name in named:
                others = {key: value for key, value in named.items() if key != name}
                if self._mentions(node, named[name], others):
                    return True
            elif self._reads(node.names.get(name, name)):
                return True
        return False

    def _is_row_expression(self, node: Node, part: Any, named: Mapping[str, Any]) -> bool:
        from sqlglot import exp

        if self._mentions(node, part, named) or part.find(exp.Window):
            return False
        nested = {id(inner) for query in part.find_all(exp.Query) for inner in query.walk()}
        called = (one for one in part.find_all(exp.Func) if id(one) not in nested)
        return all(_is_row_function(one) for one in called)


def _name(table: exp.Table) -> str:
    return ".".join(part.name for part in table.parts)


def own_parts(select: exp.Select) -> Iterator[Any]:
    """Give the expressions of a query itself: its columns, its condition, those of its joins."""
    yield from select.expressions
    if select.args.get("where"):
        yield select.args["where"]
    for join in select.args.get("joins") or []:
        if join.args.get("on"):
            yield join.args["on"]


def _keeps_rows(join: exp.Join) -> bool:
    side, kind = join.side.upper(), join.kind.upper()
    return not join.method and kind in _KEPT_ROWS.get(side, ())


def _is_row_function(call: exp.Func) -> bool:
    from sqlglot import exp

    if isinstance(call, exp.Anonymous):
        return call.name.lower() in _row_functions()
    return not (isinstance(call, exp.UDTF | exp.Explode) or is_aggregate(call))


def is_aggregate(call: exp.Func) -> bool:
    """Whether a call in SQL looks at more rows than one."""
    from sqlglot import exp

    if isinstance(call, exp.Anonymous):
        return call.name.lower() in AGGREGATES
    names = {name.lower() for name in type(call).sql_names()}
    return isinstance(call, exp.AggFunc) or bool(AGGREGATES & names)


@cache
def _row_functions() -> frozenset[str]:
    from pyspark.sql import functions

    return (frozenset(functions.__all__) | _OPERATORS) - AGGREGATES


def _is_safe(expression: Any) -> bool:
    """Whether an expression of a DataFrame depends on its own row only."""
    return all(_is_safe_message(message) for message in messages_in(expression))


def _is_safe_message(message: Any) -> bool:
    kind = message.DESCRIPTOR.name
    if kind == "UnresolvedFunction":
        return message.function_name.lower() in _row_functions()
    if kind == "CommonInlineUserDefinedFunction":
        return message.python_udf.eval_type in _ROW_UDFS
    if kind == "ExpressionString":
        return _is_row_text(message.expression)
    return kind not in _UNSAFE_EXPRESSIONS


def _is_row_text(text: str) -> bool:
    from sqlglot import exp

    tree = sql.parse(text, "expression")
    if tree.find(exp.Query, exp.Window):
        return False
    return all(_is_row_function(call) for call in tree.find_all(exp.Func))
