"""Revealing what became known after a cutoff, and seeing which examples of leaks change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sololakehouse.errors import RunFailedError, StepError
from sololakehouse.lake import Lakehouse
from sololakehouse.replay.clipping import NOTHING, Revealed, clipped
from sololakehouse.replay.comparing import ROWS, Example, is_same
from sololakehouse.replay.dating import ROW, DatedTable
from sololakehouse.replay.narrowing import Budget
from sololakehouse.replay.planning import ReplayPlan
from sololakehouse.replay.scratch import Scratch
from sololakehouse.replay.training_sets import SetUnderReplay

if TYPE_CHECKING:
    import polars as pl


class Fact(NamedTuple):
    """Something of a source's row that was hidden at a cutoff.

    Attributes
    ----------
    part
        A column of moments: all of the row that became known at that moment. Or a column that is
        known later than the row: its value. Or `ROW`: that the row is there, which holds for the
        others as well.
    """

    table: str
    row: int
    part: str


@dataclass(frozen=True)
class Target:
    """Something whose leaks are looked into: a feature table, or the labels of a training set.

    Attributes
    ----------
    tables
        What is computed for it.
    rows
        Reads its rows from a scratch lakehouse.
    """

    tables: tuple[str, ...]
    rows: Callable[[Lakehouse], pl.LazyFrame]

    @classmethod
    def feature_table(cls, name: str) -> Target:
        """Read a feature table of the pipeline."""
        return cls((name,), lambda lake: lake.read(name).scan())

    @classmethod
    def labels(cls, one: SetUnderReplay) -> Target:
        """Read the labels of a training set."""
        return cls(one.one.label_tables, lambda lake: one.labels_of(lake).lazy())


@dataclass(frozen=True)
class Examined:
    """An example of a leak, whose cause is looked for."""

    target: Target
    column: str
    example: Example


class Revealing:
    """Recomputes the tables of some examples with some facts revealed.

    Every set of facts is tried once, and seen for all examples.
    """

    def __init__(
        self,
        scratch: Scratch,
        plan: ReplayPlan,
        dated: Mapping[str, DatedTable],
        cutoff: datetime,
        examined: Sequence[Examined],
        budget: Budget,
    ) -> None:
        self.dated = dated
        self.cutoff = cutoff
        self.examined = examined
        self._scratch = scratch
        self._plan = plan
        self._budget = budget
        self._tables = {table for one in examined for table in one.target.tables}
        self._shown: dict[str, Revealed] = {}
        self._seen: dict[frozenset[Fact], dict[int, Any]] = {}
        self._failed: set[frozenset[Fact]] = set()
        self._rows: dict[tuple[str, int], Mapping[str, Any]] = {}

    def sources_of(self, target: Target) -> list[str]:
        """Return the clipped sources that lead to what is looked into."""
        return sorted(self._plan.sources_of(target.tables))

    def changed(self, facts: Iterable[Fact]) -> dict[int, Any] | None:
        """Return the new values of the examples that change; None if no recomputation is left."""
        asked = frozenset(facts)
        if asked not in self._seen:
            if not self._budget.take():
                return None
            self._seen[asked] = self._recomputed(asked)
        return self._seen[asked]

    def changes(self, number: int, facts: Iterable[Fact]) -> bool | None:
        """Tell whether an example changes; None if no recomputation is left.

        What more facts did not change, fewer of them are not tried on.
        """
        asked = frozenset(facts)
        told = (seen for seen in self._seen if seen not in self._failed)
        if any(asked <= seen and number not in self._seen[seen] for seen in told):
            return False
        changed = self.changed(asked)
        return None if changed is None else number in changed

    def value(self, number: int, *tried: Iterable[Fact]) -> Any:
        """Return the new value of an example, with the first of some facts that changed it."""
        seen = (self._seen.get(frozenset(facts), {}) for facts in tried)
        return next(found[number] for found in seen if number in found)

    def row(self, table: str, number: int) -> Mapping[str, Any]:
        """Return the values of a source's row beside its moments."""
        import polars as pl

        if (table, number) not in self._rows:
            found = self.dated[table].scan().filter(pl.col(ROW) == number)
            self._rows[table, number] = found.collect().row(0, named=True)
        return self._rows[table, number]

    def _recomputed(self, facts: frozenset[Fact]) -> dict[int, Any]:
        """Compute what the facts lead to; a definition that fails on them changes nothing."""
        wanted = {name: self._revealed(name, facts) for name in self.dated}
        other = [name for name, one in wanted.items() if one != self._shown.get(name)]
        self._shown = {}
        self._scratch.fill(
            {name: clipped(self.dated[name], self.cutoff, wanted[name]) for name in other}
        )
        try:
            self._scratch.run(self._plan.before(self._tables) & self._plan.after(other))
        except (StepError, RunFailedError):
            self._failed.add(facts)
            return {}
        self._shown = wanted
        return {
            number: value
            for number, value in enumerate(self._values())
            if not is_same(value, self.examined[number].example)
        }

    def _revealed(self, table: str, facts: Iterable[Fact]) -> Revealed:
        rows: list[int] = []
        values: dict[str, list[int]] = {}
        for fact in sorted(fact for fact in facts if fact.table == table):
            rows.append(fact.row)
            for part in self.dated[table].known_with(fact.part):
                if part != ROW:
                    values.setdefault(part, []).append(fact.row)
        return Revealed(rows, values) if rows or values else NOTHING

    def _values(self) -> list[Any]:
        """Return the value that each example has now."""
        targets = {one.target for one in self.examined}
        rows = {target: target.rows(self._scratch.lake) for target in targets}
        return [_value_in(_found(rows[one.target], one.example), one) for one in self.examined]


def _found(rows: pl.LazyFrame, example: Example) -> pl.DataFrame:
    import polars as pl

    same = [pl.col(name).eq_missing(value) for name, value in example.key.items()]
    return rows.filter(same).head(1).collect()


def _value_in(rows: pl.DataFrame, one: Examined) -> Any:
    if one.column == ROWS:
        return "there" if rows.height else "missing"
    return rows[one.column].item() if rows.height else None
