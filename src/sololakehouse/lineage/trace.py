"""What a table version was made from, down to the landing files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sololakehouse.lake import Lakehouse
from sololakehouse.lake.history import content_history, file_hashes
from sololakehouse.provenance import CommitRecord


@dataclass(frozen=True)
class TraceNode:
    """A table version with what it was made from.

    Attributes
    ----------
    record
        The newest commit record at or before the version; None if another writer made the table.
    files
        Landing files with their SHA-256, for a bronze table.
    """

    table: str
    version: int
    record: CommitRecord | None
    files: dict[str, str]
    inputs: tuple[TraceNode, ...]

    def lines(self, depth: int = 0) -> Iterator[tuple[int, str]]:
        """Give the tree as depth and text, this node first; each table version is expanded once."""
        yield from self._lines(depth, set())

    def _lines(self, depth: int, shown: set[tuple[str, int]]) -> Iterator[tuple[int, str]]:
        again = (self.table, self.version) in shown
        shown.add((self.table, self.version))
        yield depth, self._text() + (" (above)" if again and (self.inputs or self.files) else "")
        if again:
            return
        for path, sha256 in self.files.items():
            yield depth + 1, f"{path} sha256:{sha256[:12]}"
        for node in self.inputs:
            yield from node._lines(depth + 1, shown)

    def _text(self) -> str:
        if self.record is None:
            return f"{self.table}@v{self.version}"
        free = "" if self.deterministic else "  not deterministic"
        return (
            f"{self.table}@v{self.version}  {self.record.manifest.rows:,} rows  "
            f"{self.record.operation.lower()}  {self.record.manifest.digest[:12]}{free}"
        )

    @property
    def deterministic(self) -> bool:
        """Whether the step gives the same rows each time; False if it was declared not to."""
        return self.record is None or self.record.details.get("deterministic") is not False

    def not_deterministic(self) -> list[str]:
        """Return the table versions in the tree that were declared not to be deterministic."""
        found: dict[str, None] = {}
        if not self.deterministic:
            found[f"{self.table}@v{self.version}"] = None
        for node in self.inputs:
            found |= dict.fromkeys(node.not_deterministic())
        return list(found)

    def as_dict(self) -> dict[str, Any]:
        """Return the tree as JSON-like values."""
        return {
            "table": self.table,
            "version": self.version,
            "deterministic": self.deterministic,
            "record": self.record.model_dump() if self.record else None,
            "files": self.files,
            "inputs": [node.as_dict() for node in self.inputs],
        }


def trace(lake: Lakehouse, reference: str) -> TraceNode:
    """Trace a table, also `schema.table@v3` or at a moment, to its landing files.

    Raises
    ------
    NotFoundError
        The table or the version does not exist.
    """
    return _Tracer(lake).node(reference)


class _Tracer:
    def __init__(self, lake: Lakehouse) -> None:
        self._lake = lake
        self._nodes: dict[str, TraceNode] = {}

    def node(self, reference: str) -> TraceNode:
        if reference not in self._nodes:
            self._nodes[reference] = self._read(reference)
        return self._nodes[reference]

    def _read(self, reference: str) -> TraceNode:
        snapshot = self._lake.read(reference)
        commits = content_history(self._lake.history(reference))
        records = [entry.record for entry in commits if entry.record]
        files: dict[str, str] = {}
        for record in reversed(records):
            files |= file_hashes(record)
        newest = records[0] if records else None
        inputs = tuple(self.node(str(source)) for source in newest.inputs) if newest else ()
        return TraceNode(snapshot.name, snapshot.version, newest, files, inputs)
