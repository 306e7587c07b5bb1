"""A flow of change data: which rows of its source say what of which key, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import DefinitionError, suggestion
from sololakehouse.pipelines.auto_cdc import OWN_NAME
from sololakehouse.pipelines.streams import Flow
from sololakehouse.quality import Query

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DataType

SEQUENCE = "__sequence"
DELETED = "__deleted"
START_AT = "__START_AT"
END_AT = "__END_AT"
_MISSING = re.compile(r'Identifier\("([^"]+)"\)')
_RESERVED = (SEQUENCE, DELETED, START_AT, END_AT)
_ORDERED = frozenset(
    {
        *("tinyint", "smallint", "int", "bigint", "float", "double", "decimal"),
        *("string", "binary", "boolean", "date", "timestamp", "timestamp_ntz"),
    }
)


@dataclass(frozen=True)
class ChangeFlow:
    """What `create_auto_cdc_flow` was told.

    Attributes
    ----------
    keys, column_list, except_column_list, track_history, track_history_except
        Unresolved columns; None where nothing was said.
    sequence_by, apply_as_deletes
        Unresolved expressions on the columns of the source.
    scd_type
        1: the table holds the newest row of each key. 2: all of them, from when until when.
    place
        Where the flow is declared, for messages.
    view
        Gives the new rows of the source, if it is a temporary view.
    """

    flow: Flow
    target: str
    source: str
    keys: Sequence[Column]
    sequence_by: Column
    apply_as_deletes: Column | None
    column_list: Sequence[Column] | None
    except_column_list: Sequence[Column] | None
    scd_type: Literal[1, 2]
    place: str
    track_history: Sequence[Column] | None = None
    track_history_except: Sequence[Column] | None = None
    view: Query | None = None

    @property
    def arguments(self) -> dict[str, str]:
        """What was said of the flow, as text; what was left out is not there."""
        listed = {
            "keys": self.keys,
            "sequence_by": [self.sequence_by],
            "apply_as_deletes": None if self.apply_as_deletes is None else [self.apply_as_deletes],
            "column_list": self.column_list,
            "except_column_list": self.except_column_list,
            "track_history_column_list": self.track_history,
            "track_history_except_column_list": self.track_history_except,
        }
        columns = {name: ", ".join(map(_expression, said)) for name, said in listed.items() if said}
        return {"source": self.source, **columns, "stored_as_scd_type": str(self.scd_type)}

    def over(self, view: Query, streams: dict[str, str]) -> ChangeFlow:
        """Return the flow with a temporary view of a stream as its source."""
        return replace(self, view=view, flow=Flow(self.flow.name, streams))

    def __post_init__(self) -> None:
        if not self.keys:
            raise DefinitionError(f"{self._where}: 'keys' is empty. Name at least one column.")
        _refuse_both(self._where, "column_list", self.column_list, self.except_column_list)
        _refuse_both(
            self._where,
            "track_history_column_list",
            self.track_history,
            self.track_history_except,
        )
        if self.view is None:
            self.flow.alias(self.source)

    def refuse_target(self, kind: str, places: Sequence[str]) -> None:
        """Refuse a target that is no streaming table, or that flows at several places fill."""
        if kind != "streaming table":
            raise DefinitionError(
                f"{self._where} is a {kind}; change data needs a streaming table. Declare it with "
                "dp.create_streaming_table."
            )
        if len(places) > 1:
            raise DefinitionError(
                f"{self._where}: a table of change data has one flow, and this one has "
                f"{len(places)}: {', '.join(places)}. Give the others tables of their own."
            )

    def rows(self, session: SparkSession) -> DataFrame:
        """Return rows of the table's shape, to resolve the names of the flow and of its readers.

        Raises
        ------
        DefinitionError
            The flow names columns that its source lacks, or cannot be ordered by its sequence.
        """
        events: Any = self.events(session)
        self._refuse_types(events.schema)
        self.tracked(self.columns(events.columns))
        if self.scd_type == 2:
            events = events.withColumns(
                {START_AT: _quoted(SEQUENCE), END_AT: _quoted(SEQUENCE)},
            )
        rows: DataFrame = events.drop(SEQUENCE, DELETED)
        return rows

    def events(self, session: SparkSession) -> DataFrame:
        """Return the new rows of the source: the table's columns, `__sequence` and `__deleted`."""
        from pyspark.sql import functions as F

        source: Any = self.view() if self.view else session.read.table(self.flow.alias(self.source))
        columns = source.columns
        reserved = [name for name in columns if name in _RESERVED]
        if reserved:
            raise DefinitionError(
                f"{self._where}: the column {reserved[0]!r} of {self.source} has a name that auto "
                "CDC keeps for itself. Rename it in a streaming table before."
            )
        self._refuse_unknown("sequence_by", self.sequence_by, source)
        self._refuse_unknown("apply_as_deletes", self.apply_as_deletes, source)
        selected = self._kept(columns)
        self._refuse_lost_keys(columns, selected)
        deletes = F.lit(False) if self.apply_as_deletes is None else self.apply_as_deletes
        events: DataFrame = source.select(
            *map(_quoted, selected),
            self.sequence_by.alias(SEQUENCE),
            deletes.alias(DELETED),
        )
        return events

    def key_names(self, columns: Iterable[str]) -> list[str]:
        """Return the keys as the source spells them."""
        return self._names("keys", self.keys, list(columns))

    def tracked(self, columns: Iterable[str]) -> list[str]:
        """Return the columns whose changes begin a new row of a history."""
        known = list(columns)
        keys = self.key_names(known)
        if self.track_history is not None:
            return self._names("track_history_column_list", self.track_history, known)
        left = self._names("track_history_except_column_list", self.track_history_except, known)
        return [name for name in known if name not in (*keys, *left)]

    def columns(self, names: Iterable[str]) -> list[str]:
        """Return the columns of the table that come from the source."""
        return [name for name in names if name not in _RESERVED]

    def told(self, names: Iterable[str]) -> list[Any]:
        """Return what decides the rows of a table and does not stand in the plan of `rows`."""
        columns = self.columns(names)
        tracked = self.tracked(columns) if self.scd_type == 2 else None
        return [self.scd_type, self.key_names(columns), tracked]

    @property
    def _where(self) -> str:
        return f"{self.place}: {self.target}"

    def _kept(self, columns: list[str]) -> list[str]:
        if self.column_list is not None:
            return self._names("column_list", self.column_list, columns)
        left_out = self._names("except_column_list", self.except_column_list, columns)
        return [name for name in columns if name not in left_out]

    def _refuse_lost_keys(self, columns: list[str], selected: list[str]) -> None:
        lost = [name for name in self.key_names(columns) if name not in selected]
        if lost:
            raise DefinitionError(
                f"{self._where}: the key {lost[0]!r} is not among the columns of the table. Add it "
                "to 'column_list', or take it out of 'except_column_list'."
            )

    def _refuse_types(self, schema: Any) -> None:
        for field in schema.fields:
            if field.name == SEQUENCE and not _is_ordered(field.dataType):
                raise DefinitionError(
                    f"{self._where}: 'sequence_by' has the type {field.dataType.simpleString()}, "
                    "whose values have no order. Take numbers, times, text, or a struct of these."
                )
            if field.name == DELETED and field.dataType.simpleString() not in ("boolean", "void"):
                raise DefinitionError(
                    f"{self._where}: 'apply_as_deletes' is a condition, and this one has the type "
                    f"{field.dataType.simpleString()}."
                )
            if "map<" in field.dataType.simpleString():
                raise DefinitionError(
                    f"{self._where}: the column {field.name!r} is a map, and maps cannot be "
                    "compared. Leave it out with 'except_column_list'."
                )

    def _refuse_unknown(self, argument: str, given: Column | None, source: Any) -> None:
        if given is None:
            return
        if _identifier(given) is not None:
            self._names(argument, [given], source.columns)
        try:
            _ = source.select(given).schema
        except Exception as error:
            said = str(error).strip().splitlines()[0]
            missing = _MISSING.findall(said)
            if missing:
                hint = suggestion(missing[-1], source.columns, "column")
                said = f"{self.source} has no column {missing[-1]!r}. {hint}"
            raise DefinitionError(f"{self._where}: '{argument}': {said}") from error

    def _names(self, argument: str, given: Sequence[Column] | None, known: list[str]) -> list[str]:
        spelling = {name.lower(): name for name in known}
        return [spelling[self._name(argument, one, spelling).lower()] for one in given or ()]

    def _name(self, argument: str, column: Column, spelling: dict[str, str]) -> str:
        name = _identifier(column)
        if name is None:
            raise DefinitionError(
                f"{self._where}: '{argument}' takes the names of columns, not the expression "
                f"{_expression(column)}. Compute it in a streaming table before."
            )
        if name.lower() not in spelling:
            raise DefinitionError(
                f"{self._where}: '{argument}': {self.source} has no column {name!r}. "
                f"{suggestion(name, spelling.values(), 'column')}"
            )
        return name


