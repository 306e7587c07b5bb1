"""Known leaks, put into a project's own pipeline to see whether a replay catches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.lake import Lakehouse
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.replay.clipping import Mode
from sololakehouse.replay.comparing import Compared, compare
from sololakehouse.replay.replay import Job, Progress, Replay, ReplayRequest
from sololakehouse.replay.scratch import Scratch

if TYPE_CHECKING:
    import polars as pl

Outcome = Literal["caught", "missed", "clean", "false alarm", "does not apply"]
EARLY = "a value stamped an hour before it was known"
TARGET_MEAN = "a mean of the label over the whole set"
UNCHANGED = "(none: the pipeline as it is)"
_WINDOW = "OVER (PARTITION BY {keys} ORDER BY {order}"
# Each leak as a column beside the table's own: over its keys, its moment and one of its numbers.
COLUMNS: Mapping[str, str] = {
    "a window that includes the next row": (
        f"avg({{column}}) {_WINDOW} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
    ),
    "lead: the next row's value": f"lead({{column}}) {_WINDOW})",
    "a mean over the whole table": "avg({column}) OVER ()",
    "a join without a time bound": "count(*) OVER (PARTITION BY {keys})",
    "a fill from the future": f"coalesce({{holes}}, lead({{holes}}) {_WINDOW}))",
    "the last version of each key is kept": (
        f"last_value({{column}}) {_WINDOW} "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
    ),
    "a scaler fitted on everything": (
        "({column} - avg({column}) OVER ()) / stddev({column}) OVER ()"
    ),
}
_NAME = "__slh_mutation_"


@dataclass(frozen=True)
class Trial:
    """What became of one leak in one table.

    Attributes
    ----------
    caught
        At how many of the cutoffs it was seen.
    said
        Where it was put in, or why it does not apply.
    """

    leak: str
    table: str
    outcome: Outcome
    caught: int
    cutoffs: int
    said: str


@dataclass(frozen=True)
class MutationReport:
    """The trials of all leaks, and what the pipeline as it is came to."""

    trials: tuple[Trial, ...]
    cutoffs: tuple[datetime, ...]
    mode: Mode
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether every leak was caught and nothing else was."""
        return all(one.outcome not in ("missed", "false alarm") for one in self.trials)


@dataclass(frozen=True)
class _Chosen:
    """The columns of a table that leaks are made of."""

    column: str | None
    holes: str | None


