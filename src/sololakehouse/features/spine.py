"""The spine of a training set: its labels, from a table, a query or a frame, in a known order."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sololakehouse.errors import TrainingError
from sololakehouse.features.labels_query import LabelsQuery
from sololakehouse.features.recipe import Recipe
from sololakehouse.lake import Snapshot
from sololakehouse.lake.contract import counted, described_row
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.sorted_rows import sorted_scan
from sololakehouse.local_time import in_utc, naive_columns
from sololakehouse.provenance import TableVersion, order_digest

if TYPE_CHECKING:
    import polars as pl

Labels: TypeAlias = "Snapshot | LabelsQuery | pl.DataFrame"
Rows = TypeVar("Rows", "pl.DataFrame", "pl.LazyFrame")
_EXAMPLES = 3


class Spine:
    """Labels with their lookup keys and timestamps.

    A frame keeps the order of its rows. A table or a query has none: its rows are sorted by the
    recipe's timestamp, then by all their columns.

    Parameters
    ----------
    moments
        Columns of a table that have to be moments. Those without a time zone are read in `zone`.
        In a query and a frame that was done with all columns.
    zone
        Where clocks show them, as an IANA name; None: they stay as they are.
    """

    def __init__(self, labels: Labels, moments: Container[str], zone: str | None) -> None:
        self._labels = labels
        self._zone = zone
        self._local: tuple[str, ...] = ()
        if zone and isinstance(labels, Snapshot):
            self._local = naive_columns(labels.schema, moments)

    @property
    def table(self) -> Snapshot | None:
        """The table of the labels; None if a query or a frame gives them."""
        return self._labels if isinstance(self._labels, Snapshot) else None

    @property
    def source(self) -> str | None:
        """The table's name or the query, as in a recipe; None for a frame."""
        if isinstance(self._labels, LabelsQuery):
            return self._labels.text
        return self.table.name if self.table else None

    @property
    def inputs(self) -> tuple[TableVersion, ...]:
        """The versions of the tables that the labels come from; none for a frame."""
        if isinstance(self._labels, LabelsQuery):
            return self._labels.inputs
        return (self.table.table_version,) if self.table else ()

    @property
    def name(self) -> str:
        """The table, or `the labels`, for messages."""
        return self.table.name if self.table else "the labels"

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns with Polars' types; data is read of a query only."""
        import polars as pl

        return dict(self._labels.schema) | dict.fromkeys(self._local, pl.Datetime("us", "UTC"))

    @property
    def time_zone(self) -> str | None:
        """The zone, if timestamps were read in it; the query is run for that."""
        if isinstance(self._labels, LabelsQuery):
            return self._labels.zone if self._labels.has_local_time else None
        return self._zone if self._local else None

    @property
    def possible_zones(self) -> tuple[str | None, ...]:
        """What `time_zone` may be; no query is run."""
        if isinstance(self._labels, LabelsQuery):
            return tuple(dict.fromkeys((self._labels.zone, None)))
        return (self.time_zone,)

    @property
    def height(self) -> int:
        """The number of labels."""
        if isinstance(self._labels, Snapshot):
            return self._labels.rows
        frame = self._labels.rows if isinstance(self._labels, LabelsQuery) else self._labels
        return frame.height

    @cached_property
    def digest(self) -> str | None:
        """What a frame holds, in its order, or a query says; None for a table."""
        if isinstance(self._labels, Snapshot):
            return None
        if isinstance(self._labels, LabelsQuery):
            return self._labels.digest
        return order_digest(self._labels)

    def ordered(self, timestamp: str | None) -> pl.DataFrame:
        """Return the labels in their order, those of a table or query by `timestamp` first."""
        has_order = not isinstance(self._labels, Snapshot | LabelsQuery)
        return self.rows if has_order else in_order(self.rows, timestamp)

    @property
    def rows(self) -> pl.DataFrame:
        """The labels, those of a table or query in no order."""
        if isinstance(self._labels, Snapshot):
            return self.in_utc(self._labels.to_polars())
        return self._labels.rows if isinstance(self._labels, LabelsQuery) else self._labels

    def scan(self, timestamp: str | None, folder: Path, memory: Memory) -> pl.LazyFrame:
        """Scan the labels in their order; those of a table may then be in files in the folder."""
        table = self.table
        if table is None or memory.holds_labels(table.rows, len(self.schema)):
            return self.ordered(timestamp).lazy()
        order = [*([timestamp] if timestamp else []), *(n for n in self.schema if n != timestamp)]
        return sorted_scan(self.in_utc(table.scan()), order, folder, memory)

    def in_utc(self, rows: Rows) -> Rows:
        """Return rows of the labels' table with their moments in UTC, whatever their version.

        Raises
        ------
        FeatureLookupError
            A time is not one moment in the zone.
        """
        if not self._local:
            return rows
        found = in_utc(rows.lazy(), self._local, self._zone, self.name)
        return found if isinstance(rows, type(found)) else found.collect()  # type: ignore[return-value]

    @property
    def sortable_table(self) -> Snapshot | None:
        """The table of the labels, if every engine can read it and sort it by all its columns."""
        nested = any(kind.is_nested() for kind in self.schema.values())
        return None if nested or self._local else self.table

    def without_label(self, recipe: Recipe) -> pl.DataFrame:
        """Return the rows whose label is NULL, in their order."""
        import polars as pl

        unknown = pl.col(recipe.label).is_null()
        if self.table is None:
            return self.ordered(recipe.timestamp).filter(unknown)
        rows = self.table.scan().filter(unknown).collect()
        return in_order(self.in_utc(rows), recipe.timestamp)


def in_order(
    labels: pl.DataFrame, timestamp: str | None, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """Sort labels by `timestamp`, then by the columns of the labels; None: by all there are."""
    first = [timestamp] if timestamp else []
    return labels.sort([*first, *(name for name in columns or labels.columns if name != timestamp)])


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
