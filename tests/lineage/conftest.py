"""A lake whose tables are made from one another, a commit at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sololakehouse.lake import Snapshot
from sololakehouse.lineage.graph import Lineage
from sololakehouse.lineage.trace import trace
from sololakehouse.provenance import Change
from tests.lake.keeping import Shop, rows_of


class Lake(Shop):
    """A shop whose commits say what they were made from."""

    def commit(
        self,
        table: str,
        *inputs: Snapshot,
        rows: Iterable[int] = (1,),
        operation: str = "MATERIALIZED VIEW",
        mode: str = "overwrite",
        **details: Any,
    ) -> Snapshot:
        sources = [source.table_version for source in inputs]
        change = Change(operation, f"{table} {sources}", sources, details=details)
        return self.writer().write_frame(table, rows_of(rows), change, mode=mode)

    def ingest(self, table: str, *paths: str, action: str = "new", content: str = "a") -> Snapshot:
        files = {path: {"sha256": content * 64, "rows": 1, "action": action} for path in paths}
        return self.commit(table, operation="INGEST", mode="append", files=files)

    def trace(self, reference: str) -> Lineage:
        return trace(self.lake, reference)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def month_old(tmp_path) -> Lake:
    """Give a lake whose versions can be vacuumed after 30 days."""
    return Lake(tmp_path, "30d")


@pytest.fixture
def sources() -> Callable[[Lineage, str], dict[str, str]]:
    """Return what a node was made from, and how."""

    def of(graph: Lineage, node: str) -> dict[str, str]:
        return {edge.source: edge.role for edge in graph.sources[node]}

    return of
