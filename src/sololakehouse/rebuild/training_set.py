"""The training set built again, against the one that was trained on: values and order of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.errors import shortened
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.provenance import content_manifest, order_digest
from sololakehouse.rebuild.frames import (
    ColumnDifference,
    column_differences,
    height,
    moved_rows,
)
from sololakehouse.rebuild.links import Finding
from sololakehouse.rebuild.tables import differing_columns

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from sololakehouse.features.training_set import TrainingSet

_SHOWN = 3


@dataclass(frozen=True)
class BuiltAgain:
    """A training set that was built again, and what was found when it was compared."""

    rows: pl.LazyFrame
    feature: Finding
    order: Finding


def compared(saved: Snapshot, rows: pl.LazyFrame, recorded_order: str | None) -> BuiltAgain:
    """Compare a training set that was built again with the saved version that was trained on.

    Neither is held in memory: they are compared batch by batch, and where they differ column by
    column.

    Parameters
    ----------
    recorded_order
        Digest of the order of rows, as the training noted it; None: that of the saved version.
    """
    before = saved.scan()
    return BuiltAgain(rows, _feature(saved, before, rows), _order(before, rows, recorded_order))


def _feature(saved: Snapshot, before: pl.LazyFrame, after: pl.LazyFrame) -> Finding:
    now = content_manifest(after)
    was = saved.record.manifest if saved.record and saved.record.manifest.is_current else None
    was = was or content_manifest(before)
    if now == was:
        said = f"{saved.table_version}: {now.rows:,} rows and {len(now.columns)} columns are equal."
        return Finding("feature", "same", said)
    columns = differing_columns(was, now)
    common = _common(before, after)
    both = [name for name in columns if name in common]
    found = column_differences(before, after, both, _anchors(saved, common))
    figures = {
        "columns": [one.as_json() for one in found],
        "rows": {"recorded": was.rows, "now": now.rows},
    }
    return Finding("feature", "differs", _said(saved, columns, found, was.rows, now.rows), figures)


def _said(
    saved: Snapshot, columns: list[str], found: list[ColumnDifference], was: int, now: int
) -> str:
    counted = [str(one) for one in found]
    alone = set(columns) - {one.column for one in found}
    counted += [f"{name} in one of both only" for name in columns if name in alone]
    listed = shortened(counted, _SHOWN) or "the same values stand in other rows"
    rows = "" if was == now else f" It has {now:,} rows instead of {was:,}."
    return f"{saved.table_version}: {listed}.{rows}"


def _common(before: pl.LazyFrame, after: pl.LazyFrame) -> set[str]:
    return set(before.collect_schema()) & set(after.collect_schema())


def _anchors(saved: Snapshot, common: set[str]) -> list[str]:
    """Return the columns of the labels: what no lookup and no function made."""
    record = saved.record
    if record is None or "recipe" not in record.details:
        return []
    recipe = TrainingSetSpec.model_validate(record.details["recipe"])
    names = [recipe.label, *sorted(recipe.time_columns)]
    names += [key for lookup in recipe.feature_lookups for key in lookup.lookup_key]
    return [name for name in dict.fromkeys(names) if name in common]


def _order(before: pl.LazyFrame, after: pl.LazyFrame, recorded: str | None) -> Finding:
    if order_digest(after) == (recorded or order_digest(before)):
        return Finding("row order", "same", "The rows stand in the order of the training.")
    rows = height(before)
    same = [one.collect_schema().names() for one in (before, after)]
    comparable = same[0] == same[1] and rows == height(after)
    if not comparable or content_manifest(before) != content_manifest(after):
        said = "The rows are not the same, so their order is not either."
        return Finding("row order", "not compared", said)
    moved = moved_rows(before, after)
    if not moved:
        said = "The saved rows stand in another order than the one that was recorded."
        return Finding("row order", "differs", said)
    said = f"{moved:,} of {rows:,} places hold another row."
    return Finding("row order", "differs", said, {"moved": moved, "rows": rows})


def build(lake: Lakehouse, reference: str, file: Path) -> pl.LazyFrame:
    """Build a training set again, on the versions that it was made from, into a Parquet file."""
    from sololakehouse.features.saved import open_training_set

    return written(open_training_set(lake, reference), file)


def written(training_set: TrainingSet, file: Path) -> pl.LazyFrame:
    """Write a training set to a Parquet file, and return what is in it."""
    import polars as pl

    training_set.write(file)
    return pl.scan_parquet(file)
