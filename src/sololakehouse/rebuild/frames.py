"""Two versions of the same rows side by side: which columns differ, in how many rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class ColumnDifference:
    """How a column differs.

    Attributes
    ----------
    rows
        Rows with another value; NULL equals NULL, NaN equals NaN.
    greatest
        Greatest absolute difference of two numbers; None for what is no number, or if the rows
        could not be paired.
    """

    column: str
    rows: int
    greatest: float | None

    def __str__(self) -> str:
        far = "" if self.greatest is None else f", by at most {self.greatest:.6g}"
        return f"{self.column} in {self.rows:,} row{'' if self.rows == 1 else 's'}{far}"

    def as_json(self) -> dict[str, Any]:
        """Return the difference as JSON values."""
        return {"column": self.column, "rows": self.rows, "greatest": self.greatest}


def column_differences(
    before: pl.LazyFrame, after: pl.LazyFrame, columns: Iterable[str], anchors: Sequence[str]
) -> list[ColumnDifference]:
    """Compare columns of two frames, the most different first; one column is read at a time.

    Rows are paired by their place if both frames have the same values in `anchors`, row by row.
    Otherwise the values of each column are counted: rows are then those values that one frame
    has in excess.

    Parameters
    ----------
    columns
        Columns that both frames have.
    anchors
        Columns that say which row is which, such as those of the labels; none: by place.
    """
    paired = height(before) == height(after) and all(
        _column(before, name).equals(_column(after, name), null_equal=True) for name in anchors
    )
    compare = _by_place if paired else _by_values
    found = [compare(_column(before, name), _column(after, name)) for name in columns]
    return sorted((one for one in found if one.rows), key=lambda one: -one.rows)


def moved_rows(before: pl.LazyFrame, after: pl.LazyFrame) -> int:
    """Return how many places of two frames with the same rows hold another row."""
    import polars as pl

    names = before.collect_schema().names()
    differs = [pl.col(name).ne_missing(pl.col(f"{name}'")) for name in names]
    at_once = max(1, _VALUES_AT_ONCE // len(names))
    moved = 0
    for begin in range(0, height(before), at_once):
        mine, theirs = (
            one.select(names).slice(begin, at_once).collect() for one in (after, before)
        )
        other = theirs.rename(lambda name: f"{name}'")
        beside = pl.concat([mine, other], how="horizontal")
        moved += int(beside.select(pl.any_horizontal(differs).sum()).item())
    return moved


def height(rows: pl.LazyFrame) -> int:
    """Return how many rows a frame has."""
    import polars as pl

    return int(rows.select(pl.len()).collect().item())


def _column(rows: pl.LazyFrame, name: str) -> pl.Series:
    return rows.select(name).collect().to_series()


def _by_place(before: pl.Series, after: pl.Series) -> ColumnDifference:
    differs = before.ne_missing(after)
    greatest = None
    if before.dtype.is_numeric() and after.dtype.is_numeric():
        farthest: Any = (before - after).abs().max()
        greatest = None if farthest is None else float(farthest)
    return ColumnDifference(before.name, int(differs.sum()), greatest)


def _by_values(before: pl.Series, after: pl.Series) -> ColumnDifference:
    import polars as pl

    counts = [one.alias("value").value_counts(name="count") for one in (before, after)]
    both = counts[0].join(counts[1], on="value", how="full", nulls_equal=True)
    excess = (pl.col("count").fill_null(0).cast(pl.Int64)) - pl.col("count_right").fill_null(0)
    gone = both.select(excess.clip(lower_bound=0).sum()).item()
    new = both.select((-excess).clip(lower_bound=0).sum()).item()
    return ColumnDifference(before.name, int(max(gone, new)), None)
