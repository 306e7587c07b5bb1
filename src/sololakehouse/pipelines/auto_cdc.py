"""`create_auto_cdc_flow` with histories, which the open API does not have yet."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pyspark.sql import Column

OWN_NAME = "sololakehouse.pipelines.create_auto_cdc_flow"
_NOT_HERE = {
    "ignore_null_updates": (
        "an event here is the whole row. Fill what is NULL in a streaming table before"
    ),
    "apply_as_truncates": "nothing here empties a table by an event. Delete key by key",
    "once": "a flow here goes on where it was. A materialized view computes all of it once",
}


def create_auto_cdc_flow(
    target: str,
    source: str,
    keys: list[str] | list[Column],
    sequence_by: str | Column,
    apply_as_deletes: str | Column | None = None,
    column_list: list[str] | list[Column] | None = None,
    except_column_list: list[str] | list[Column] | None = None,
    stored_as_scd_type: Literal[1, 2, "1", "2"] = 1,
    track_history_column_list: list[str] | list[Column] | None = None,
    track_history_except_column_list: list[str] | list[Column] | None = None,
    name: str | None = None,
    *,
    ignore_null_updates: bool = False,
    apply_as_truncates: str | Column | None = None,
    once: bool = False,
) -> None:
    """Apply the changes of a source to a streaming table; type 2 keeps the history.

    The parameters are those of Databricks' function of this name. With type 1 it is
    `pyspark.pipelines.create_auto_cdc_flow`. Type 2 adds two columns of the type of `sequence_by`:
    `__START_AT`, from when on the row held (inclusive), and `__END_AT`, until when (exclusive; NULL
    for the row that holds now). Apache Spark's own runner refuses type 2.

    Parameters
    ----------
    target
        A table that `create_streaming_table` declares and no other flow fills.
    source
        A table whose rows are the events.
    keys
        Columns that tell a row from others; NULL is refused.
    sequence_by
        Column or expression that orders the events of a key; NULL is refused.
    apply_as_deletes
        Condition for events that delete the key; NULL counts as false.
    column_list, except_column_list
        Columns of the source that the table has; all of them if neither is given.
    stored_as_scd_type
        1: the newest row of each key. 2: all rows, with the time in which they held.
    track_history_column_list, track_history_except_column_list
        Type 2: columns whose changes begin a new row; all but the keys if neither is given. Other
        columns are changed in place.
    name
        Name of the flow; the target's name if it is not given.
    ignore_null_updates, apply_as_truncates, once
        Refused, unless they are as here.

    Raises
    ------
    DefinitionError
        A parameter is refused, the SCD type is neither 1 nor 2, type 1 has a history list, or the
        pipeline is run by Apache Spark and the type is 2.

    Examples
    --------
    In a source file of a pipeline::

        dp.create_streaming_table("silver.customers")
        create_auto_cdc_flow(
            target="silver.customers",
            source="bronze.customers",
            keys=["id"],
            sequence_by="changed_at",
            apply_as_deletes="operation = 'DELETE'",
            except_column_list=["operation"],
            stored_as_scd_type=2,
        )
    """
    from pyspark.pipelines.flow import AutoCdcFlow
    from pyspark.pipelines.graph_element_registry import get_active_graph_element_registry
    from pyspark.pipelines.source_code_location import get_caller_source_code_location

    from sololakehouse.errors import DefinitionError

    scd_type = str(stored_as_scd_type)
    track = (track_history_column_list, track_history_except_column_list)
    location = get_caller_source_code_location(stacklevel=1)
    place = f"{_near(location.filename)}:{location.line_number}: {target}"
    asked = {
        "ignore_null_updates": ignore_null_updates,
        "apply_as_truncates": apply_as_truncates is not None,
        "once": once,
    }
    refused = next((parameter for parameter, is_set in asked.items() if is_set), None)
    if refused:
        raise DefinitionError(f"{place}: {refused!r} is not supported: {_NOT_HERE[refused]}.")
    if scd_type not in ("1", "2"):
        raise DefinitionError(f"{place}: stored_as_scd_type is 1 or 2, not {stored_as_scd_type!r}.")
    if scd_type == "1" and track != (None, None):
        raise DefinitionError(f"{place}: only SCD type 2 has a history to track.")
    flow: Any = AutoCdcFlow(
        name=name or target,
        target=target,
        source=source,
        keys=_columns(keys),
        sequence_by=_expression(sequence_by),
        apply_as_deletes=None if apply_as_deletes is None else _expression(apply_as_deletes),
        column_list=_given(column_list),
        except_column_list=_given(except_column_list),
        stored_as_scd_type=1,
        source_code_location=location,
    )
    registry: Any = get_active_graph_element_registry()
    if scd_type == "1":
        registry.register_auto_cdc_flow(flow)
        return
    register = getattr(registry, "register_history_flow", None)
    if register is None:
        raise DefinitionError(
            f"{place}: Apache Spark's own runner has no SCD type 2. Run this pipeline with "
            "'slh run', or on Databricks with its own create_auto_cdc_flow."
        )
    register(flow, _given(track[0]), _given(track[1]))


def refuse_auto_cdc(words: list[str], place: str) -> None:
    """Refuse a SQL statement, given by its words in upper case, that is Databricks' alone.

    Raises
    ------
    DefinitionError
        Says what to write instead.
    """
    from sololakehouse.errors import DefinitionError

    pairs = list(pairwise(words))
    if ("AUTO", "CDC") in pairs[:8] or ("APPLY", "CHANGES") in pairs[:4]:
        raise DefinitionError(
            f"{place}: AUTO CDC in SQL is Databricks' own, and Apache Spark cannot read it. Call "
            "dp.create_auto_cdc_flow(...) in a Python file, or for histories "
            "sololakehouse.pipelines.create_auto_cdc_flow(...)."
        )


def _near(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _given(columns: Any) -> list[Any] | None:
    return None if columns is None else _columns(columns)


def _columns(columns: Any) -> list[Any]:
    from pyspark.sql import functions as F

    listed = [columns] if isinstance(columns, str) else columns
    return [F.col(column) if isinstance(column, str) else column for column in listed]


def _expression(given: Any) -> Any:
    from pyspark.sql import functions as F

    return F.expr(given) if isinstance(given, str) else given
