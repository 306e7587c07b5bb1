"""`_rescued_data`: what a file brought and the contract has no place for, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sololakehouse.pipelines.columns import RESCUED

if TYPE_CHECKING:
    import pyarrow as pa

FILE_PATH = "_file_path"
_SHOWN = 100


def rescued(rows: pa.Table, left: Sequence[tuple[str, Any]], file: str) -> pa.Table:
    """Add `_rescued_data`: a JSON object per row with what is left over, and `_file_path`.

    Parameters
    ----------
    left
        Names and values, as long as `rows`; a NULL is nothing to rescue. A row without any has
        NULL in `_rescued_data`.
    """
    import pyarrow as pa

    objects: list[dict[str, Any]] = [{} for _ in range(rows.num_rows if left else 0)]
    for name, values in left:
        for kept, value in zip(objects, values.to_pylist(), strict=True):
            if value is not None:
                kept[name] = value
    texts = [_text(kept, file) if kept else None for kept in objects]
    column = pa.array(texts, pa.string()) if left else pa.nulls(rows.num_rows, pa.string())
    return rows.append_column(RESCUED, column)


def _text(kept: dict[str, Any], file: str) -> str:
    return json.dumps({**kept, FILE_PATH: file}, ensure_ascii=False, default=str)


def shown(value: str) -> str:
    """Write a value for a message: in quotes, and cut after 100 characters."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
