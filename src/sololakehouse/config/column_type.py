"""The type of a column, as a source declares it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from sololakehouse.errors import suggestion

COLUMN_TYPES = (
    *("string", "tinyint", "smallint", "int", "bigint", "float", "double", "boolean", "date"),
    *("timestamp", "timestamp_ntz", "binary", "decimal(p,s)"),
)
_DECIMAL = re.compile(r"^decimal\((\d+),\s*(\d+)\)$")


def _column_type(name: str) -> str:
    found = _DECIMAL.match(name)
    if found and int(found[2]) <= int(found[1]) and 1 <= int(found[1]) <= 38:
        return name
    if name not in COLUMN_TYPES[:-1]:
        raise ValueError(f"no type {name!r}. {suggestion(name, COLUMN_TYPES, 'type')}")
    return name


ColumnType = Annotated[str, AfterValidator(_column_type)]
