"""A saved training set and new labels: looked up for the new ones, and the stored rows kept.

The stored rows hold if the labels' table has only grown, and if no old label can see a row that a
feature table has gained. Then the result is exactly that of a whole computation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from sololakehouse.errors import NotFoundError, RunError
from sololakehouse.features.join import LookupReport, PlannedLookup
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.spine import Spine, in_order
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl

LOOKUPS = "lookups"
Computed: TypeAlias = "tuple[pl.DataFrame, tuple[LookupReport, ...]]"


@dataclass(frozen=True)
class Extension:
    """What a training set keeps of its saved version.

    Attributes
    ----------
    saved
        The newest version of the training set, made by the same recipe, rules and functions.
    spine
        The labels, with the zone in which their times are read.
    labels
        The table of the labels as it is now.
    recipe
        How labels become the training set.
    plans
        The lookups on the feature tables as they are now.
    """

    lake: Lakehouse
    saved: Snapshot
    spine: Spine
    labels: Snapshot
    recipe: Recipe
    plans: Sequence[PlannedLookup]

    def obstacle(self) -> str | None:
        """Say why the stored rows do not hold; None if they do."""
        try:
            return next(self._obstacles(), None)
        except (NotFoundError, RunError) as error:
            return str(error)

    def rows(self, columns: Sequence[str], compute: Callable[[pl.DataFrame], Computed]) -> Computed:
        """Return the stored rows and those of the new labels, in the order of all labels.

        Parameters
        ----------
        columns
            The columns of the result.
        compute
            Gives the rows of labels, and what the lookups found.
        """
        import polars as pl

        new = in_order(self.spine.in_utc(self._added.collect()), self.recipe.timestamp)
        found, reports = compute(new)
        others = [name for name in columns if name not in new.columns]
        parts = [
            labels.hstack(rows.select(others))
            for labels, rows in ((self._old, self._stored), (new, found))
        ]
        whole = in_order(pl.concat(parts), self.recipe.timestamp, new.columns)
        stored = self.saved.record.details[LOOKUPS] if self.saved.record else ()
        both = zip(reports, stored, strict=True)
        return whole.select(columns), tuple(new.plus(old) for new, old in both)

    @property
    def reused(self) -> dict[str, int]:
        """Which version's rows are kept, and how many."""
        return {"version": self.saved.version, "rows": self._stored.height}

    def _obstacles(self) -> Iterator[str]:
        if self.labels.name not in self._pins:
            yield "its labels came from another table"
        before = self._labels_before
        if before.table_id != self.labels.table_id or before.schema != self.labels.schema:
            yield f"the columns of {self.labels.name} changed"
        if lost_rows(self.labels, before):
            yield f"rows of {self.labels.name} were changed or removed"
        for plan in self.plans:
            yield from self._obstacles_in(plan)
        kept = [name for name in self._stored.columns if name in self._old.columns]
        if not self._stored.select(kept).equals(self._old.select(kept)):
            yield f"the rows of {self.saved.name} are not in the order of its labels"

    def _obstacles_in(self, plan: PlannedLookup) -> Iterator[str]:
        before = self._before(plan.table.name)
        fixed = self.recipe.known_as_of is not None
        found = obstacle_in(plan, before, self._old.lazy(), known_on_a_fixed_day=fixed)
        if found:
            yield found

    def _before(self, table: str) -> Snapshot:
        pin = self._pins[table]
        return self.lake.read(table, pin.version)

    @cached_property
    def _stored(self) -> pl.DataFrame:
        return self.saved.to_polars()

    @cached_property
    def _old(self) -> pl.DataFrame:
        before = self.spine.in_utc(self._labels_before.to_polars())
        return in_order(before, self.recipe.timestamp)

    @property
    def _added(self) -> pl.LazyFrame:
        return self.labels.scans_beside(self._labels_before)[0]

    @cached_property
    def _labels_before(self) -> Snapshot:
        return self._before(self.labels.name)

    @property
    def _pins(self) -> dict[str, TableVersion]:
        inputs = self.saved.record.inputs if self.saved.record else ()
        return {pin.table: pin for pin in inputs}


def lost_rows(now: Snapshot, before: Snapshot) -> bool:
    """Whether a version lacks files of an older one; files that were only arranged count, too."""
    import polars as pl

    lost = now.scans_beside(before)[1]
    return bool(lost.select(pl.len()).collect().item())


def obstacle_in(
    plan: PlannedLookup, before: Snapshot, old: pl.LazyFrame, *, known_on_a_fixed_day: bool
) -> str | None:
    """Say why the features that earlier rows have may be others now; None if they are the same.

    Parameters
    ----------
    plan
        A lookup on a feature table as it is now.
    before
        The feature table as it was when the features were looked up.
    old
        The earlier rows, with lookup keys and timestamps.
    known_on_a_fixed_day
        Whether a feature row need not be known at the moment of the row that looks it up.
    """
    table = plan.table.snapshot
    if before.table_version.content == table.table_version.content:
        return None
    same = (before.table_id, before.schema, before.contract)
    if same != (table.table_id, table.schema, table.contract):
        return f"the columns or keys of {table.name} changed"
    if lost_rows(table, before):
        return f"rows of {table.name} were changed or removed"
    added = table.scans_beside(before)[0]
    if _are_seen(plan, added, old, known_on_a_fixed_day=known_on_a_fixed_day):
        return f"{table.name} gained rows that earlier labels see"
    return None


def _are_seen(
    plan: PlannedLookup, added: pl.LazyFrame, old: pl.LazyFrame, *, known_on_a_fixed_day: bool
) -> bool:
    """Whether an earlier row can see one of the rows that a feature table gained."""
    import polars as pl

    contract, lookup = plan.table.contract, plan.lookup
    if lookup.timestamp_lookup_key is not None:
        times = contract.times[:1] if known_on_a_fixed_day else contract.times
        latest = old.select(pl.col(lookup.timestamp_lookup_key).max()).collect().item()
        added = added.filter(pl.max_horizontal(times) <= pl.lit(latest))
    asked = old.select(lookup.lookup_key)
    keys = {"left_on": list(contract.keys), "right_on": list(lookup.lookup_key)}
    seen = added.join(asked, how="semi", **keys)  # type: ignore[arg-type]
    return bool(seen.select(pl.len()).collect(engine="streaming").item())