class MutationTrial(Replay):
    """Replays the pipeline with all leaks in it at once, each in a column of its own.

    No step reads a column that was put in, so that no leak hides another; the table's own columns
    show the false alarms. A value stamped too early is tried on the tables as they come out.
    """

    def __init__(
        self, lake: Lakehouse, request: ReplayRequest, progress: Progress | None = None
    ) -> None:
        super().__init__(lake, request, progress)
        self._full: dict[str, pl.DataFrame] = {}
        self._places: dict[tuple[str, str], str] = {}
        self._missing: dict[tuple[str, str], str] = {}
        self._additions = self._all_additions()

    def trial(self) -> MutationReport:
        """Try all leaks."""
        report = self.run()
        trials = tuple(self._judged(report.cutoffs))
        return MutationReport(trials, report.cutoffs, self._request.modes[0], report.seconds)

    def _all_additions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for table in self._compared_tables():
            contract = self.plan.feature_tables[table]
            chosen = self._chosen(table, contract)
            for number, (leak, text) in enumerate(COLUMNS.items()):
                why = _why_not(text, contract, chosen)
                if why:
                    self._missing[leak, table] = why
                    continue
                expression = _filled(text, contract, chosen)
                self._places[leak, table] = expression
                found.setdefault(table, []).append(f"{expression} AS {_NAME}{number}")
        for one in self._compared_sets().values():
            spec = one.one.spec
            labels, keys = spec.labels, spec.feature_lookups[0].lookup_key
            if labels in self.plan.computed:
                mean = f"avg(CAST(`{spec.label}` AS DOUBLE)) OVER (PARTITION BY {_listed(keys)})"
                self._places[TARGET_MEAN, str(labels)] = mean
                found.setdefault(str(labels), []).append(f"{mean} AS {_NAME}label")
        return found

    def _chosen(self, table: str, contract: FeatureContract) -> _Chosen:
        rows = self._lake.read(table).to_polars()
        own = [name for name in rows.columns if name not in contract.identity]
        varied = [n for n in own if rows.schema[n].is_numeric() and rows[n].n_unique() > 1]
        numbers = sorted(varied, key=lambda name: -rows[name].n_unique())
        holes = [name for name in own if 0 < rows[name].null_count() < rows.height]
        most = max(holes, key=lambda name: rows[name].null_count(), default=None)
        return _Chosen(numbers[0] if numbers else None, most)

    def _find_noise(self, scratch: Scratch) -> None:
        for table in self._tables_on_trial():
            self._full[table] = scratch.lake.read(table).to_polars()

    def _after_run(self, scratch: Scratch, cutoff: datetime, mode: Mode) -> None:
        replayed = {name: scratch.lake.read(name).to_polars() for name in self._tables_on_trial()}
        self._ensure_noise(scratch)
        self._compared[cutoff, mode] = {}
        for table, rows in replayed.items():
            moment, identity = self._identity(table)
            seen = _compared_until(self._full[table], rows, identity, moment, cutoff)
            self._compared[cutoff, mode][table] = seen
            if table in self.plan.feature_tables and moment:
                early = cutoff + timedelta(hours=1)
                shifted = _compared_until(self._full[table], rows, identity, moment, early)
                self._compared[cutoff, mode][f"{table} early"] = shifted

    def _gather(self, jobs: Sequence[Job]) -> None:
        """Judge nothing: the trials are judged at the end."""

    def _tables_on_trial(self) -> list[str]:
        moments = [n for n in self._compared_tables() if self.plan.feature_tables[n].timestamp]
        return list(dict.fromkeys([*moments, *self._additions]))

    def _identity(self, table: str) -> tuple[str | None, tuple[str, ...]]:
        contract = self.plan.feature_tables.get(table)
        if contract is not None:
            return contract.timestamp, contract.identity
        one = next(s for s in self._compared_sets().values() if s.one.spec.labels == table)
        return one.one.spec.timestamp, one.identity

    def _judged(self, cutoffs: Sequence[datetime]) -> list[Trial]:
        mode = self._request.modes[0]
        names = {leak: f"{_NAME}{number}" for number, leak in enumerate(COLUMNS)}
        names[TARGET_MEAN] = f"{_NAME}label"
        trials = [
            _trial(leak, table, self._hits(table, names[leak], cutoffs, mode), cutoffs, place)
            for (leak, table), place in self._places.items()
        ]
        trials += [
            Trial(leak, table, "does not apply", 0, 0, why)
            for (leak, table), why in self._missing.items()
        ]
        for table in self._tables_on_trial():
            if table in self.plan.feature_tables:
                hits = self._hits(f"{table} early", None, cutoffs, mode)
                trials.append(_trial(EARLY, table, hits, cutoffs, "its moment, an hour earlier"))
                alarms = self._hits(table, None, cutoffs, mode)
                outcome: Outcome = "false alarm" if alarms else "clean"
                said = "the table's own columns"
                trials.append(Trial(UNCHANGED, table, outcome, alarms, len(cutoffs), said))
        order = [UNCHANGED, *COLUMNS, EARLY, TARGET_MEAN]
        return sorted(trials, key=lambda one: (order.index(one.leak), one.table))

    def _hits(self, name: str, column: str | None, cutoffs: Sequence[datetime], mode: Mode) -> int:
        """Count the cutoffs at which a column differs; None: any that was not put in."""
        found = 0
        for cutoff in cutoffs:
            compared = self._compared.get((cutoff, mode), {}).get(name)
            columns = {one.column for one in compared.differences} if compared else set()
            own = {one for one in columns if not one.startswith(_NAME)}
            found += column in columns if column else bool(own)
        return found


def _trial(leak: str, table: str, hits: int, cutoffs: Sequence[datetime], place: str) -> Trial:
    return Trial(leak, table, "caught" if hits else "missed", hits, len(cutoffs), place)


def _why_not(text: str, contract: FeatureContract, chosen: _Chosen) -> str | None:
    if contract.timestamp is None and "{order}" in text:
        return "the table has no moments"
    if "{column}" in text and chosen.column is None:
        return "the table has no number that varies"
    if "{holes}" in text and chosen.holes is None:
        return "no column has a NULL to fill"
    return None


def _filled(text: str, contract: FeatureContract, chosen: _Chosen) -> str:
    return text.format(
        keys=_listed(contract.keys),
        order=_listed(contract.times),
        column=f"`{chosen.column}`",
        holes=f"`{chosen.holes}`",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _compared_until(
    full: pl.DataFrame,
    replayed: pl.DataFrame,
    identity: Sequence[str],
    moment: str | None,
    cutoff: datetime,
) -> Compared:
    import polars as pl

    sides: Any = (full, replayed)
    if moment is not None:
        sides = [side.filter(pl.col(moment) <= cutoff) for side in sides]
    columns = [name for name in full.columns if name not in identity]
    return compare(sides[0], sides[1], identity, moment, columns)
