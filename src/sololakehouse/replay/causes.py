"""Which source rows after a cutoff change a value before it: shown by revealing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from sololakehouse.replay.comparing import Difference
from sololakehouse.replay.dating import ROW, DatedTable
from sololakehouse.replay.narrowing import Budget, narrowed
from sololakehouse.replay.planning import ReplayPlan
from sololakehouse.replay.revealing import Examined, Fact, Revealing, Target
from sololakehouse.replay.scratch import Scratch
from sololakehouse.replay.verdicts import Cause, Leak, SourceRow

if TYPE_CHECKING:
    import polars as pl

Explained: TypeAlias = "tuple[tuple[str, Leak], list[Cause | None]]"
Dated: TypeAlias = Mapping[str, DatedTable]
# How much of each source is suspected: a little first, of the example's keys; if that changes
# nothing, more of it, and in the end that of all keys.
_OF_KEYS, _OF_ALL = (8, 100), 100_000
_SHOWN = 5
_KNOWN, _PART = "__slh_known", "__slh_part"


class Causes:
    """Gathers what makes leaks: for each column at the first cutoff that shows it.

    Attributes
    ----------
    budget
        How many recomputations may be made in all.
    found
        Leaks by the name of their table or training set, with the cause of each example.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.found: list[Explained] = []
        self._begun: set[tuple[str, str]] = set()
        self._beginning = Lock()

    def look_into(
        self,
        scratch: Scratch,
        plan: ReplayPlan,
        dated: Dated,
        cutoff: datetime,
        differences: Mapping[str, Sequence[Difference]],
        targets: Mapping[str, Target],
    ) -> None:
        """Find the causes of columns that nobody looked into yet; threads may ask side by side."""
        leaks: dict[str, list[Leak]] = {}
        with self._beginning:
            for name, some in differences.items():
                for difference in some:
                    place = (name, difference.column)
                    if place not in self._begun:
                        self._begun.add(place)
                        leaks.setdefault(name, []).append(Leak(cutoff, "truncate", difference))
        if leaks:
            self.found += find_causes(scratch, plan, dated, cutoff, leaks, targets, self.budget)


def find_causes(
    scratch: Scratch,
    plan: ReplayPlan,
    dated: Dated,
    cutoff: datetime,
    leaks: Mapping[str, Sequence[Leak]],
    targets: Mapping[str, Target],
    budget: Budget,
) -> list[Explained]:
    """Reveal what came after the cutoff, and narrow down what of it changes the examples.

    Suspected is what became known first after the cutoff of rows that have the example's keys, as
    far as the source has columns of their names; that of all examples is revealed together. Where
    the value changes, the first and fewest rows that change it are found by bisection over the
    moments, and then which of the values that became known at these moments. The first example of
    each leak comes first.

    Parameters
    ----------
    leaks, targets
        By feature table or training set.
    budget
        How many recomputations this may take.
    """
    examined = [
        Examined(targets[table], leak.difference.column, example)
        for table, found in leaks.items()
        for leak in found
        for example in leak.difference.examples
    ]
    search = _Search(Revealing(scratch, plan, dated, cutoff, examined, budget))
    causes = iter(search.causes(_places_of(leaks)))
    return [
        ((table, leak), [next(causes) for _ in leak.difference.examples])
        for table, found in leaks.items()
        for leak in found
    ]


def _places_of(leaks: Mapping[str, Sequence[Leak]]) -> list[int]:
    """Return for each example which of its leak it is."""
    found = (leak for some in leaks.values() for leak in some)
    return [place for leak in found for place in range(len(leak.difference.examples))]


