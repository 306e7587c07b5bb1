"""The training set built again, against the one that was trained on: values and order of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.errors import shortened
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.evidence import row_order
from sololakehouse.provenance import content_manifest
from sololakehouse.rebuild.frames import ColumnDifference, column_differences, moved_rows
from sololakehouse.rebuild.links import Finding
from sololakehouse.rebuild.tables import differing_columns

if TYPE_CHECKING:
    import polars as pl

_SHOWN = 3


@dataclass(frozen=True)
class BuiltAgain:
    """A training set that was built again, and what was found when it was compared."""

    frame: pl.DataFrame
    feature: Finding
    order: Finding


def compared(saved: Snapshot, frame: pl.DataFrame, recorded_order: str | None) -> BuiltAgain:
    """Compare a training set that was built again with the saved version that was trained on.

    Parameters
    ----------
    recorded_order
        Digest of the order of rows, as the training noted it; None: that of the saved version.
    """
    before = saved.to_polars()
    return BuiltAgain(frame, _feature(saved, before, frame), _order(before, frame, recorded_order))


def _feature(saved: Snapshot, before: pl.DataFrame, after: pl.DataFrame) -> Finding:
    now = content_manifest(after)
    was = saved.record.manifest if saved.record and saved.record.manifest.is_current else None
    was = was or content_manifest(before)
    if now == was:
        said = f"{saved.table_version}: {now.rows:,} rows and {len(now.columns)} columns are equal."
        return Finding("feature", "same", said)
    columns = differing_columns(was, now)
    both = [name for name in columns if name in before.columns and name in after.columns]
    found = column_differences(before, after, both, _anchors(saved, before, after))
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


def _anchors(saved: Snapshot, before: pl.DataFrame, after: pl.DataFrame) -> list[str]:
    """Return the columns of the labels: what no lookup and no function made."""
    record = saved.record
    if record is None or "recipe" not in record.details:
        return []
    recipe = TrainingSetSpec.model_validate(record.details["recipe"])
    names = [recipe.label, *sorted(recipe.time_columns)]
    names += [key for lookup in recipe.feature_lookups for key in lookup.lookup_key]
    both = set(before.columns) & set(after.columns)
    return [name for name in dict.fromkeys(names) if name in both]


def _order(before: pl.DataFrame, after: pl.DataFrame, recorded: str | None) -> Finding:
    if row_order(after) == (recorded or row_order(before)):
        return Finding("row order", "same", "The rows stand in the order of the training.")
    comparable = before.columns == after.columns and before.height == after.height
    if not comparable or content_manifest(before) != content_manifest(after):
        said = "The rows are not the same, so their order is not either."
        return Finding("row order", "not compared", said)
    moved = moved_rows(before, after)
    if not moved:
        said = "The saved rows stand in another order than the one that was recorded."
        return Finding("row order", "differs", said)
    said = f"{moved:,} of {before.height:,} places hold another row."
    return Finding("row order", "differs", said, {"moved": moved, "rows": before.height})


def build(lake: Lakehouse, reference: str) -> pl.DataFrame:
    """Build a training set again on the versions that it was made from; nothing is saved."""
    from sololakehouse.features.saved import open_training_set

    return open_training_set(lake, reference).to_polars()
