"""Replaying a pipeline: clip the sources, run it, compare; at one moment after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from sololakehouse.errors import RunError, RunFailedError, StepError, UsageError
from sololakehouse.features.certificates import definitions_before
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.staging import staging_folder
from sololakehouse.replay.causes import Causes
from sololakehouse.replay.clipping import Mode, clipped, spoiled, still_later
from sololakehouse.replay.comparing import ROWS, Compared, compare
from sololakehouse.replay.cutoffs import chosen_cutoffs, refuse_outside
from sololakehouse.replay.dating import DatedTable, dated_table, moments_again
from sololakehouse.replay.findings import findings_for
from sololakehouse.replay.lanes import Lanes, side_by_side
from sololakehouse.replay.narrowing import Budget
from sololakehouse.replay.planning import plan_replay
from sololakehouse.replay.revealing import Target
from sololakehouse.replay.scratch import Scratch, scratch_lakehouse
from sololakehouse.replay.splits import findings_of
from sololakehouse.replay.training_sets import SetUnderReplay
from sololakehouse.replay.verdicts import ReplayReport, SourceCoverage

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[str, int, int], None]
Job: TypeAlias = "tuple[datetime, Mode]"
DEFAULT_CUTOFFS = 8
DEFAULT_CAUSE_RUNS = 32


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
        How many cutoffs are replayed side by side; None: as many as cores and memory allow.
    cause_runs
        How many recomputations may be made to find the source rows that make the leaks.
    """

    at: tuple[datetime, ...] = ()
    cutoffs: int = DEFAULT_CUTOFFS
    seed: int = 0
    modes: tuple[Mode, ...] = ("truncate",)
    select: tuple[str, ...] = ()
    parallel: int | None = None
    spec: Path | None = None
    cause_runs: int = DEFAULT_CAUSE_RUNS


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
        self._dated: dict[str, DatedTable] = {}
        self._sets = {
            one.name: SetUnderReplay(lake, one)
            for one in self.plan.training_sets
            if one.spec.labels is not None
        }
        self._findings = findings_for(lake, self.plan, self._sets)
        self._full: dict[str, pl.DataFrame] = {}
        self._compared: dict[Job, dict[str, Compared]] = {}
        self._explaining = Lock()
        self._causes = Causes(Budget(request.cause_runs, self._tell))
        self._done = (0, 0)
        self._noise_is_known = False
        self._finding_noise = Lock()
        self._joined_at: datetime | None = None
        self._additions: Mapping[str, Sequence[str]] = {}
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
        verdicts = {name: findings.verdict() for name, findings in self._findings.items()}
        return ReplayReport(
            settings.name,
            settings.engine_name,
            tuple(cutoffs),
            self._request.modes,
            self._request.seed,
            self._coverage(),
            tuple(verdicts.values()),
            definitions_before(self._lake, self._roots()),
            self._runs,
            self._causes.budget.made,
            time.perf_counter() - self._began,
            tuple(
                finding
                for name, one in self._sets.items()
                for finding in findings_of(one, verdicts[name])
            ),
        )

    def _run_in(self, folder: Path) -> Sequence[datetime]:
        self._tell("when each row was known")
        self._date(folder)
        cutoffs = self._cutoffs()
        self._joined_at = max(cutoffs)
        jobs = [(cutoff, mode) for cutoff in cutoffs for mode in self._request.modes]
        lanes = Lanes.of(self._request.parallel, len(jobs))
        empty = {name: dated.snapshot.scan().head(0) for name, dated in self._dated.items()}
        opened = partial(
            scratch_lakehouse, self._lake, self.plan, empty, lanes.steps, self._additions
        )
        self._run_jobs(jobs, opened, lanes.count)
        return cutoffs

    def _run_jobs(
        self,
        jobs: Sequence[Job],
        opened: Callable[[], AbstractContextManager[Scratch]],
        lanes: int,
    ) -> None:
        """Run all jobs side by side, those with the most rows first."""
        works = [partial(self._replay_at, *job) for job in reversed(jobs)]
        names = [f"{mode} at {at:%Y-%m-%d %H:%M}" for at, mode in jobs[::-1]]
        self._done = (0, len(works))
        self._tell(names[0])
        for done, (number, _) in enumerate(side_by_side(works, opened, lanes), start=1):
            self._done = (done, len(works))
            self._tell(names[number])
        self._runs = len(works) + self._noise_is_known
        self._gather(jobs)

    def _tell(self, what: str) -> None:
        self._progress(what, *self._done)

    def _gather(self, jobs: Sequence[Job]) -> None:
        for cutoff, mode in jobs:
            for name, compared in self._compared[cutoff, mode].items():
                self._findings[name].add(compared, cutoff, mode)
        for (name, leak), causes in self._causes.found:
            self._findings[name].explain(leak, causes)

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

    def _ensure_noise(self, scratch: Scratch) -> None:
        """Run the pipeline once without clipping, in the lane that needs it first."""
        with self._finding_noise:
            if not self._noise_is_known:
                scratch.fill({name: one.snapshot.scan() for name, one in self._dated.items()})
                scratch.run(self.plan.computed)
                self._find_noise(scratch)
                self._noise_is_known = True

    def _find_noise(self, scratch: Scratch) -> None:
        """Note the columns that differ although nothing is clipped."""
        unsettled = {
            name: _names(self._table_compared(scratch, name, None))
            for name in self._compared_tables()
        }
        differ = {name for name, columns in unsettled.items() if columns}
        for name, one in self._compared_sets().items():
            compared = one.compared(scratch.lake, None, differ, joined=False)
            unsettled[name] = _names(compared)
        for name, columns in unsettled.items():
            self._findings[name].unsettled = columns

    def _replay_at(self, cutoff: datetime, mode: Mode, scratch: Scratch) -> None:
        try:
            if mode == "perturb":
                self._spoil(scratch, cutoff)
            else:
                scratch.fill({name: clipped(one, cutoff) for name, one in self._dated.items()})
                scratch.run(self.plan.computed)
        except (StepError, RunFailedError) as error:
            self._could_not_run(cutoff, mode, error)
            return
        self._after_run(scratch, cutoff, mode)

    def _after_run(self, scratch: Scratch, cutoff: datetime, mode: Mode) -> None:
        """Compare what the scratch lakehouse holds with the full history.

        What is equal needs no noise floor; the first difference asks for it.
        """
        tables = {n: self._table_compared(scratch, n, cutoff) for n in self._compared_tables()}
        differ = {name for name, compared in tables.items() if compared.differences}
        sets = {
            name: one.compared(scratch.lake, cutoff, differ, joined=cutoff == self._joined_at)
            for name, one in self._compared_sets().items()
        }
        self._compared[cutoff, mode] = found = tables | sets
        if any(compared.differences for compared in found.values()):
            self._ensure_noise(scratch)
        if mode == "truncate":
            self._explain(scratch, cutoff, tables, sets)

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
        scratch.run(self.plan.computed)

    def _could_not_run(self, cutoff: datetime, mode: Mode, error: RunError) -> None:
        """Note that a definition cannot cope with what is left of its sources, or made up."""
        self._compared[cutoff, mode] = {}
        said = str(error).splitlines()[0].removesuffix(" The table is as it was.")
        for name in (*self._compared_tables(), *self._compared_sets()):
            self._findings[name].failures.append(
                f"the pipeline failed ({mode} at {cutoff:%Y-%m-%d %H:%M}): {said}"
            )

    def _explain(
        self,
        scratch: Scratch,
        cutoff: datetime,
        tables: Mapping[str, Compared],
        sets: Mapping[str, Compared],
    ) -> None:
        """Look for the source rows that change the examples, once for each column.

        Features of training sets are left to their tables.
        """
        targets = {name: Target.feature_table(name) for name in tables}
        targets |= {name: Target.labels(self._sets[name]) for name in sets}
        found = {
            name: [one for one in compared.differences if self._is_explained(name, one.column)]
            for name, compared in {**tables, **sets}.items()
        }
        self._causes.look_into(scratch, self.plan, self._dated, cutoff, found, targets)

    def _is_explained(self, name: str, column: str) -> bool:
        if column in self._findings[name].unsettled:
            return False
        return name not in self._sets or column in (ROWS, *self._sets[name].label_columns)

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
        with self._explaining:
            if name not in self._full:
                self._full[name] = self._lake.read(name).to_polars()
        return _slice(self._full[name].lazy(), contract, cutoff).collect()

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


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