class _Search:
    def __init__(self, revealing: Revealing) -> None:
        self._revealing = revealing
        self._examined = revealing.examined
        self._dated = revealing.dated
        self._cutoff = revealing.cutoff
        self._needed: set[tuple[str, str]] = set()

    def causes(self, places: Sequence[int]) -> list[Cause | None]:
        """Return the cause of each example, or None."""
        suspects = self._suspects()
        found: dict[int, Cause] = {}
        for number in sorted(suspects, key=lambda one: places[one]):
            found[number] = self._cause(number, suspects[number])
        return [found.get(number) for number in range(len(self._examined))]

    def _suspects(self) -> dict[int, list[Fact]]:
        """Return for examples that were seen to change: what changes them, the likely first."""
        suspects: dict[int, list[Fact]] = {}
        for tier in (*_OF_KEYS, None):
            left = [n for n in range(len(self._examined)) if n not in suspects]
            own = {number: self._next_facts(number, tier) for number in left}
            together = list(dict.fromkeys(fact for facts in own.values() for fact in facts))
            changed = self._revealing.changed(together) if together else {}
            for number in changed or {}:
                if number in own:
                    suspects[number] = list(dict.fromkeys([*own[number], *together]))
            if changed is None or len(suspects) == len(self._examined):
                break
        return suspects

    def _next_facts(self, number: int, count: int | None) -> list[Fact]:
        """Return what became known next in all sources of an example, in its order."""
        one = self._examined[number]
        found: list[tuple[bool, datetime | None, Fact]] = []
        for name in self._revealing.sources_of(one.target):
            key = {} if count is None else one.example.key
            later = _later(self._dated[name], self._cutoff, key, count or _OF_ALL)
            found += [(at is None, at, Fact(name, row, part)) for row, part, at in later]
        return [fact for _, _, fact in sorted(found)]

    def _cause(self, number: int, suspects: Sequence[Fact]) -> Cause:
        left = narrowed(suspects, lambda some: self._revealing.changes(number, some))
        value = self._revealing.value(number, left.suspects, suspects)
        parts = self._values_of(number, left.suspects) if left.is_smallest else ()
        rows = list(dict.fromkeys((fact.table, fact.row) for fact in left.suspects))
        shown = [
            self._source_row(
                table, row, [fact for fact in parts or left.suspects if fact[:2] == (table, row)]
            )
            for table, row in rows[:_SHOWN]
        ]
        return Cause(tuple(shown), value, len(rows), left.is_smallest)

    def _values_of(self, number: int, facts: Sequence[Fact]) -> tuple[Fact, ...]:
        """Return which of the values that became known together are needed; none if not told.

        Those that other examples needed are tried first.
        """
        parts = [
            Fact(fact.table, fact.row, part)
            for fact in facts
            for part in self._dated[fact.table].known_with(fact.part)
        ]
        if len(parts) == len(facts):
            return tuple(parts)
        likely = sorted(parts, key=lambda part: (part.table, part.part) not in self._needed)
        left = narrowed(likely, lambda some: self._revealing.changes(number, some))
        if not left.is_smallest:
            return ()
        self._needed |= {(part.table, part.part) for part in left.suspects}
        return tuple(part for part in parts if part in left.suspects)

    def _source_row(self, table: str, number: int, facts: Sequence[Fact]) -> SourceRow:
        dated, row = self._dated[table], self._revealing.row(table, number)
        taken = {dated.late.get(fact.part, fact.part) for fact in facts} - {ROW}
        moments = [row[name] for name in {dated.row_known, *taken}]
        return SourceRow(
            table,
            None if None in moments else max(moments).astimezone(UTC),
            {name: row[name] for name in dated.snapshot.columns if name[0] != "_"},
            tuple(fact.part for fact in facts if fact.part in dated.late),
        )


def _later(
    dated: DatedTable, cutoff: datetime, key: Mapping[str, Any], count: int
) -> list[tuple[int, str, datetime | None]]:
    """Return the next moments after a cutoff, and those that are never known, of rows with a key.

    Returns
    -------
    Numbers of rows, columns of moments, and the moments.
    """
    import polars as pl

    kinds = dated.scan().collect_schema()
    shared = [
        pl.col(name).cast(pl.String, strict=False) == str(value)
        for name, value in key.items()
        if name in kinds and not kinds[name].is_nested() and not isinstance(value, datetime)
    ]
    rows = dated.scan().filter(*shared)
    found = [
        rows.filter(pl.col(name).is_null() | (pl.col(name) > cutoff)).select(
            ROW, pl.lit(name).alias(_PART), _with_row(dated, name).alias(_KNOWN)
        )
        for name in dated.moments
    ]
    later = pl.concat(found)
    return later.sort(_KNOWN, ROW, _PART, nulls_last=True).head(count).collect().rows()


def _with_row(dated: DatedTable, moment: str) -> pl.Expr:
    """Return the moment from which a row and what is known with it are there; NULL: never."""
    import polars as pl

    row, own = pl.col(dated.row_known), pl.col(moment)
    return pl.when(row.is_not_null() & own.is_not_null()).then(pl.max_horizontal(row, own))
