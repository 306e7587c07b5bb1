"""The feature tables of a lakehouse: what each holds, in which definition, and how it changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sololakehouse.features.tables import FeatureTable
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.definition import Definition, DefinitionDiff, last_definition
from sololakehouse.lake.diff import TableDiff
from sololakehouse.lake.diff import diff as row_diff
from sololakehouse.lake.feature_statistics import ColumnStatistics, Scalar


@dataclass(frozen=True)
class CatalogEntry:
    """A feature table in a few words.

    Attributes
    ----------
    newest
        The greatest timestamp, in UTC; None without rows or without a timestamp.
    definition
        The definition that the newest version has; None if its commits keep none.
    """

    table: str
    version: int
    keys: tuple[str, ...]
    timestamp: str | None
    known_at: str | None
    features: tuple[str, ...]
    rows: int
    newest: datetime | None
    definition: Definition | None


def catalog_entry(table: FeatureTable) -> CatalogEntry:
    """Describe a feature table; of its rows at most the timestamps are read."""
    return CatalogEntry(
        table=table.name,
        version=table.version,
        keys=table.contract.keys,
        timestamp=table.contract.timestamp,
        known_at=table.contract.known_at,
        features=table.features,
        rows=table.snapshot.rows,
        newest=table.newest_timestamp,
        definition=last_definition(table.snapshot),
    )


@dataclass(frozen=True)
class FeatureMove:
    """A statistic of a feature that is another one in another version.

    Attributes
    ----------
    measure
        `nulls`, `not finite`, `distinct`, `minimum`, `maximum`, `mean`, or a quantile as `95%`.
    before, after
        None where there is no such value.
    """

    feature: str
    measure: str
    before: Scalar | None
    after: Scalar | None


@dataclass(frozen=True)
class FeatureDiff:
    """What is different between two versions of a feature table.

    Attributes
    ----------
    old, new
        The definitions of both; None if the commits keep none.
    definition
        How they differ; None if one of them is not known.
    moves
        Of the features that both versions have.
    rows
        The rows that were added, removed and changed, and the columns.
    """

    old: Definition | None
    new: Definition | None
    definition: DefinitionDiff | None
    moves: tuple[FeatureMove, ...]
    rows: TableDiff

    def as_dict(self) -> dict[str, Any]:
        """Return the differences as JSON-like values."""
        return {
            "definition": {
                "old": self.old.short if self.old else None,
                "new": self.new.short if self.new else None,
                "diff": asdict(self.definition) if self.definition else None,
            },
            "statistics": [asdict(move) for move in self.moves],
            **self.rows.as_dict(),
        }


def feature_diff(lake: Lakehouse, old: str, new: str, examples: int = 0) -> FeatureDiff:
    """Compare two versions of a feature table: definition, columns, statistics and rows.

    Parameters
    ----------
    old, new
        References to versions of one table, such as `features.origin_weather@v3`.
    examples
        Greatest number of rows to show of each kind.

    Raises
    ------
    NotFoundError
        There is no such table or version.
    FeatureLookupError
        The table is no feature table.
    UsageError
        The references are of two tables, or mean the same version.
    """
    before, after = (FeatureTable.open(lake, reference) for reference in (old, new))
    rows = row_diff(before.snapshot, after.snapshot, examples=examples)
    was, now = (last_definition(table.snapshot) for table in (before, after))
    difference = DefinitionDiff.of(was, now) if was and now else None
    return FeatureDiff(was, now, difference, tuple(_moves(before, after)), rows)


def _moves(before: FeatureTable, after: FeatureTable) -> Iterator[FeatureMove]:
    old, new = before.statistics.columns, after.statistics.columns
    for feature in new:
        if feature not in old:
            continue
        measures, measures_now = _measures(old[feature]), _measures(new[feature])
        for name in dict.fromkeys((*measures, *measures_now)):
            then, now = measures.get(name), measures_now.get(name)
            if then != now:
                yield FeatureMove(feature, name, then, now)


def _measures(found: ColumnStatistics) -> Mapping[str, Scalar | None]:
    return {
        "nulls": found.nulls,
        "not finite": found.not_finite,
        "distinct": found.distinct,
        "mean": found.mean,
        "minimum": found.minimum,
        **found.quantiles,
        "maximum": found.maximum,
    }
