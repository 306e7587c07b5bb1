"""Delta tables: find them, read them at a version, commit to them, ask for their history."""

from deltalake import Transaction

from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.commit import LakeWriter
from sololakehouse.lake.history import HistoryEntry
from sololakehouse.lake.table import Column, Snapshot

__all__ = ["Column", "HistoryEntry", "LakeWriter", "Lakehouse", "Snapshot", "Transaction"]
