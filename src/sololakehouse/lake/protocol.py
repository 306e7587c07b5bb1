"""Delta features: which tables of other writers can be read here, and which can be written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import RunError

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

READABLE = frozenset({"deletionVectors", "timestampNtz"})
WRITABLE = frozenset(
    {
        "appendOnly",
        "changeDataFeed",
        "checkConstraints",
        "deletionVectors",
        "generatedColumns",
        "invariants",
        "timestampNtz",
    }
)
RENAMED = "columnMapping"
_UNKNOWN = re.compile(r"Feature '([^']+)' is not supported")
_COLUMN_RULES = {
    "delta.generationExpression": "generatedColumns",
    "delta.invariants": "invariants",
    "delta.identity.start": "identityColumns",
}


def refuse_unreadable(delta: DeltaTable, table: str) -> None:
    """Refuse a table whose rows one of the readers here would not read, or not rightly.

    Raises
    ------
    RunError
        Names the features.
    """
    protocol = delta.protocol()
    features = set(protocol.reader_features or ())
    if protocol.min_reader_version == 2:
        features.add(RENAMED)
    unknown = sorted(features - READABLE)
    if unknown:
        raise unreadable(table, unknown)


def unreadable(table: str, features: list[str]) -> RunError:
    """Say that a table cannot be read, by the names of the Delta features that it needs."""
    return RunError(
        f"{table} uses {listed_features(features)}, which cannot be read here. Let the program "
        "that wrote the table write a copy without, or read it there."
    )


def unknown_feature(error: Exception) -> str | None:
    """Return the feature that the Delta library itself refuses to open; None for other errors."""
    found = _UNKNOWN.search(str(error))
    return found[1] if found else None


def refuse_unwritable(
    delta: DeltaTable, table: str, schema: Schema, mode: Literal["append", "overwrite"]
) -> None:
    """Refuse a commit to a table whose rules nobody here would check, or that does not fit.

    Raises
    ------
    RunError
        Names the feature, or the column whose type differs.
    """
    refuse_unreadable(delta, table)
    metadata = delta.metadata()
    rules = _rules(delta, dict(metadata.configuration), mode)
    if metadata.partition_columns:
        rules.append(f"partitions (by {', '.join(metadata.partition_columns)})")
    if rules:
        raise _unwritable(table, rules)
    if mode == "append":
        _refuse_other_types(delta, table, schema)


def unknown_rules(delta: DeltaTable) -> list[str]:
    """Return the writer's features of a table that nobody here knows how to keep."""
    return sorted(set(delta.protocol().writer_features or ()) - WRITABLE)


def refuse_unknown_rules(delta: DeltaTable, table: str) -> None:
    """Refuse any commit to a table with features of the writer that nobody here knows.

    Raises
    ------
    RunError
        Names the features.
    """
    unknown = unknown_rules(delta)
    if unknown:
        raise _unwritable(table, unknown)


def _unwritable(table: str, rules: list[str]) -> RunError:
    return RunError(
        f"{table} uses {listed_features(rules)}, with which it cannot be written here. Write "
        "it with the program that made it, or write to another table. Nothing was changed."
    )


def _rules(delta: DeltaTable, configuration: dict[str, str], mode: str) -> list[str]:
    found = set(unknown_rules(delta))
    for field in delta.schema().fields:
        found |= {rule for key, rule in _COLUMN_RULES.items() if key in field.metadata}
        if mode == "append" and not field.nullable:
            found.add(f"NOT NULL columns ({field.name})")
    if any(key.startswith("delta.constraints.") for key in configuration):
        found.add("checkConstraints")
    if mode == "overwrite" and configuration.get("delta.appendOnly", "").lower() == "true":
        found.add("appendOnly")
    return sorted(found)


def _refuse_other_types(delta: DeltaTable, table: str, schema: Schema) -> None:
    stored = {field.name: field.type for field in delta.schema().fields}
    for field in schema.fields:
        known = stored.get(field.name, field.type)
        if _shape(known) != _shape(field.type):
            raise RunError(
                f"{table} has the column {field.name!r} as {_text(known)}, the rows have it as "
                f"{_text(field.type)}, so they cannot be appended. Nothing was changed."
            )


def _shape(kind: Any) -> Any:
    name = type(kind).__name__
    if name == "ArrayType":
        return name, _shape(kind.element_type)
    if name == "MapType":
        return name, _shape(kind.key_type), _shape(kind.value_type)
    if name == "StructType":
        return name, tuple((field.name, _shape(field.type)) for field in kind.fields)
    return name, kind.type


def _text(kind: Any) -> str:
    return str(getattr(kind, "type", kind))


def listed_features(features: list[str]) -> str:
    """Name Delta features in a sentence."""
    return f"the Delta feature{'s' if len(features) > 1 else ''} {', '.join(features)}"
