"""Delta tables: find them, read them at a version, commit to them, ask for their history.

The names are imported when they are asked for: what needs no table needs no Delta library either.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltalake import Transaction

    from sololakehouse.lake.catalog import Lakehouse
    from sololakehouse.lake.columns import Column
    from sololakehouse.lake.commit import LakeWriter
    from sololakehouse.lake.history import HistoryEntry
    from sololakehouse.lake.table import Snapshot

__all__ = ["Column", "HistoryEntry", "LakeWriter", "Lakehouse", "Snapshot", "Transaction"]
_HOMES = {
    "Column": "sololakehouse.lake.columns",
    "HistoryEntry": "sololakehouse.lake.history",
    "LakeWriter": "sololakehouse.lake.commit",
    "Lakehouse": "sololakehouse.lake.catalog",
    "Snapshot": "sololakehouse.lake.table",
    "Transaction": "deltalake",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
