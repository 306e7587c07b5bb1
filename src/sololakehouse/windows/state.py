"""What is kept of rows so that they can be put together: first at one moment, then in a window.

Sums are of whole numbers, because sums of floating-point numbers depend on the order of addition:
on threads, on files, and on where an increment begins. A value counts as a whole number of its last
decimal, of up to 64 bits; the sums are DECIMALs, because what a BIGINT does when it overflows
differs between engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pyspark.sql import Column

Kind = Literal["count", "sum", "squares", "min", "max", "last"]

_WHOLE = "decimal(38,0)"
# What fits into 64 bits, and what can be squared and added up 100 million times in 38 digits.
_LIMITS = {"sum": 9.2e18, "squares": 1e15}


@dataclass(frozen=True)
class State:
    """One thing that is kept of the rows at a position.

    Attributes
    ----------
    column
        None counts rows.
    decimals
        How many decimals of a value count in a sum.
    tie_breaker
        Column that decides which of the rows of one instant is their last.
    """

    kind: Kind
    column: str | None
    decimals: int
    tie_breaker: str | None

    @property
    def is_sum(self) -> bool:
        """Whether what rows add to it can be taken away again when they leave."""
        return self.kind in ("count", "sum", "squares")

    @property
    def name(self) -> str:
        """The name of its column."""
        name = f"__{self.kind}__{self.column}__{self.decimals}__{self.tie_breaker}"
        # In a name, a dot would mean a field, and back-quotes a quotation.
        return name.replace(".", "·").replace("`", "´")

    def within(self, window: str) -> str:
        """Return the name of its column for a window."""
        return f"{self.name}__{window}"

    def of_rows(self, timestamp: str) -> Column:
        """Return what is kept of rows; the one with the greatest `timestamp` is their last."""
        from pyspark.sql import functions as F

        if self.column is None:
            return F.count(F.lit(1))
        column = F.col(self.column)
        if self.kind == "count":
            return F.count(column)
        if self.kind == "last":
            tie = [] if self.tie_breaker is None else [F.col(self.tie_breaker)]
            order = F.struct(F.col(timestamp), *tie, column)
            return F.max_by(column, F.when(column.isNotNull(), order))
        if self.kind in ("min", "max"):
            return self.of_positions(self.column)
        units = self._units(column)
        return F.sum(units if self.kind == "sum" else units * units)

    def of_positions(self, column: str) -> Column:
        """Return what is kept of several positions, of what is kept of each in `column`."""
        from pyspark.sql import functions as F

        if self.kind == "last":
            return F.last(column, ignorenulls=True)
        return {"min": F.min, "max": F.max}.get(self.kind, F.sum)(column)

    def _units(self, column: Column) -> Column:
        """Return a value as a whole number of its last decimal, half of one rounded from zero."""
        from pyspark.sql import functions as F

        units = F.round(column.cast("double") * F.lit(10.0**self.decimals))
        refusal = F.raise_error(
            F.concat(
                F.lit(f"The column {self.column!r} holds "),
                column.cast("string"),
                F.lit(f", which cannot be added up to {self.decimals} decimals. Leave such rows "),
                F.lit("out, or let fewer 'decimals' count."),
            )
        )
        is_refused = F.abs(units) >= F.lit(_LIMITS[self.kind])
        return F.when(is_refused, refusal.cast(_WHOLE)).otherwise(units.cast("bigint").cast(_WHOLE))


def deviation(count: Column, total: Column, squares: Column) -> Column:
    """Return the standard deviation of a sample of whole numbers; NULL for fewer than two.

    Squares are taken around a whole number q near the mean: the sum of (x - q)^2 is squares - q (2
    total - n q). It is exact, so nothing is lost where the mean is large beside the deviation.
    """
    from pyspark.sql import functions as F

    near = F.round(total.cast("double") / F.nullif(count, F.lit(0))).cast("bigint").cast(_WHOLE)
    rest = total - near * count
    around = (squares - near * (total + rest)).cast("double")
    beside = rest.cast("double") * rest.cast("double") / F.nullif(count, F.lit(0))
    return F.sqrt((around - beside) / F.nullif(count - F.lit(1), F.lit(0)))
