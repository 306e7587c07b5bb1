"""A number for each key of some labels, from 0, in the order of the keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

NUMBER = "number"
_TOO_MANY = 2**63


@dataclass(frozen=True)
class WholeKeys:
    """Whole numbers, dates or instants in one column: each is its own number, less the least.

    `count` says how many numbers there can be.
    """

    key: str
    kind: pl.DataType
    least: int
    count: int

    def numbered(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the rows that may have the key of a label, with its `number`."""
        import polars as pl

        least, greatest = (
            pl.lit(bound, pl.Int64).cast(self.kind)
            for bound in (self.least, self.least + self.count - 1)
        )
        number = pl.col(self.key).to_physical().cast(pl.Int64) - self.least
        inside = rows.filter(pl.col(self.key).is_between(least, greatest))
        return inside.with_columns(number.alias(NUMBER))


@dataclass(frozen=True)
class ListedKeys:
    """Keys of any type and of several columns, listed with their numbers."""

    keys: tuple[str, ...]
    listed: pl.DataFrame

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return self.listed.height

    def numbered(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the rows that have the key of a label, with its `number`."""
        import polars as pl

        first = self.keys[0]
        if has_bounds(self.listed.schema[first]):
            least, greatest = map(pl.lit, self.listed[first].gather([0, -1]))
            rows = rows.filter(pl.col(first).is_between(least, greatest))
        return rows.join(self.listed.lazy(), on=self.keys, how="inner")


def has_bounds(kind: pl.DataType) -> bool:
    """Whether files keep the least and the greatest value of columns of a type."""
    import polars as pl

    return kind.is_integer() or kind in (pl.String, pl.Date, pl.Datetime)


def key_numbers(labels: pl.DataFrame, keys: Sequence[str]) -> WholeKeys | ListedKeys:
    """Give numbers to the keys of labels, of which there is at least one, and none is NULL.

    Examples
    --------
    >>> import polars as pl
    >>> numbers = key_numbers(pl.DataFrame({"shop": ["s", "n", "s"]}), ["shop"])
    >>> numbers.numbered(pl.LazyFrame({"shop": ["s", "x"]})).collect()["number"].to_list()
    [1]
    """
    import polars as pl

    kind = labels.schema[keys[0]]
    if len(keys) == 1 and (kind.is_integer() or kind in (pl.Date, pl.Datetime)):
        whole = labels[keys[0]].to_physical()
        least, greatest = int(whole.min()), int(whole.max())  # type: ignore[arg-type]
        if greatest < _TOO_MANY and greatest - least < _TOO_MANY - 1:
            return WholeKeys(keys[0], kind, least, greatest - least + 1)
    listed = labels.select(keys).unique().sort(keys).with_row_index(NUMBER)
    return ListedKeys(tuple(keys), listed.with_columns(pl.col(NUMBER).cast(pl.Int64)))
