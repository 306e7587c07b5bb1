"""Replaying a pipeline: clip the sources, run it, compare; at one moment after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import RunError, UsageError
from sololakehouse.features.certificates import definitions_before
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.staging import staging_folder
from sololakehouse.replay.causes import find_causes
from sololakehouse.replay.clipping import Mode, clipped, spoiled, still_later
from sololakehouse.replay.comparing import ROWS, Compared, compare
from sololakehouse.replay.cutoffs import chosen_cutoffs, refuse_outside
from sololakehouse.replay.dating import DatedTable, dated_table, moments_again
from sololakehouse.replay.planning import plan_replay
from sololakehouse.replay.scratch import Scratch, scratch_lakehouse
from sololakehouse.replay.training_sets import SetUnderReplay
from sololakehouse.replay.verdicts import Findings, Leak, ReplayReport, SourceCoverage

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[str, int, int], None]
DEFAULT_CUTOFFS = 8


@dataclass(frozen=True)
class ReplayRequest:
    """What to replay.

    Attributes
    ----------
    at
        The cutoffs, with time zones; empty: `cutoffs` of them are chosen.
    select
        Feature tables and training sets by name or pattern; empty: all.
    parallel
        How many steps run side by side; None: as many as cores and free memory allow.
    """

    at: tuple[datetime, ...] = ()
    cutoffs: int = DEFAULT_CUTOFFS
    seed: int = 0
    modes: tuple[Mode, ...] = ("truncate",)
    select: tuple[str, ...] = ()
    parallel: int | None = None
    spec: Path | None = None


class Replay:
    """One replay of a project's pipeline.

    Parameters
    ----------
    progress
        Is told what begins now, how many pipeline runs are done, and of how many.

    Attributes
    ----------
    plan
        What is clipped, computed and compared.

    Raises
    ------
    NotFoundError, ConfigError, UsageError
        The request or the declarations do not fit the project.
    RunError
        Tables are not up to date.
    """

    def __init__(
        self, lake: Lakehouse, request: ReplayRequest, progress: Progress | None = None
    ) -> None:
        self._began = time.perf_counter()
        self.plan = plan_replay(lake, request.select, request.spec)
        self._lake = lake
        self._request = request
        self._progress = progress or _silent
        self._begun = 0
        self._dated: dict[str, DatedTable] = {}
        self._sets = {
            one.name: SetUnderReplay(lake, one)
            for one in self.plan.training_sets
            if one.spec.labels is not None
        }
        self._findings = self._all_findings()
        self._full: dict[str, pl.DataFrame] = {}
        self._runs = 0

    def run(self) -> ReplayReport:
        """Replay at all cutoffs, and compare with what the project's tables hold.

        Raises
        ------
        UsageError
            A cutoff lies outside of what becomes known.
        RunError
            A step fails on clipped sources.
        """
        cutoffs: Sequence[datetime] = ()
        if self.plan.clipped:
            with staging_folder(self._lake.project.warehouse) as folder:
                cutoffs = self._run_in(folder)
        else:
            self._all_are_static()
        settings = self._lake.project.settings
        return ReplayReport(
            settings.name,
            settings.engine_name,
            tuple(cutoffs),
            self._request.modes,
            self._request.seed,
            self._coverage(),
            tuple(findings.verdict() for findings in self._findings.values()),
            definitions_before(self._lake, self._roots()),
            self._runs,
            time.perf_counter() - self._began,
        )

    def _run_in(self, folder: Path) -> Sequence[datetime]:
        self._progress("when each row was known", 0, 0)
        self._date(folder)
        cutoffs = self._cutoffs()
        total = 1 + len(cutoffs) * len(self._request.modes)
        whole = {name: self._rows_of(dated) for name, dated in self._dated.items()}
        with scratch_lakehouse(self._lake, self.plan, whole, self._request.parallel) as scratch:
            self._progress("the noise floor: nothing is clipped", 0, total)
            self._compute(scratch, self.plan.computed)
            self._find_noise(scratch)
            for cutoff in cutoffs:
                for mode in self._request.modes:
                    self._begun += 1
                    self._progress(f"{mode} at {cutoff:%Y-%m-%d %H:%M}", self._begun, total)
                    self._replay_at(scratch, cutoff, mode)
            self._progress("", total, total)
        return cutoffs

    def _date(self, folder: Path) -> None:
        with self._lake.engine() as engine:
            for name, knowledge in self.plan.clipped.items():
                place = folder / name
                place.mkdir()
                snapshot = self._lake.read(name)
                self._dated[name] = dated_table(self._lake, snapshot, knowledge, place, engine)

    def _cutoffs(self) -> list[datetime]:
        bounds = [found for dated in self._dated.values() if (found := dated.bounds())]
        if not bounds:
            raise UsageError(
                "By 'known_at' in lakehouse.yml nothing is known at any moment: all moments are "
                "NULL. Correct its expressions."
            )
        first, last = min(one for one, _ in bounds), max(one for _, one in bounds)
        moments = self._moments_of_targets()
        if self._request.at:
            given = sorted({moment.astimezone(UTC) for moment in self._request.at})
            refuse_outside(given, first, last)
            return given
        begin = max(first, min(moments, default=first))
        end = min(last, max(moments, default=last))
        if begin >= end:
            begin, end = first, last
        return chosen_cutoffs(begin, end, self._request.cutoffs, self._request.seed)

    def _moments_of_targets(self) -> list[datetime]:
        import polars as pl

        found: list[Any] = []
        for name, contract in self.plan.feature_tables.items():
            if contract.timestamp and name in self.plan.felt:
                moment = pl.col(contract.timestamp)
                scan = self._lake.read(name).scan()
                found += scan.select(moment.min(), moment.max().alias("last")).collect().row(0)
        return [moment for moment in found if moment is not None]

    def _compute(self, scratch: Scratch, tables: Sequence[str]) -> None:
        scratch.run(tables)
        self._runs += 1

    def _find_noise(self, scratch: Scratch) -> None:
        """Note the columns that differ although nothing was clipped."""
        for name in self._compared_tables():
            self._findings[name].unsettled = _names(self._table_compared(scratch, name, None))
        for name, one in self._compared_sets().items():
            self._findings[name].unsettled = _names(one.compared(scratch.lake, None))

    def _replay_at(self, scratch: Scratch, cutoff: datetime, mode: Mode) -> None:
        if mode == "truncate":
            scratch.fill({name: clipped(one, cutoff) for name, one in self._dated.items()})
            self._compute(scratch, self.plan.computed)
        else:
            try:
                self._spoil(scratch, cutoff)
            except RunError as error:
                self._could_not_spoil(cutoff, error)
                return
        found = self._compare(scratch, cutoff, mode)
        if found and mode == "truncate":
            self._explain(scratch, cutoff, found)

    def _spoil(self, scratch: Scratch, cutoff: datetime) -> None:
        """Fill the sources with rows that are made up after the cutoff, and run the pipeline.

        When made-up rows would be known is asked of the declarations, which may read tables of
        the pipeline; what would be known by the cutoff is clipped.
        """
        made = {n: spoiled(one, cutoff, self._request.seed) for n, one in self._dated.items()}
        names = {name: list(one.snapshot.columns) for name, one in self._dated.items()}
        scratch.fill({name: rows.select(names[name]) for name, rows in made.items()})
        dating = self.plan.tables_of_dating
        if dating:
            scratch.run(dating)
        with staging_folder(self._lake.project.warehouse) as folder:
            moments = {
                name: moments_again(scratch.lake, one, self.plan.clipped[name], made[name], folder)
                for name, one in self._dated.items()
            }
        scratch.fill(
            {n: still_later(one, made[n], moments[n], cutoff) for n, one in self._dated.items()}
        )
        self._compute(scratch, self.plan.computed)

    def _could_not_spoil(self, cutoff: datetime, error: RunError) -> None:
        said = str(error).splitlines()[0]
        for name in (*self._compared_tables(), *self._compared_sets()):
            self._findings[name].failures.append(
                f"with spoiled rows after {cutoff:%Y-%m-%d %H:%M} the pipeline failed: {said}"
            )

    def _compare(self, scratch: Scratch, cutoff: datetime, mode: Mode) -> dict[str, list[Leak]]:
        found: dict[str, list[Leak]] = {}
        for name in self._compared_tables():
            compared = self._table_compared(scratch, name, cutoff)
            found[name] = self._findings[name].add(compared, cutoff, mode)
        for name, one in self._compared_sets().items():
            compared = one.compared(scratch.lake, cutoff)
            self._findings[name].add(compared, cutoff, mode)
        return {name: leaks for name, leaks in found.items() if leaks}

    def _explain(self, scratch: Scratch, cutoff: datetime, found: dict[str, list[Leak]]) -> None:
        """Look for the source rows that change the examples, once for each column."""
        first = {
            name: [leak for leak in leaks if self._findings[name].leaks[_column(leak)] == [leak]]
            for name, leaks in found.items()
        }
        first = {name: leaks for name, leaks in first.items() if leaks}
        if not first:
            return
        causes = find_causes(scratch, self.plan, self._dated, cutoff, first)
        for (name, leak), found_causes in causes:
            self._findings[name].explain(leak, found_causes)

    def _compared_tables(self) -> list[str]:
        return [name for name in self.plan.feature_tables if name in self.plan.felt]

    def _compared_sets(self) -> dict[str, SetUnderReplay]:
        felt = self.plan.felt
        return {name: one for name, one in self._sets.items() if felt & set(one.one.tables)}

    def _table_compared(self, scratch: Scratch, name: str, cutoff: datetime | None) -> Compared:
        contract = self.plan.feature_tables[name]
        full = self._full_slice(name, contract, cutoff)
        replayed = _slice(scratch.lake.read(name).scan(), contract, cutoff).collect()
        columns = [column for column in full.columns if column not in contract.identity]
        return compare(full, replayed, contract.identity, contract.timestamp, columns)

    def _full_slice(
        self, name: str, contract: FeatureContract, cutoff: datetime | None
    ) -> pl.DataFrame:
        if name not in self._full:
            self._full[name] = self._lake.read(name).to_polars()
        return _slice(self._full[name].lazy(), contract, cutoff).collect()

    def _rows_of(self, dated: DatedTable) -> pl.LazyFrame:
        return dated.snapshot.scan()

    def _all_findings(self) -> dict[str, Findings]:
        found = {}
        for name, contract in self.plan.feature_tables.items():
            columns = [c for c in self._lake.read(name).columns if c not in contract.identity]
            uncovered = self.plan.uncovered.get(name)
            found[name] = Findings(name, "feature table", [ROWS, *columns], uncovered)
        for one in self.plan.training_sets:
            uncovered = self.plan.uncovered.get(one.name)
            if one.name not in self._sets:
                uncovered = "its labels came as a frame, which cannot be clipped"
                found[one.name] = Findings(one.name, "training set", [ROWS], uncovered)
                continue
            columns = list(self._sets[one.name].compared_columns)
            unjudged = {}
            if one.spec.label_known_at is None:
                said = "the recipe does not say when it was known: 'label_known_at'"
                unjudged = {one.spec.label: said}
                columns.append(one.spec.label)
            found[one.name] = Findings(
                one.name, "training set", [ROWS, *columns], uncovered, unjudged=unjudged
            )
        for name in found:
            self._settle_static(found[name])
        return found

    def _settle_static(self, findings: Findings) -> None:
        """Count a table as compared that nothing leads to but what was always known."""
        reached = self.plan.sources_of([findings.table, *self._tables_of_set(findings.table)])
        if not reached and findings.uncovered is None:
            findings.cutoffs = 1

    def _tables_of_set(self, name: str) -> tuple[str, ...]:
        return self._sets[name].one.tables if name in self._sets else ()

    def _all_are_static(self) -> None:
        self._progress("nothing becomes known over time", 1, 1)

    def _roots(self) -> list[str]:
        of_sets = (table for one in self._sets.values() for table in one.one.tables)
        return [*self.plan.feature_tables, *of_sets]

    def _coverage(self) -> tuple[SourceCoverage, ...]:
        return tuple(
            SourceCoverage(
                name,
                self.plan.clipped[name].rows,
                self.plan.clipped[name].columns,
                dated.snapshot.rows,
                dated.unknown,
            )
            for name, dated in self._dated.items()
        )


def _slice(rows: pl.LazyFrame, contract: FeatureContract, cutoff: datetime | None) -> pl.LazyFrame:
    import polars as pl

    if cutoff is None:
        return rows
    return rows.filter(pl.col(column) <= cutoff for column in contract.times)


def _names(compared: Compared) -> frozenset[str]:
    return frozenset(difference.column for difference in compared.differences)


def _column(leak: Leak) -> str:
    return leak.difference.column


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
