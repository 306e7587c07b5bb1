"""Comparing what was replayed with what the full history says of the same moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite, isnan
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
        For columns of which not all rows are compared: the condition, over columns that both sides
        have; that of `full` counts. That of `(rows)` says which rows must be there.
    """
    import polars as pl

    names = list(dict.fromkeys(columns))
    if _are_equal(full, replayed, [*identity, *names], judged or {}):
        return Compared(full.height, ())
    joined = _joined([full, replayed], list(identity), names)
    if joined is None:
        numbered = _numbered([full, replayed], identity)
        joined = _joined(numbered, [*identity, _NUMBER], names)
        assert joined is not None
    both = joined.filter(pl.col(_ONLY_FULL) & pl.col(_ONLY_REPLAYED))
    expected = judged.get(ROWS) if judged else None
    found = [_rows_apart(joined, identity, moment, expected)]
    differs = _differences(both, {name: full.schema[name] for name in names})
    if judged:
        differs |= {name: differs[name] & judged[name] for name in names if name in judged}
    counts = both.select(one.sum().alias(name) for name, one in differs.items())
    for name in names:
        if counts[name].item():
            rows = both.filter(differs[name])
            found.append(_difference(name, rows, identity, moment, name, f"{name}{_OTHER}"))
    return Compared(full.height, tuple(one for one in found if one is not None))


def is_same(value: Any, example: Example) -> bool:
    """Whether a value is the one by what was known at the cutoff, or as near as `compare` asks.

    Examples
    --------
    >>> example = Example({}, None, full=0.5, replayed=0.3)
    >>> is_same(0.1 + 0.2, example), is_same(0.31, example), is_same(None, example)
    (True, False, False)
    """
    known = example.replayed
    if not (isinstance(value, float) and isinstance(known, float)):
        return bool(value == known)
    if isnan(value) or isnan(known):
        return isnan(value) and isnan(known)
    sizes = [abs(one) for one in (value, known, example.full) if isinstance(one, float)]
    within = RELATIVE * max(size for size in sizes if isfinite(size)) if isfinite(value) else 0.0
    return value == known or abs(value - known) <= within


def _are_equal(
    full: pl.DataFrame,
    replayed: pl.DataFrame,
    names: Sequence[str],
    judged: Mapping[str, pl.Expr],
) -> bool:
    """Whether both sides have the same rows, in any order, by hashes of 64 bits.

    It is five times as fast as a join, and says nothing of where they differ. Values that are not
    judged on their side are left out.
    """
    import polars as pl

    kept = list(dict.fromkeys(names))
    shown = [
        pl.when(condition).then(pl.col(name)).alias(name)
        for name, condition in judged.items()
        if name in kept
    ]
    one, two = (side.with_columns(shown).select(kept) for side in (full, replayed))
    if one.schema != two.schema or one.height != two.height:
        return False
    return one.hash_rows().sort().equals(two.hash_rows().sort())


def _joined(
    sides: Sequence[pl.DataFrame], keys: list[str], names: Sequence[str]
) -> pl.DataFrame | None:
    """Join both sides by key; None if rows have a key in common."""
    import polars as pl

    left = sides[0].with_columns(pl.lit(value=True).alias(_ONLY_FULL))
    right = sides[1].select([*keys, *names]).rename({name: f"{name}{_OTHER}" for name in names})
    right = right.with_columns(pl.lit(value=True).alias(_ONLY_REPLAYED))
    joined = left.join(right, on=keys, how="full", coalesce=True, nulls_equal=True)
    of_left = joined.height - joined[_ONLY_FULL].null_count()
    of_right = joined.height - joined[_ONLY_REPLAYED].null_count()
    return joined if (of_left, of_right) == (sides[0].height, sides[1].height) else None


def _numbered(frames: Sequence[pl.DataFrame], identity: Sequence[str]) -> list[pl.DataFrame]:
    import polars as pl

    number = pl.int_range(pl.len()).over(list(identity)).alias(_NUMBER)
    return [frame.with_columns(number) for frame in frames]


def _differences(both: pl.DataFrame, kinds: Mapping[str, pl.DataType]) -> dict[str, pl.Expr]:
    """Return for each column where its two values differ."""
    import polars as pl

    floats = [name for name, kind in kinds.items() if kind.is_float()]
    finite = (pl.col(name).filter(pl.col(name).is_finite()).abs().max() for name in floats)
    scales = both.select(finite)
    return {
        name: _differs(name, (scales[name].item() or 0.0) if name in floats else None)
        for name in kinds
    }


def _differs(name: str, scale: float | None) -> pl.Expr:
    import polars as pl

    one, two = pl.col(name), pl.col(f"{name}{_OTHER}")
    apart = one.ne_missing(two)
    if scale is None:
        return apart
    within = RELATIVE * pl.max_horizontal(one.abs(), two.abs()) + OF_SCALE * scale
    return apart & ~((one - two).abs() <= within).fill_null(value=False)


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
