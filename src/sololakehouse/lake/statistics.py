"""File statistics in Delta's form, from a Parquet footer, so that readers can skip files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_TEXT = 64


def file_statistics(file: Path) -> dict[str, Any]:
    """Return row count, minima, maxima and null counts of the file's flat columns.

    Bounds are never tighter than the data: a timestamp is cut to milliseconds, downwards for the
    minimum and upwards for the maximum; floats (Parquet's bounds leave NaN out, Spark orders it
    above all numbers), long text and columns without statistics in every row group have no bounds.
    """
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    minima: dict[str, Any] = {}
    maxima: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index, name in enumerate(metadata.schema.names):
        if metadata.schema.column(index).path != name:
            continue
        parts = [group.column(index).statistics for group in groups]
        if all(part is not None and part.has_null_count for part in parts):
            nulls[name] = sum(part.null_count for part in parts)
        known = [part for part in parts if part is not None and part.has_min_max]
        if known and len(known) == len(parts):
            _add_bounds(name, known, minima, maxima)
    return {
        "numRecords": metadata.num_rows,
        "minValues": minima,
        "maxValues": maxima,
        "nullCount": nulls,
    }


def row_group_bounds(files: Iterable[Path], column: str) -> list[tuple[Any, Any]] | None:
    """Return a column's least and greatest value in each row group; None if one does not say."""
    import pyarrow.parquet as pq

    bounds = []
    for file in files:
        metadata = pq.read_metadata(file)
        if column not in metadata.schema.names:
            return None
        index = metadata.schema.names.index(column)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        for group in groups:
            known = group.column(index).statistics
            if group.num_rows and (known is None or not known.has_min_max):
                return None
            if group.num_rows:
                bounds.append((_bound(known, "min"), _bound(known, "max")))
    return bounds


def _add_bounds(
    name: str, parts: list[Any], minima: dict[str, Any], maxima: dict[str, Any]
) -> None:
    low = _written(min(_bound(part, "min") for part in parts), up=False)
    high = _written(max(_bound(part, "max") for part in parts), up=True)
    if low is not None and high is not None:
        minima[name], maxima[name] = low, high


def _bound(part: Any, which: Literal["min", "max"]) -> Any:
    """Return a bound as Python has it; pyarrow itself would import pandas for an instant."""
    kind = part.logical_type
    about = json.loads(kind.to_json()) if kind.type == "TIMESTAMP" else {}
    if about.get("timeUnit") != "microseconds":
        return getattr(part, which)
    epoch = datetime.fromtimestamp(0, UTC)
    moment = epoch + timedelta(microseconds=getattr(part, f"{which}_raw"))
    return moment if about["isAdjustedToUTC"] else moment.replace(tzinfo=None)


def _written(value: Any, *, up: bool) -> Any:
    if isinstance(value, bool | bytes | float):
        return None
    if isinstance(value, datetime):
        cut = value.replace(microsecond=value.microsecond // 1000 * 1000)
        if up and cut != value:
            cut += _MILLISECOND
        return cut.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else None
    return value if isinstance(value, int) else None
