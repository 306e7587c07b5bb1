"""The spine of a training set: its labels, from a table or a frame, in a known order."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.errors import TrainingError
from sololakehouse.features.recipe import Recipe
from sololakehouse.lake import Snapshot
from sololakehouse.lake.contract import counted, described_row
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.sorted_rows import sorted_scan
from sololakehouse.provenance import TableVersion, content_manifest

if TYPE_CHECKING:
    import polars as pl

_EXAMPLES = 3


class Spine:
    """Labels with their lookup keys and timestamps.

    A frame keeps the order of its rows. A table has none: its rows are sorted by the recipe's
    timestamp, then by all their columns.
    """

    def __init__(self, labels: Snapshot | pl.DataFrame) -> None:
        self._labels = labels

    @property
    def source(self) -> Snapshot | None:
        """The table of the labels; None if they came as a frame."""
        return self._labels if isinstance(self._labels, Snapshot) else None

    @property
    def table_version(self) -> TableVersion | None:
        """The version of the table of the labels; None if they came as a frame."""
        return self.source.table_version if self.source else None

    @property
    def name(self) -> str:
        """The table, or `the labels`, for messages."""
        return self.source.name if self.source else "the labels"

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns with Polars' types; no data is read."""
        return dict(self._labels.schema)

    @cached_property
    def digest(self) -> str | None:
        """What a frame holds, in its order; None for a table, whose version says that."""
        if isinstance(self._labels, Snapshot):
            return None
        # The manifest knows no order of rows, but a frame has one: number them.
        return content_manifest(self._labels.with_row_index("row number")).digest

    def ordered(self, timestamp: str | None) -> pl.DataFrame:
        """Return the labels in their order, those of a table by `timestamp` first."""
        if not isinstance(self._labels, Snapshot):
            return self._labels
        return self._labels.to_polars().sort(self._order(timestamp))

    def scan(self, timestamp: str | None, folder: Path, memory: Memory) -> pl.LazyFrame:
        """Scan the labels in their order; those of a table may then be in files in the folder."""
        table = self.source
        if table is None or table.rows <= memory.rows_of(len(self.schema)):
            return self.ordered(timestamp).lazy()
        return sorted_scan(table.scan(), self._order(timestamp), folder, memory)

    def _order(self, timestamp: str | None) -> list[str]:
        first = [timestamp] if timestamp else []
        return [*first, *(name for name in self.schema if name not in first)]


def refuse_null_labels(labels: pl.LazyFrame, recipe: Recipe, where: str) -> None:
    """Refuse labels that are not known.

    Raises
    ------
    TrainingError
        Says how many there are, and shows three.
    """
    import polars as pl

    keys = [key for lookup in recipe.feature_lookups for key in lookup.lookup_key]
    shown = dict.fromkeys([*keys, *sorted(recipe.time_columns), recipe.label])
    unknown = labels.filter(pl.col(recipe.label).is_null()).select(list(shown)).collect()
    if unknown.height:
        examples = "; ".join(described_row(row) for row in unknown.head(_EXAMPLES).to_dicts())
        raise TrainingError(
            f"{where}: the label {recipe.label!r} must be set, but {counted(unknown.height)} a "
            f"NULL there. Examples: {examples}."
        )
