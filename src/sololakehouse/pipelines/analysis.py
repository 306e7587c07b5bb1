"""What the engine finds wrong in a declaration, once its columns are known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import DefinitionError, suggestion
from sololakehouse.pipelines.declarations import DETERMINISTIC, Declaration
from sololakehouse.pipelines.dropped import refuse_taken_names
from sololakehouse.pipelines.missing_columns import explained
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.pipelines.stateful import earlier_rows_needed
from sololakehouse.pipelines.table_checks import refuse_columns
from sololakehouse.pipelines.time_bound import TimeBound
from sololakehouse.quality import AnyExpectation, Expectation

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.types import StructType


def refuse_shape(declaration: Declaration, given: StructType) -> None:
    """Refuse rows that no table can hold, or that have other columns than the table declares."""
    mistake = _not_storable(declaration, given) or declaration.shape.mistake(given)
    if mistake:
        raise DefinitionError(f"{declaration.place}: {declaration.name}: {mistake}")


def _not_storable(declaration: Declaration, given: StructType) -> str | None:
    if declaration.kind == "temporary view":
        return None
    names = [name.lower() for name in given.names]
    twice = next((name for name in given.names if names.count(name.lower()) > 1), None)
    if twice:
        return f"the query gives the column {twice!r} twice. Leave one out, or rename it with AS."
    for field in given.fields:
        kind = field.dataType.simpleString()
        if "interval" in kind:
            return (
                f"the column {field.name!r} is {kind}, and no Delta table holds intervals. Make a "
                "number of it, such as one of days."
            )
    return None


def refuse_differing_flows(declaration: Declaration, given: Sequence[StructType]) -> None:
    """Refuse flows into one table that give other columns, or other types, than the first."""
    kinds = [
        {field.name.lower(): field.dataType.simpleString() for field in schema.fields}
        for schema in given
    ]
    for flow, kind in zip(declaration.flows, kinds, strict=True):
        if kind != kinds[0]:
            listed = [", ".join(f"{n} {t}" for n, t in one.items()) for one in (kind, kinds[0])]
            raise DefinitionError(
                f"{declaration.place}: {declaration.name}: its flow {flow.name!r} gives "
                f"{listed[0]}, and {declaration.flows[0].name!r} gives {listed[1]}. Let all give "
                "the same columns with the same types."
            )


def resolve_together(declaration: Declaration, frame: DataFrame) -> bool:
    """Ask the engine for the columns of rows and for what is expected of them at once.

    Afterwards the frame knows its columns. False if the engine refuses: then to ask for the one
    and for the other says what is wrong.
    """
    from pyspark.sql.types import StructType

    conditions = [expectation.violated for expectation in _of_rows(declaration)]
    with suppress(Exception):
        found = frame.selectExpr("*", *conditions).schema.fields
        frame._cached_schema = StructType(found[: len(found) - len(conditions)])
        return True
    return False


def refuse_unresolved_expectations(
    declaration: Declaration, frame: DataFrame, *, resolved: bool
) -> None:
    """Refuse expectations, and a quarantine, that do not fit the columns of the rows.

    Parameters
    ----------
    resolved
        Whether the expectations of rows are known to fit.
    """
    of_rows = _of_rows(declaration)
    if not resolved:
        for expectation in of_rows:
            _refuse_expectation(declaration, frame, expectation)
    for other in declaration.expectations:
        if other not in of_rows:
            _refuse_expectation(declaration, frame, other)
    if declaration.quarantine:
        refuse_taken_names(declaration.quarantine, declaration, frame.columns)


def _refuse_expectation(
    declaration: Declaration, frame: DataFrame, expectation: AnyExpectation
) -> None:
    try:
        if isinstance(expectation, Expectation):
            condition: Any = frame.selectExpr(expectation.condition).schema
            kind = condition.fields[0].dataType.simpleString()
            if kind not in ("boolean", "void"):
                raise DefinitionError(
                    f"{expectation.condition!r} is {kind}, and no condition. Write a comparison."
                )
            _ = frame.selectExpr(expectation.violated).schema
        else:
            refuse_columns(expectation, frame.schema)
    except Exception as error:
        said = str(error) if isinstance(error, DefinitionError) else None
        raise DefinitionError(
            f"{declaration.place}: {declaration.name}: the expectation {expectation.name!r}: "
            f"{said or explained(error, frame.columns)}"
        ) from error


def refuse_unread_source(
    declaration: Declaration, bound: TimeBound, tables: Collection[str]
) -> None:
    """Refuse to look back over a table that is not read."""
    if bound.source not in tables:
        raise DefinitionError(
            f"{declaration.place}: {declaration.name} looks back over {bound.source!r}, which it "
            f"does not read. {suggestion(bound.source, tables, 'table')}"
        )


def refuse_moments(
    declaration: Declaration, bound: TimeBound, source: StructType, given: StructType
) -> None:
    """Refuse a lookback whose columns are no moments, or of two types."""
    name = declaration.name
    kinds = [
        _moment_type(source, bound.source_timestamp, bound.source, declaration),
        _moment_type(given, bound.timestamp, name, declaration),
    ]
    if kinds[0] != kinds[1]:
        raise DefinitionError(
            f"{declaration.place}: {bound.source}.{bound.source_timestamp} is a {kinds[0]} and "
            f"{name}.{bound.timestamp} a {kinds[1]}. Let both be of one type."
        )


def _of_rows(declaration: Declaration) -> list[Expectation]:
    return [e for e in declaration.expectations if isinstance(e, Expectation)]


def _moment_type(schema: StructType, column: str, table: str, declaration: Declaration) -> str:
    kinds = {field.name: field.dataType.simpleString() for field in schema.fields}
    if column not in kinds:
        hint = suggestion(column, kinds, "column")
        raise DefinitionError(f"{declaration.place}: {table} has no column {column!r}. {hint}")
    if kinds[column] not in ("timestamp", "date"):
        raise DefinitionError(
            f"{declaration.place}: {table}.{column} is a {kinds[column]}, and 'pipelines."
            "incremental.*' needs a timestamp or a date."
        )
    return kinds[column]


def refuse_kind(declaration: Declaration, streams: Mapping[str, str]) -> None:
    """Refuse a table that only takes new rows but reads no stream, and one that does otherwise."""
    streaming = declaration.kind in ("streaming table", "sink")
    idle = [flow.name for flow in declaration.flows if not flow.streams]
    if streaming and idle:
        raise DefinitionError(
            f"{declaration.place}: the flow {idle[0]!r} of the {declaration.kind} "
            f"{declaration.name} reads no stream. Read one with spark.readStream.table(...) or "
            "STREAM(...), or declare a materialized view."
        )
    if streams and not streaming:
        raise DefinitionError(
            f"{declaration.place}: {declaration.name} is a {declaration.kind} and reads a stream. "
            "Read the table itself, or declare a streaming table (@dp.table)."
        )


def refuse_earlier_rows(declaration: Declaration, frame: DataFrame) -> None:
    """Refuse a flow whose rows depend on rows that earlier runs have read."""
    reason = earlier_rows_needed(frame, declaration.streams) if declaration.streams else None
    if reason:
        raise DefinitionError(
            f"{declaration.place}: {declaration.name} {reason}. A run of a {declaration.kind} sees "
            "only the rows that its streams have gained, so its rows would depend on how these are "
            "spread over runs. Do this in a materialized view, over the tables themselves or over "
            "what the stream gives."
        )


def changing_answer(declaration: Declaration, volatile: Iterable[str]) -> DefinitionError:
    """Return the mistake of a query that calls functions whose answer changes."""
    calls = ", ".join(f"{function}()" for function in volatile)
    return DefinitionError(
        f"{declaration.place}: {declaration.name} uses {calls}, so the same inputs would not give "
        "the same table again. Take the value from a table, take the moment of the run from "
        f"spark.conf.get('{AS_OF}') or ${{{AS_OF}}}, or declare the table property "
        f"'{DETERMINISTIC}' as 'false'."
    )


def changing_query(declaration: Declaration) -> DefinitionError:
    """Return the mistake of a function of Python that gives another query each time."""
    return DefinitionError(
        f"{declaration.place}: {declaration.name} gives another query each time that its function "
        "is called, as with a moment or a random number of Python. Take the moment of the run from "
        f"spark.conf.get('{AS_OF}'), or declare the table property '{DETERMINISTIC}' as 'false'."
    )
