"""Which source rows after a cutoff change a value before it: shown by revealing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sololakehouse.replay.clipping import clipped, later_rows
from sololakehouse.replay.comparing import ROWS, Example
from sololakehouse.replay.dating import ROW, DatedTable
from sololakehouse.replay.planning import ReplayPlan
from sololakehouse.replay.scratch import Scratch
from sololakehouse.replay.verdicts import Cause, Leak, SourceRow

if TYPE_CHECKING:
    import polars as pl

Explained: TypeAlias = "tuple[tuple[str, Leak], list[Cause | None]]"
# Few rows first; if they change nothing, more of them.
_TRIED = (3, 100)
_SHOWN = 3


@dataclass(frozen=True)
class _Wanted:
    """An example whose cause is looked for; `number` is its place among those of the leak."""

    table: str
    leak: Leak
    number: int

    @property
    def example(self) -> Example:
        return self.leak.difference.examples[self.number]


def find_causes(
    scratch: Scratch,
    plan: ReplayPlan,
    dated: Mapping[str, DatedTable],
    cutoff: datetime,
    leaks: Mapping[str, Sequence[Leak]],
) -> list[Explained]:
    """Reveal the next source rows after the cutoff, and see which examples change.

    Tried are the rows that became known first after the cutoff among those that have the example's
    keys, as far as the source has columns of their names. The rows of all examples are revealed
    together.

    Parameters
    ----------
    leaks
        By feature table.
    """
    open_ones = [
        _Wanted(table, leak, number)
        for table, found in leaks.items()
        for leak in found
        for number in range(len(leak.difference.examples))
    ]
    causes: dict[tuple[str, int, int], Cause] = {}
    for count in _TRIED:
        if not open_ones:
            break
        rows = {_mark(one): _candidates(plan, dated, cutoff, one, count) for one in open_ones}
        _reveal(scratch, plan, dated, cutoff, leaks, rows.values())
        left = []
        for one in open_ones:
            value = _value(scratch, one)
            if value == one.example.replayed or not rows[_mark(one)]:
                left.append(one)
            else:
                causes[_mark(one)] = Cause(_shown(dated, rows[_mark(one)]), value)
        open_ones = left
    return [
        (
            (table, leak),
            [causes.get((table, id(leak), n)) for n in range(len(leak.difference.examples))],
        )
        for table, found in leaks.items()
        for leak in found
    ]


def _mark(one: _Wanted) -> tuple[str, int, int]:
    return one.table, id(one.leak), one.number


def _candidates(
    plan: ReplayPlan,
    dated: Mapping[str, DatedTable],
    cutoff: datetime,
    one: _Wanted,
    count: int,
) -> dict[str, pl.DataFrame]:
    """Return the next rows of each source that leads to the table, with when they were known."""
    found = {}
    for name in sorted(plan.sources_of([one.table])):
        rows = _next_rows(dated[name], cutoff, one.example.key, count)
        if rows.height:
            found[name] = rows
    return found


def _next_rows(
    dated: DatedTable, cutoff: datetime, key: Mapping[str, Any], count: int
) -> pl.DataFrame:
    import polars as pl

    moments = sorted({dated.row_known, *dated.late.values()})
    later = [pl.when(pl.col(name) > cutoff).then(pl.col(name)) for name in moments]
    rows = later_rows(dated, cutoff).with_columns(pl.min_horizontal(later).alias(_KNOWN))
    shared = [
        pl.col(name) == value
        for name, value in key.items()
        if name in dated.snapshot.columns and not isinstance(value, datetime)
    ]
    return rows.filter(pl.col(_KNOWN).is_not_null(), *shared).bottom_k(count, by=_KNOWN).collect()


_KNOWN = "__slh_known"


def _reveal(
    scratch: Scratch,
    plan: ReplayPlan,
    dated: Mapping[str, DatedTable],
    cutoff: datetime,
    tables: Iterable[str],
    found: Iterable[Mapping[str, pl.DataFrame]],
) -> None:
    revealed: dict[str, set[int]] = {name: set() for name in dated}
    for by_source in found:
        for name, rows in by_source.items():
            revealed[name] |= set(rows[ROW].to_list())
    scratch.fill(
        {name: clipped(one, cutoff, sorted(revealed[name])) for name, one in dated.items()}
    )
    scratch.run(plan.before(tables))


def _value(scratch: Scratch, one: _Wanted) -> Any:
    import polars as pl

    same = [pl.col(name).eq_missing(value) for name, value in one.example.key.items()]
    rows = scratch.lake.read(one.table).scan().filter(same).head(1).collect()
    column = one.leak.difference.column
    if column == ROWS:
        return "there" if rows.height else "missing"
    return rows[column].item() if rows.height else None


def _shown(
    dated: Mapping[str, DatedTable], found: Mapping[str, pl.DataFrame]
) -> tuple[SourceRow, ...]:
    rows = [
        SourceRow(
            name,
            _utc(row[_KNOWN]),
            {column: row[column] for column in dated[name].snapshot.columns if column[0] != "_"},
        )
        for name, some in found.items()
        for row in some.sort(_KNOWN).head(_SHOWN).iter_rows(named=True)
    ]
    return tuple(sorted(rows, key=lambda row: str(row.known_at))[:_SHOWN])


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
