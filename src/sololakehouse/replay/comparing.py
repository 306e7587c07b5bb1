"""Comparing what was replayed with what the full history says of the same moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

ROWS = "(rows)"
EXAMPLES = 3
# Sums of floats differ in the last bits with the order of addition, which fewer rows can change.
RELATIVE = 1e-9
OF_SCALE = 1e-12
_ONLY_FULL, _ONLY_REPLAYED, _NUMBER = "__slh_full", "__slh_replayed", "__slh_number"
_OTHER = "__slh_other"


@dataclass(frozen=True)
class Example:
    """A value that knowledge after the cutoff changed.

    Attributes
    ----------
    key
        Keys and times of the row.
    full, replayed
        The value by the full history, and by what was known at the cutoff. Of a row that is on one
        side only: `there` and `missing`.
    """

    key: Mapping[str, Any]
    moment: datetime | None
    full: Any
    replayed: Any


@dataclass(frozen=True)
class Difference:
    """How a column of the slice up to a cutoff differs.

    Attributes
    ----------
    column
        `(rows)` for rows that only one side has.
    rows
        Number of rows that differ.
    earliest
        The first moment among them, in UTC; None without moments.
    """

    column: str
    rows: int
    earliest: datetime | None
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Compared:
    """The comparison of one slice: rows of the full history, and what differs."""

    rows: int
    differences: tuple[Difference, ...]


def compare(
    full: pl.DataFrame,
    replayed: pl.DataFrame,
    identity: Sequence[str],
    moment: str | None,
    columns: Iterable[str],
    judged: Mapping[str, pl.Expr] | None = None,
) -> Compared:
    """Compare two slices row by row.

    Floats count as equal within a billionth of the greater value, or within 1e-12 of the greatest
    of the column. NULL equals NULL, and NaN equals NaN.

    Parameters
    ----------
    identity
        Columns that tell the rows apart. If rows have them in common, they are numbered in order.
    moment
        The column with the moments of the rows, to name the earliest.
    columns
        What to compare beside the identity.
    judged
        For columns of which not all rows are compared: the condition, over columns of `full`. That
        of `(rows)` says which rows must be there.
    """
    import polars as pl

    names = list(dict.fromkeys(columns))
    sides = _numbered([full, replayed], identity)
    keys = [*identity, _NUMBER] if _NUMBER in sides[0].columns else list(identity)
    others = {name: f"{name}{_OTHER}" for name in names}
    left = sides[0].with_columns(pl.lit(value=True).alias(_ONLY_FULL))
    right = sides[1].select([*keys, *names]).rename(others)
    right = right.with_columns(pl.lit(value=True).alias(_ONLY_REPLAYED))
    joined = left.join(right, on=keys, how="full", coalesce=True, nulls_equal=True)
    both = joined.filter(pl.col(_ONLY_FULL) & pl.col(_ONLY_REPLAYED))
    expected = judged.get(ROWS) if judged else None
    found = [_rows_apart(joined, identity, moment, expected)]
    for name in names:
        differs = _differs(name, others[name], full.schema[name], both)
        if judged and name in judged:
            differs &= judged[name]
        rows = both.filter(differs)
        if rows.height:
            found.append(_difference(name, rows, identity, moment, name, others[name]))
    return Compared(full.height, tuple(one for one in found if one is not None))


def _numbered(frames: Sequence[pl.DataFrame], identity: Sequence[str]) -> list[pl.DataFrame]:
    import polars as pl

    if not any(frame.select(identity).is_duplicated().any() for frame in frames):
        return list(frames)
    number = pl.int_range(pl.len()).over(list(identity)).alias(_NUMBER)
    return [frame.with_columns(number) for frame in frames]


def _differs(name: str, other: str, kind: pl.DataType, both: pl.DataFrame) -> pl.Expr:
    import polars as pl

    one, two = pl.col(name), pl.col(other)
    apart = one.ne_missing(two)
    if not kind.is_float():
        return apart
    scale = both.select(pl.col(name).filter(pl.col(name).is_finite()).abs().max()).item() or 0.0
    near = (one - two).abs() <= RELATIVE * pl.max_horizontal(one.abs(), two.abs()) + (
        OF_SCALE * scale
    )
    return apart & ~near.fill_null(value=False)


def _rows_apart(
    joined: pl.DataFrame,
    identity: Sequence[str],
    moment: str | None,
    expected: pl.Expr | None,
) -> Difference | None:
    import polars as pl

    sides = {_ONLY_FULL: "full", _ONLY_REPLAYED: "replayed"}
    words = [
        pl.when(pl.col(side)).then(pl.lit("there")).otherwise(pl.lit("missing")).alias(name)
        for side, name in sides.items()
    ]
    missing = pl.col(_ONLY_REPLAYED).is_null()
    if expected is not None:
        missing &= expected
    apart = joined.filter(pl.col(_ONLY_FULL).is_null() | missing)
    if apart.is_empty():
        return None
    told = apart.select(*identity, *_beside(moment, identity), *words)
    return _difference(ROWS, told, identity, moment, "full", "replayed")


def _beside(moment: str | None, identity: Sequence[str]) -> list[str]:
    return [moment] if moment and moment not in identity else []


def _difference(
    column: str,
    rows: pl.DataFrame,
    identity: Sequence[str],
    moment: str | None,
    full: str,
    replayed: str,
) -> Difference:
    order = [*([moment] if moment else []), *(name for name in identity if name != moment)]
    first = rows.sort(order, nulls_last=True).head(EXAMPLES)
    examples = tuple(
        Example(
            {name: row[name] for name in identity},
            _utc(row[moment]) if moment else None,
            row[full],
            row[replayed],
        )
        for row in first.iter_rows(named=True)
    )
    return Difference(column, rows.height, examples[0].moment, examples)


def _utc(moment: Any) -> datetime | None:
    return moment.astimezone(UTC) if isinstance(moment, datetime) and moment.tzinfo else moment
