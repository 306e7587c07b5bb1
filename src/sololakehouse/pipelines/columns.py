"""Column types: as `lakehouse.yml` writes them, as Arrow has them, as people call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sololakehouse.errors import IngestError

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE_FILE = "_source_file"
SOURCE_LINE = "_source_line"
INGESTED_AT = "_ingested_at"
SOURCE_SHA256 = "_source_sha256"
RESCUED = "_rescued_data"
PLACE_COLUMNS = (SOURCE_FILE, SOURCE_LINE, INGESTED_AT, SOURCE_SHA256)
RESERVED = (*PLACE_COLUMNS, RESCUED)
_DECIMAL = re.compile(r"^decimal\((\d+),\s*(\d+)\)$")


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a type in `lakehouse.yml`; a timestamp is in UTC microseconds."""
    import pyarrow as pa

    decimal = _DECIMAL.match(name)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    types = {
        "string": pa.string(),
        "tinyint": pa.int8(),
        "smallint": pa.int16(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestamp_ntz": pa.timestamp("us"),
        "binary": pa.binary(),
    }
    return types[name]


def plain_name(kind: pa.DataType) -> str:
    """Name an Arrow type as `lakehouse.yml` does, with what a value must look like."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            return "timestamp_ntz (as 2013-01-31T12:00:00)"
        return "timestamp with a time zone (as 2013-01-31T12:00:00Z)"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    names = {
        "int8": "tinyint (8 bit)",
        "int16": "smallint (16 bit)",
        "int32": "int (32 bit)",
        "int64": "bigint",
        "bool": "boolean",
        "date32[day]": "date",
    }
    return names.get(str(kind), str(kind))


def data_columns(schema: pa.Schema) -> pa.Schema:
    """Return a bronze table's columns without those that ingestion adds."""
    import pyarrow as pa

    return pa.schema([field for field in schema if field.name not in RESERVED])


def check_names(names: Sequence[str], place: str) -> None:
    """Refuse names that stand there twice, are empty, or that ingestion itself uses.

    Raises
    ------
    IngestError
        `place` with the first such name. Delta does not tell upper from lower case.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise IngestError(f"{place}: the header names {twice[0]!r} twice.")
    folded = [name.lower() for name in names]
    same = [name for name in names if folded.count(name.lower()) > 1]
    if same:
        raise IngestError(
            f"{place}: the columns {same[0]!r} and {same[1]!r} differ in upper and lower case "
            "only, which Delta does not tell apart. Rename one."
        )
    reserved = [name for name in names if name.lower() in RESERVED]
    if reserved:
        raise IngestError(
            f"{place}: the column {reserved[0]!r} has a name that ingestion uses for itself "
            f"({', '.join(RESERVED)}). Rename it."
        )
    if "" in names:
        raise IngestError(f"{place}: column {names.index('') + 1} has no name.")


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the inferred type that holds the values of both: a double for numbers, else text.

    Examples
    --------
    >>> import pyarrow as pa
    >>> str(wider(pa.int64(), pa.float64())), str(wider(pa.null(), pa.bool_()))
    ('double', 'bool')
    """
    import pyarrow as pa

    if one == other or other == pa.null():
        return one
    if one == pa.null():
        return other
    numbers = {str(one), str(other)} == {"int64", "double"}
    return pa.float64() if numbers else pa.string()
