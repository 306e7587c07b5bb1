"""The columns of a table, with Spark SQL's names of their types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deltalake import Schema

if TYPE_CHECKING:
    import pyarrow as pa

_SPARK_TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}


@dataclass(frozen=True)
class Column:
    """One column as `slh describe` shows it; `type` is Spark SQL's name of the type."""

    name: str
    type: str
    nullable: bool
    comment: str | None


def column_types(schema: pa.Schema) -> dict[str, str]:
    """Return the columns that rows of an Arrow schema would have, with Spark SQL's types."""
    return {column.name: column.type for column in columns_of(Schema.from_arrow(schema).to_json())}


def columns_of(schema_json: str) -> tuple[Column, ...]:
    """Return the columns of a schema as Delta and Spark write it in JSON.

    Examples
    --------
    >>> field = '{"name": "id", "type": "long", "nullable": true, "metadata": {}}'
    >>> columns_of(f'{{"type": "struct", "fields": [{field}]}}')
    (Column(name='id', type='bigint', nullable=True, comment=None),)
    """
    return tuple(
        Column(
            name=field["name"],
            type=_spark_type(field["type"]),
            nullable=field["nullable"],
            comment=field.get("metadata", {}).get("comment"),
        )
        for field in json.loads(schema_json)["fields"]
    )


def type_name(delta_type: Any) -> str:
    """Return the name of a Delta type; that of a nested type is its form."""
    return str(getattr(delta_type, "type", delta_type))


def _spark_type(kind: Any) -> str:
    if isinstance(kind, str):
        return _SPARK_TYPES.get(kind, kind)
    if kind["type"] == "array":
        return f"array<{_spark_type(kind['elementType'])}>"
    if kind["type"] == "map":
        return f"map<{_spark_type(kind['keyType'])},{_spark_type(kind['valueType'])}>"
    fields = (f"{field['name']}:{_spark_type(field['type'])}" for field in kind["fields"])
    return f"struct<{','.join(fields)}>"
