"""Letting names in a query mean something else: the same query over other rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.pipelines.flow_plan import messages_in, relation_of
from sololakehouse.pipelines.sql_names import tables_renamed

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame


def substituted(frame: DataFrame, names: Mapping[str, str]) -> DataFrame:
    """Return the DataFrame that reads other tables or views.

    Parameters
    ----------
    frame
        A lazy DataFrame; it stays as it is.
    names
        For names of tables and views, as the query writes them, the names to read instead: one
        part each. Columns may still be qualified with the name that the query writes.
    """
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.plan import LogicalPlan

    relation = relation_of(frame)
    for message in list(messages_in(relation)):
        _rename(message, names)

    class Given(LogicalPlan):
        def plan(self, session: Any) -> Any:  # noqa: ARG002
            return relation

    unnamed: Any = frame
    return DataFrame(Given(None), unnamed.sparkSession)


def _rename(message: Any, names: Mapping[str, str]) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "SQL":
        message.query = tables_renamed(message.query, names)
    elif kind == "Relation" and message.WhichOneof("rel_type") == "read":
        written = message.read.named_table.unparsed_identifier.replace("`", "")
        if written in names:
            message.read.named_table.unparsed_identifier = names[written]
            _alias(message, written.rpartition(".")[2])
    elif kind == "UnresolvedAttribute":
        table, _, column = message.unparsed_identifier.rpartition(".")
        if "." in table and table.replace("`", "") in names:
            message.unparsed_identifier = f"{table.rpartition('.')[2]}.{column}"


def _alias(relation: Any, name: str) -> None:
    read = type(relation)()
    read.CopyFrom(relation)
    relation.Clear()
    relation.common.plan_id = read.common.plan_id
    read.common.ClearField("plan_id")
    relation.subquery_alias.input.CopyFrom(read)
    relation.subquery_alias.alias = name