def scd_type_hint(error: Exception) -> str | None:
    """Return what to say where pyspark refuses `stored_as_scd_type`; None for another error."""
    if "stored_as_scd_type" not in str(error):
        return None
    return (
        "dp.create_auto_cdc_flow has SCD type 1 only, as the open API has it. For histories (type "
        f"2) call {OWN_NAME}, which has the parameters that Databricks' function has."
    )


def _refuse_both(where: str, argument: str, one: Any, other: Any) -> None:
    if one is not None and other is not None:
        opposite = argument.replace("column_list", "except_column_list")
        raise DefinitionError(f"{where}: give '{argument}' or '{opposite}', not both.")


def _identifier(column: Column) -> str | None:
    """Return the name of a column, None for any other expression."""
    from pyspark.sql.connect.expressions import ColumnReference, SQLExpression

    expression: Any = getattr(column, "_expr", None)
    if isinstance(expression, ColumnReference):
        return str(expression._unparsed_identifier).strip("`")
    if isinstance(expression, SQLExpression) and str(expression._expr).strip("`").isidentifier():
        return str(expression._expr).strip("`")
    return None


def _expression(column: Column) -> str:
    return str(column).removeprefix("Column<'").removesuffix("'>")


def _quoted(name: str) -> Column:
    from pyspark.sql import functions as F

    return F.col(f"`{name}`")


def _is_ordered(kind: DataType) -> bool:
    from pyspark.sql.types import StructType

    if isinstance(kind, StructType):
        return all(_is_ordered(field.dataType) for field in kind.fields)
    return kind.simpleString().partition("(")[0] in _ORDERED
