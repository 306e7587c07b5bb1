"""Stored predictions and new rows: which of the stored ones hold, so that only the new are scored.

They hold if the input has only grown, and if no row that was scored can see a row that a feature
table has gained. Then stored and new predictions are exactly those of scoring everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sololakehouse.errors import NotFoundError, RunError
from sololakehouse.features.extension import obstacle_in
from sololakehouse.features.requests import FeatureRequest
from sololakehouse.inference.scoring_input import ScoringInput, TableInput
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.appended import appended_files
from sololakehouse.provenance import TableVersion


@dataclass(frozen=True)
class NewRows:
    """The rows that a table gained since it was scored.

    Attributes
    ----------
    table
        The table as it is now.
    files
        Those that hold the new rows; there may be none.
    kept
        How many stored predictions stay.
    """

    table: Snapshot
    files: tuple[Path, ...]
    kept: int

    def write(self, file: Path) -> None:
        """Write the new rows as an Arrow file."""
        import polars as pl

        schema = self.table.schema
        if not self.files:
            pl.DataFrame(schema=schema).write_ipc(file)
            return
        scan = pl.scan_parquet(list(self.files), schema=schema, missing_columns="insert")
        scan.sink_ipc(file)


def new_rows(
    lake: Lakehouse,
    stored: Snapshot | None,
    source: ScoringInput,
    request: FeatureRequest | None,
    is_of: Callable[[Snapshot, Sequence[TableVersion]], bool],
) -> tuple[NewRows | None, str]:
    """Return the rows to score beside the stored predictions, or None and why all are scored.

    Parameters
    ----------
    stored
        The newest version of the predictions.
    request
        What the rows of a table need; None for another source.
    is_of
        Whether predictions are those of the same model and settings, from some versions.
    """
    try:
        why_not = next(_obstacles(lake, stored, source, request, is_of), None)
        if why_not is not None:
            return None, why_not
        assert stored is not None
        assert isinstance(source, TableInput)
        since = _pins(stored)[source.snapshot.name].version
        files = appended_files(source.snapshot, since)
    except (NotFoundError, RunError) as error:
        return None, str(error)
    return NewRows(source.snapshot, tuple(files), stored.rows), ""


def _obstacles(
    lake: Lakehouse,
    stored: Snapshot | None,
    source: ScoringInput,
    request: FeatureRequest | None,
    is_of: Callable[[Snapshot, Sequence[TableVersion]], bool],
) -> Iterator[str]:
    if stored is None:
        yield "there were no predictions before"
        return
    if not isinstance(source, TableInput) or request is None:
        yield "the input is no table, so which of its rows are new cannot be told"
        return
    if stored.record is None or not is_of(stored, stored.record.inputs):
        yield "the stored predictions are of another model, input or setting"
        return
    table = source.snapshot
    before = lake.read(table.name, _pins(stored)[table.name].version)
    if (before.table_id, before.schema) != (table.table_id, table.schema):
        yield f"the columns of {table.name} changed"
    scored = request.in_utc(before.scan())
    for plan in request.lookups:
        then = lake.read(plan.table.name, _pins(stored)[plan.table.name].version)
        found = obstacle_in(plan, then, scored, known_on_a_fixed_day=False)
        if found:
            yield found.replace("earlier labels", "earlier rows")


def _pins(stored: Snapshot) -> dict[str, TableVersion]:
    return {pin.table: pin for pin in stored.record.inputs} if stored.record else {}
