"""How far back data must go: the least history that gives the values of the whole history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.engine import Engine, quoted
from sololakehouse.errors import NotFoundError, StepError
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake.contract import FeatureContract, described_row
from sololakehouse.lake.retention import set_properties
from sololakehouse.pipelines.increment import moment_literal, rows_over
from sololakehouse.pipelines.plan import Step
from sololakehouse.pipelines.run import prepare
from sololakehouse.pipelines.time_bound import WARM_UP, WARM_UP_OF, TimeBound
from sololakehouse.replay.comparing import Difference, compare
from sololakehouse.replay.cutoffs import chosen_cutoffs
from sololakehouse.replay.planning import refuse_stale

if TYPE_CHECKING:
    import polars as pl

OPERATION = "SET WARM-UP"
State = Literal["fits", "longer than needed", "too short", "measured", "unbounded", "not declared"]
_HOURS = (0, 1, 2, 3, 6, 12, 24, 48, 72, 168, 336, 672, 720, 1440, 2160, 4320, 8760)
LADDER = tuple(timedelta(hours=hours) for hours in _HOURS)
_COMPARED = timedelta(days=1)


@dataclass(frozen=True)
class WarmUp:
    """What was measured of one feature table.

    Attributes
    ----------
    declared
        The lookback that its definition declares; None: none, or `measured`.
    smallest
        The least lookback of the ladder with which all rows after each cutoff are those of the
        whole history; None if no lookback is enough.
    example
        With a declaration that is too short: a row that is wrong with it.
    """

    table: str
    state: State
    declared: timedelta | None = None
    smallest: timedelta | None = None
    cutoffs: int = 0
    example: str | None = None


def measure(
    lake: Lakehouse,
    cutoffs: int,
    seed: int,
    select: Sequence[str] = (),
    spec: Path | None = None,
) -> dict[str, tuple[WarmUp, str]]:
    """Measure each feature table that declares what it looks back over.

    Returns
    -------
    By table, what was found and the hash of the plan that it holds for.

    Raises
    ------
    RunError
        A table is not up to date.
    NotFoundError
        A pattern fits no feature table.
    """
    with prepare(lake, spec=spec) as pipeline:
        steps = {
            step.name: step
            for step in pipeline.steps
            if FeatureContract.from_properties(step.node.declaration.properties)
        }
        for pattern in select:
            if not any(fnmatchcase(name, pattern) for name in steps):
                raise NotFoundError.of("feature table", pattern, steps)
        wanted = {
            name: step
            for name, step in steps.items()
            if not select or any(fnmatchcase(name, pattern) for pattern in select)
        }
        refuse_stale(wanted, wanted)
        return {
            name: (_measured(lake, step, pipeline.engine, cutoffs, seed), step.node.definition)
            for name, step in wanted.items()
        }


def store(writer: LakeWriter, found: dict[str, tuple[WarmUp, str]]) -> None:
    """Keep what was measured with the tables, for the increments of the same definitions."""
    for table, (one, definition) in found.items():
        if one.smallest is None:
            continue
        snapshot = writer.lake.read(table)
        seconds = int(one.smallest.total_seconds())
        wanted = {WARM_UP: f"{seconds}s", WARM_UP_OF: definition}
        if any(snapshot.properties.get(name) != value for name, value in wanted.items()):
            set_properties(writer, snapshot, wanted, OPERATION)


def refuse_too_short(found: Sequence[WarmUp]) -> None:
    """Refuse declared lookbacks with which rows would be wrong.

    Raises
    ------
    StepError
        Names each table, with a row that is wrong and the lookback that is needed.
    """
    short = [one for one in found if one.state == "too short"]
    if short:
        said = (
            f"{one.table} declares 'pipelines.incremental.lookback' as {_length(one.declared)}, "
            f"and {_needed(one.smallest)}. With it, {one.example}."
            for one in short
        )
        raise StepError("\n       ".join(said))


def _needed(smallest: timedelta | None) -> str:
    if smallest is None:
        return "no lookback is enough: remove 'pipelines.incremental.*'"
    return f"needs {_length(smallest)}"


def _measured(lake: Lakehouse, step: Step, engine: Engine, cutoffs: int, seed: int) -> WarmUp:
    import polars as pl

    bound = step.node.declaration.time_bound
    contract = FeatureContract.from_properties(step.node.declaration.properties)
    if bound is None or contract is None or contract.timestamp != bound.timestamp:
        return WarmUp(step.name, "not declared")
    for table in step.tables:
        engine.pin(lake.read(table))
    for view in step.views.values():
        engine.view(view.name, view.frame)
    full = lake.read(step.name).to_polars()
    moments = full[bound.timestamp].drop_nulls()
    if moments.is_empty():
        return WarmUp(step.name, "not declared", bound.lookback)
    source = lake.read(bound.source).scan()
    begin: Any = source.select(pl.col(bound.source_timestamp).min()).collect().item()
    first: Any = moments.min()
    last: Any = moments.max()
    middle = first + (last - first) * 0.6
    at = chosen_cutoffs(middle, last, cutoffs, seed)
    probe = _Probe(step, engine, bound, contract, full, at)
    rungs = [rung for rung in LADDER if _plain(at[0] - rung, begin) >= begin]
    smallest = probe.smallest(rungs)
    return _judged(step.name, bound, smallest, probe)


def _judged(table: str, bound: TimeBound, smallest: timedelta | None, probe: _Probe) -> WarmUp:
    declared, count = bound.lookback, len(probe.cutoffs)
    if declared is None:
        state: State = "unbounded" if smallest is None else "measured"
        return WarmUp(table, state, None, smallest, count)
    wrong = probe.difference(declared)
    if wrong is not None:
        example = wrong.examples[0]
        said = (
            f"{wrong.column} of the row {described_row(example.key)} is "
            f"{described_row({'': example.replayed})[1:]} instead of "
            f"{described_row({'': example.full})[1:]}"
        )
        return WarmUp(table, "too short", declared, smallest, count, said)
    longer = smallest is not None and smallest < declared
    return WarmUp(table, "longer than needed" if longer else "fits", declared, smallest, count)


@dataclass(frozen=True)
class _Probe:
    """Asks for the rows after some cutoffs, as increments would compute them."""

    step: Step
    engine: Engine
    bound: TimeBound
    contract: FeatureContract
    full: pl.DataFrame
    cutoffs: Sequence[datetime]

    def smallest(self, rungs: Sequence[timedelta]) -> timedelta | None:
        """Search the ladder by bisection: what is enough stays enough with more history."""
        low, high = 0, len(rungs)
        while low < high:
            middle = (low + high) // 2
            if self.difference(rungs[middle]) is None:
                high = middle
            else:
                low = middle + 1
        return rungs[low] if low < len(rungs) else None

    def difference(self, lookback: timedelta) -> Difference | None:
        """Return how the rows after a cutoff differ; None if all are as by the whole history."""
        found = (self._at(cutoff, lookback) for cutoff in self.cutoffs)
        return next((one for one in found if one is not None), None)

    def _at(self, cutoff: datetime, lookback: timedelta) -> Difference | None:
        import polars as pl

        bound, until = self.bound, cutoff + _COMPARED
        table: Any = self.engine.session.table(quoted(bound.source))
        kind = dict(table.dtypes)[bound.source_timestamp]
        since, end = (_of_kind(moment, kind) for moment in (cutoff - lookback, until))
        column = f"`{bound.source_timestamp}`"
        seen = table.where(
            f"{column} >= {moment_literal(since)} AND {column} <= {moment_literal(end)}"
        )
        rows: Any = rows_over(self.step, bound.source, seen, self.engine)
        inside = f"`{bound.timestamp}` BETWEEN {moment_literal(cutoff)} AND {moment_literal(until)}"
        replayed: Any = pl.from_arrow(rows.where(inside).toArrow())
        moment = pl.col(bound.timestamp)
        full = self.full.filter(moment.is_between(cutoff, until))
        replayed = replayed.cast({name: full.schema[name] for name in replayed.columns})
        identity = self.contract.identity
        columns = [name for name in full.columns if name not in identity]
        differences = compare(full, replayed, identity, bound.timestamp, columns).differences
        return differences[0] if differences else None


def _of_kind(moment: datetime, kind: str) -> date | datetime:
    return moment.date() if kind == "date" else moment


def _plain(moment: datetime, like: date | datetime) -> Any:
    return moment if isinstance(like, datetime) else moment.date()


def _length(time: timedelta | None) -> str:
    if time is None:
        return "none"
    hours = time.total_seconds() / 3600
    return f"{hours / 24:g}d" if hours and hours % 24 == 0 else f"{hours:g}h"


def as_rows(found: Sequence[WarmUp]) -> list[dict[str, Any]]:
    """Return what was measured as plain values."""
    return [
        {
            "table": one.table,
            "verdict": one.state,
            "declared": _length(one.declared) if one.declared is not None else None,
            "needed": _length(one.smallest) if one.smallest is not None else None,
            "cutoffs": one.cutoffs,
        }
        for one in found
    ]
