"""From events to rows: the newest row of each key, or its history. Pure functions on frames.

An event has the columns of the table, `__sequence`, and `__deleted`; keys and sequence are set.
Neither the order of events nor how they are split over calls changes the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.errors import ChangeDataError
from sololakehouse.pipelines.change_flow import DELETED, END_AT, SEQUENCE, START_AT

if TYPE_CHECKING:
    import polars as pl

_EXAMPLES = 3


@dataclass(frozen=True)
class Outcome:
    """What some events do to a table and to what is remembered of its keys.

    Attributes
    ----------
    replaced
        Keys whose rows and memory are taken out.
    rows
        Rows of the table that take their place.
    memory
        What is remembered of these keys from now on: keys, `__sequence`, `__deleted`, and for a
        history the columns of the table.
    """

    replaced: pl.DataFrame
    rows: pl.DataFrame
    memory: pl.DataFrame


def newest_rows(
    events: pl.DataFrame,
    known: pl.DataFrame,
    stored: pl.DataFrame,
    keys: Sequence[str],
    table: str,
) -> Outcome:
    """Apply events to a table that holds the newest row of each key (SCD type 1).

    Parameters
    ----------
    events
        New events, in any order.
    known
        The newest sequence of each key of these events, and whether it was a delete.
    stored
        The table's rows of these keys.

    Raises
    ------
    ChangeDataError
        A key has different events with the same, greatest sequence.
    """
    import polars as pl

    winners = _winners(_without_data(events, keys), keys, table)
    before = _remembered(known, stored, keys).select(winners.columns)
    both = pl.concat([before.with_columns(new=False), winners.with_columns(new=True)])
    both = both.sort(*keys, SEQUENCE, "new")
    _refuse_ties(both.drop("new"), keys, table, last_only=True)
    ties = _same(both, [*keys, SEQUENCE])
    changed = both.filter(pl.col("new") & ~ties & _last(both, keys)).drop("new")
    return Outcome(
        replaced=changed.select(keys),
        rows=changed.filter(~pl.col(DELETED)).drop(SEQUENCE, DELETED),
        memory=changed.select(*keys, SEQUENCE, DELETED),
    )


def history_rows(
    events: pl.DataFrame,
    known: pl.DataFrame,
    keys: Sequence[str],
    tracked: Sequence[str],
    table: str,
) -> Outcome:
    """Apply events to a table that holds the history of each key (SCD type 2).

    A row begins where a tracked column changed or where there was no row before, and ends where
    the next one begins or where the key was deleted. Columns that are not tracked have the newest
    value of the row's time.

    Parameters
    ----------
    events
        New events, in any order.
    known
        All events of their keys so far.
    tracked
        Columns whose changes begin a new row.

    Raises
    ------
    ChangeDataError
        A key has different events with the same sequence.
    """
    import polars as pl

    new = _without_data(events, keys).with_columns(new=True)
    old = known.select(events.columns).with_columns(new=False)
    ordered = pl.concat([old, new]).sort(*keys, SEQUENCE, "new")
    _refuse_ties(ordered.drop("new"), keys, table)
    once = ordered.filter(~_same(ordered, [*keys, SEQUENCE]))
    added = once.filter(pl.col("new")).drop("new")
    touched = once.join(added.select(keys).unique(), on=keys, how="semi", maintain_order="left")
    return Outcome(
        replaced=added.select(keys).unique(),
        rows=_history(touched.drop("new"), keys, tracked),
        memory=added,
    )


def _history(ordered: pl.DataFrame, keys: Sequence[str], tracked: Sequence[str]) -> pl.DataFrame:
    """Fold the ordered events of keys into rows with a start and an end."""
    import polars as pl

    begins = ~_same(ordered, [*keys, DELETED, *tracked]) | ordered[DELETED]
    ends = begins.shift(-1, fill_value=True)
    rows = ordered.filter(ends).with_columns(ordered.filter(begins)[SEQUENCE].alias(START_AT))
    continued = _same(rows, keys).shift(-1, fill_value=False)
    until = pl.when(pl.lit(continued)).then(pl.col(START_AT).shift(-1)).alias(END_AT)
    return rows.with_columns(until).filter(~pl.col(DELETED)).drop(SEQUENCE, DELETED)


def _without_data(events: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Clear what a delete says besides its key and its sequence."""
    import polars as pl

    data = pl.exclude(*keys, SEQUENCE, DELETED)
    return events.with_columns(pl.when(~pl.col(DELETED)).then(data).name.keep())


def _winners(events: pl.DataFrame, keys: Sequence[str], table: str) -> pl.DataFrame:
    ordered = events.sort(*keys, SEQUENCE)
    _refuse_ties(ordered, keys, table, last_only=True)
    return ordered.filter(_last(ordered, keys))


def _remembered(known: pl.DataFrame, stored: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return the newest event of each key again, from what is stored of it."""
    return known.join(stored, on=keys, how="left")


def _refuse_ties(
    ordered: pl.DataFrame, keys: Sequence[str], table: str, *, last_only: bool = False
) -> None:
    """Refuse neighbours that have one key and one sequence, but differ.

    With `last_only`, only the greatest sequence of a key matters.
    """
    place = [*keys, SEQUENCE]
    ties = ordered.filter(_same(ordered, place) & ~_same(ordered, ordered.columns)).select(place)
    if last_only:
        newest = ordered.filter(_last(ordered, keys)).select(place)
        ties = ties.join(newest, on=place, how="semi")
    ties = ties.unique(maintain_order=True)
    if ties.is_empty():
        return
    examples = "\n".join(f"  {row_text(row)}" for row in ties.head(_EXAMPLES).iter_rows(named=True))
    many = "once" if ties.height == 1 else f"{ties.height:,} times"
    raise ChangeDataError(
        f"{table}: {many}, different events have the same key and the same sequence, so nobody can "
        f"say which one came last. They differ in {', '.join(_differing(ordered, ties))}. Leave "
        "these columns out with 'except_column_list', or give 'sequence_by' what tells events "
        f"apart, for example struct(time, number). The table is as it was. Examples:\n{examples}"
    )


def _differing(ordered: pl.DataFrame, ties: pl.DataFrame) -> list[str]:
    """Return the columns in which events of one key and sequence differ."""
    place = ties.columns
    tied = ordered.join(ties, on=place, how="semi", maintain_order="left")
    again = _same(tied, place)
    others = [name for name in tied.columns if name not in place]
    return [
        "'apply_as_deletes'" if name == DELETED else name
        for name in others
        if (again & ~_same(tied, [*place, name])).any()
    ]


def row_text(row: dict[str, object]) -> str:
    """Say a row in one line."""
    said = {name: "NULL" if value is None else value for name, value in row.items()}
    return ", ".join(f"{name}={value}" for name, value in said.items())


def _same(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Whether a row has the same values in some columns as the row before it."""
    import polars as pl

    equal = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in columns]
    first = pl.int_range(pl.len()) == 0
    return frame.select(same=~first & pl.all_horizontal(equal)).to_series()


def _last(frame: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Whether a row is the last one of its key, in a frame that is ordered by keys."""
    return ~_same(frame, keys).shift(-1, fill_value=False)
