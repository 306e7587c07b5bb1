"""Reading the unresolved plan of a DataFrame: its tables, its functions, and its normal form."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import DefinitionError
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.function_form import function_form

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame

# What gives another answer each time, or depends on how rows are spread over files and threads.
VOLATILE_FUNCTIONS = frozenset(
    {
        *("curdate", "current_date", "current_time", "current_timestamp", "localtimestamp", "now"),
        *("current_user", "session_user", "unix_timestamp", "user"),
        *("java_method", "reflect", "try_reflect"),
        *("rand", "randn", "random", "randstr", "shuffle", "uniform", "uuid"),
        *("monotonically_increasing_id", "spark_partition_id"),
        *("input_file_block_length", "input_file_block_start", "input_file_name"),
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLES = {"Sample": "sample", "StatSampleBy": "sampleBy"}
# What a reader of Delta tables understands, and would read other rows by.
_OTHER_ROWS = ("versionasof", "timestampasof", "readchangefeed", "readchangedata")
_PICKLED = ("PythonUDF", "PythonUDTF")


@dataclass(frozen=True)
class FlowPlan:
    """What a DataFrame would do: the names that it reads, and a hash of its normal form.

    The hash does not depend on plan identifiers, source positions, or the comments and spacing of
    SQL text and Python functions.

    Attributes
    ----------
    volatile
        The functions in it that do not always give the same answer for the same rows.
    """

    reads: frozenset[str]
    digest: str
    volatile: frozenset[str]


def read_plan(frame: DataFrame, where: str) -> FlowPlan:
    """Read the plan of a DataFrame without running it.

    Raises
    ------
    DefinitionError
        The plan reads files directly, whose versions nobody could pin.
    """
    relation = relation_of(frame)
    reads: set[str] = set()
    volatile: set[str] = set()
    for message in messages_in(relation):
        reads |= _names(message, where)
        volatile |= _volatile(message)
    return FlowPlan(frozenset(reads), _digest(relation), frozenset(volatile))


def timeless_digest(frame: DataFrame, moment: str) -> str:
    """Hash the normal form of a plan as if it did not know the moment of the run.

    Parameters
    ----------
    moment
        ISO 8601; where the plan has it as text or as an instant, it does not count.
    """
    relation = relation_of(frame)
    microseconds = (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1)
    for message in messages_in(relation):
        for descriptor, value in message.ListFields():
            if isinstance(value, str) and moment in value:
                setattr(message, descriptor.name, value.replace(moment, ""))
            elif descriptor.name == "timestamp" and value == microseconds:
                message.timestamp = 0
    return _digest(relation)


def _digest(relation: Any) -> str:
    _normalise(relation, {}, {})
    serialized = relation.SerializeToString(deterministic=True)
    return hashlib.blake2b(serialized, digest_size=16).hexdigest()


def relation_of(frame: DataFrame) -> Any:
    """Return the unresolved plan of a DataFrame, a `Relation` of Spark Connect, as a copy."""
    unnamed: Any = frame
    return copy.deepcopy(unnamed._plan.plan(unnamed.sparkSession.client))


def names_in(relation: Any, where: str) -> frozenset[str]:
    """Return the names of the tables and views that a plan reads."""
    return frozenset().union(*(_names(message, where) for message in messages_in(relation)))


def _names(message: Any, where: str) -> set[str]:
    kind = message.DESCRIPTOR.name
    if kind == "NamedTable":
        asked = [key for key in message.options if key.lower() in _OTHER_ROWS]
        if asked:
            raise _past(where, f"the option {asked[0]!r} of a table", message.unparsed_identifier)
        return {message.unparsed_identifier.replace("`", "")}
    if kind == "SQL":
        return _names_in_text(message.query, where)
    if kind == "DataSource":
        raise direct_read(where, ", ".join(message.paths) or message.format)
    return set()


def direct_read(where: str, path: str) -> DefinitionError:
    """Return the mistake of a query that reads files instead of a table."""
    return DefinitionError(
        f"{where}: reads {path} directly, so no version of it can be pinned. Declare it under "
        "'sources' in lakehouse.yml, run 'slh ingest', and read the bronze table."
    )


def _names_in_text(query: str, where: str) -> set[str]:
    for table in sql.outer_tables(sql.parse(query, where)):
        if table.args.get("version"):
            raise _past(where, "VERSION AS OF or TIMESTAMP AS OF", table.name)
    return sql.tables_in(query, where)


def _past(where: str, what: str, table: str) -> DefinitionError:
    return DefinitionError(
        f"{where}: {what} is not supported in a pipeline ({table}): a run reads each table at the "
        "version that is the newest when it begins, and its commit says which. Leave it out."
    )


def _volatile(message: Any) -> set[str]:
    kind = message.DESCRIPTOR.name
    if kind in _SAMPLES:
        return {_SAMPLES[kind]}
    if kind == "CommonInlineUserDefinedFunction":
        return set() if message.deterministic else {message.function_name}
    called: set[str] = set()
    if kind in ("UnresolvedFunction", "CallFunction"):
        called = {message.function_name.replace("`", "").lower()}
        if message.arguments:
            called.discard("unix_timestamp")
    elif kind == "SQL":
        called = sql.functions_in(message.query)
        if "TABLESAMPLE" in sql.samples_in(message.query):
            return (called & VOLATILE_FUNCTIONS) | {"tablesample"}
    elif kind == "ExpressionString":
        called = sql.functions_in(message.expression)
    return called & VOLATILE_FUNCTIONS


def messages_in(message: Any) -> Iterator[Any]:
    """Give a protobuf message and all messages inside it."""
    yield message
    for descriptor, value in message.ListFields():
        for part in parts_of(descriptor, value):
            yield from messages_in(part)


def _normalise(message: Any, plan_ids: dict[int, int], variables: dict[str, str]) -> None:
    if message.DESCRIPTOR.name == "SQL":
        message.query = sql.normal_form(message.query)
    elif message.DESCRIPTOR.name in _PICKLED:
        message.command = function_form(message.command)
    elif message.DESCRIPTOR.name == "UnresolvedNamedLambdaVariable":
        # The client numbers the variables of all lambda functions of a process.
        message.name_parts[:] = [_numbered(name, variables) for name in message.name_parts]
    for descriptor, value in message.ListFields():
        if descriptor.name in ("origin", "source_info"):
            message.ClearField(descriptor.name)
        elif descriptor.name == "plan_id":
            message.plan_id = plan_ids.setdefault(value, len(plan_ids))
        else:
            for part in parts_of(descriptor, value):
                _normalise(part, plan_ids, variables)


def _numbered(name: str, variables: dict[str, str]) -> str:
    return variables.setdefault(name, f"{name.rpartition('_')[0]}_{len(variables)}")


def parts_of(descriptor: Any, value: Any) -> list[Any]:
    """Return the messages in the value of a field of a protobuf message."""
    if descriptor.message_type is None:
        return []
    if descriptor.message_type.GetOptions().map_entry:
        return [part for part in value.values() if hasattr(part, "ListFields")]
    return list(value) if descriptor.is_repeated else [value]
