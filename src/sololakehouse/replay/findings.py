"""Gathering what comparisons find of each table, until its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sololakehouse.lake import Lakehouse
from sololakehouse.replay.clipping import Mode
from sololakehouse.replay.comparing import ROWS, Compared
from sololakehouse.replay.planning import ReplayPlan
from sololakehouse.replay.training_sets import SetUnderReplay
from sololakehouse.replay.verdicts import Cause, ColumnVerdict, Kind, Leak, TableVerdict


@dataclass
class Findings:
    """Gathers what each comparison finds of one table."""

    table: str
    kind: Kind
    columns: Sequence[str]
    uncovered: str | None = None
    unsettled: frozenset[str] = frozenset()
    unjudged: Mapping[str, str] = field(default_factory=dict)
    leaks: dict[str, list[Leak]] = field(default_factory=dict)
    rows: int = 0
    cutoffs: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, compared: Compared, cutoff: datetime, mode: Mode) -> list[Leak]:
        """Take a comparison into account; return what leaks there."""
        self.rows += compared.rows
        self.cutoffs += 1
        leaks = [
            Leak(cutoff, mode, difference)
            for difference in compared.differences
            if difference.column not in self.unsettled
        ]
        for leak in leaks:
            self.leaks.setdefault(leak.difference.column, []).append(leak)
        return leaks

    def explain(self, leak: Leak, causes: Sequence[Cause | None]) -> None:
        """Add what changed the examples of a leak."""
        known = self.leaks[leak.difference.column]
        known[known.index(leak)] = Leak(leak.cutoff, leak.mode, leak.difference, tuple(causes))

    def verdict(self) -> TableVerdict:
        """Judge the table."""
        names = list(self.columns)
        names += [name for name in (*self.leaks, *sorted(self.unsettled)) if name not in names]
        uncovered = "; ".join(filter(None, [self.uncovered, *self.failures])) or None
        return TableVerdict(
            self.table,
            self.kind,
            tuple(self._judged(name, uncovered) for name in dict.fromkeys(names)),
            self.rows,
            self.cutoffs,
            uncovered,
        )

    def _judged(self, name: str, uncovered: str | None) -> ColumnVerdict:
        leaks = tuple(self.leaks.get(name, ()))
        if leaks:
            return ColumnVerdict(name, "leaks", leaks)
        if name in self.unsettled:
            return ColumnVerdict(name, "not deterministic")
        reason = self.unjudged.get(name) or uncovered
        if reason or not self.cutoffs:
            return ColumnVerdict(name, "not covered", reason=reason or "no cutoff was compared")
        return ColumnVerdict(name, "clean")


def findings_for(
    lake: Lakehouse, plan: ReplayPlan, sets: Mapping[str, SetUnderReplay]
) -> dict[str, Findings]:
    """Return empty findings of all that is replayed, with what is known not to be covered."""
    found = {}
    for name, contract in plan.feature_tables.items():
        columns = [column for column in lake.read(name).columns if column not in contract.identity]
        found[name] = Findings(name, "feature table", [ROWS, *columns], plan.uncovered.get(name))
        _settle_static(found[name], plan, (name,))
    for one in plan.training_sets:
        if one.name not in sets:
            uncovered = "its labels came as a frame, which cannot be clipped"
            found[one.name] = Findings(one.name, "training set", [ROWS], uncovered)
            continue
        found[one.name] = _of_set(sets[one.name], plan.uncovered.get(one.name))
        _settle_static(found[one.name], plan, one.tables)
    return found


def _of_set(under_replay: SetUnderReplay, uncovered: str | None) -> Findings:
    spec, columns = under_replay.one.spec, list(under_replay.compared_columns)
    unjudged = {}
    if spec.label_known_at is None:
        unjudged = {spec.label: "the recipe does not say when it was known: 'label_known_at'"}
        columns.append(spec.label)
    return Findings(
        under_replay.one.name, "training set", [ROWS, *columns], uncovered, unjudged=unjudged
    )


def _settle_static(findings: Findings, plan: ReplayPlan, tables: Sequence[str]) -> None:
    """Count a table as compared that nothing leads to but what was always known."""
    if not plan.sources_of(tables) and findings.uncovered is None:
        findings.cutoffs = 1
