"""What is computed over a window: `Aggregate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, get_args

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.windows.length import Length, label_of, length_of
from sololakehouse.windows.state import Kind, State, deviation

if TYPE_CHECKING:
    from pyspark.sql import Column

Function = Literal["count", "sum", "mean", "min", "max", "stddev", "last"]

_DECIMALS = 6
_STATES: dict[Function, tuple[Kind, ...]] = {
    "count": ("count",),
    "sum": ("count", "sum"),
    "mean": ("count", "sum"),
    "min": ("min",),
    "max": ("max",),
    "stddev": ("count", "sum", "squares"),
    "last": ("last",),
}
_SUMMING = ("sum", "mean", "stddev")


@dataclass(frozen=True)
class Aggregate:
    """A function of a column over one or several trailing windows.

    Every function leaves NULLs out. An empty window gives 0 for `count`, and NULL for the others.

    Attributes
    ----------
    function
        `count` (BIGINT); `sum`, `mean`, `stddev` (DOUBLE); `min`, `max`, `last` (the column's
        type). `stddev` is that of a sample, divided by n - 1, and NULL for fewer than two values.
        `last` is the value of the latest instant at which there is one.
    column
        Name of a column; in sums, BOOLEAN counts as 0 and 1. None counts rows, with `count` only.
    windows
        Lengths of time such as `7d` or `90min`, or timedeltas; one or several.
    name
        Name of the output, where `{window}` stands for the length as it is written. None:
        `<column>_<function>_<window>`, such as `arr_delay_mean_7d`, or `count_7d` for rows.
    decimals
        How many decimals of a value count in `sum`, `mean` and `stddev`, from 0 to 15; None is 6.
        Numbers of up to 15 digits, these decimals included, are exact. A value of 9.2e18 units of
        the last decimal or more (1e15 for `stddev`), an infinite one, or NaN fails the run.
    tie_breaker
        For `last`: of the rows of one instant, the one with the greatest value in this column
        counts; NULL is the least. None, and for rows that are equal in it: the greatest value of
        `column` itself.

    Raises
    ------
    UsageError
        The function is unknown, or an argument is missing, or has no meaning for it.

    Examples
    --------
    >>> Aggregate("mean", "arr_delay", windows=["1h", "7d"]).outputs
    ('arr_delay_mean_1h', 'arr_delay_mean_7d')
    >>> Aggregate("count", windows="28d", name="arrivals_{window}").outputs
    ('arrivals_28d',)
    """

    function: Function
    column: str | None = None
    _: KW_ONLY
    windows: Length | Sequence[Length]
    name: str | None = None
    decimals: int | None = None
    tie_breaker: str | None = None

    def __post_init__(self) -> None:
        known = get_args(Function)
        if self.function not in known:
            raise NotFoundError.of("aggregate", self.function, known)
        mistake = self._mistake()
        if mistake:
            raise UsageError(f"The aggregate {self.function}({self.column or ''}) {mistake}")

    def _mistake(self) -> str | None:
        if self.column is None and self.function != "count":
            return "names no column; only count does without, and counts rows."
        if self.decimals is not None and self.function not in _SUMMING:
            return f"has 'decimals', which only {', '.join(_SUMMING)} have."
        if self.decimals is not None and not 0 <= self.decimals <= 15:
            return f"has decimals={self.decimals}. Write a number from 0 to 15."
        if self.tie_breaker is not None and self.function != "last":
            return "has a 'tie_breaker', which only last has."
        if not self._windows:
            return "has no window. Write one, such as windows='7d'."
        if len(self.lengths) < len(self._windows):
            return "has a window twice."
        return None

    @property
    def lengths(self) -> dict[str, timedelta]:
        """The windows as they stand in names, and their lengths."""
        return {label_of(window): length_of(window) for window in self._windows}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the columns that it gives, one for each window."""
        return tuple(self.output(window) for window in self.lengths)

    def output(self, window: str) -> str:
        """Return the name of its column for one window."""
        usual = "_".join(part for part in (self.column, self.function, "{window}") if part)
        return (self.name or usual).replace("{window}", window)

    @property
    def states(self) -> tuple[State, ...]:
        """What must be known of the rows in a window."""
        return tuple(
            State(kind, self.column, 0 if kind == "count" else self._decimals, self.tie_breaker)
            for kind in _STATES[self.function]
        )

    def value(self, window: str) -> Column:
        """Return its value for one window, from what is known of the rows in it."""
        from pyspark.sql import functions as F

        known = [F.col(state.within(window)) for state in self.states]
        unit = 10.0**self._decimals
        if self.function == "count":
            return F.coalesce(known[0], F.lit(0))
        if self.function == "sum":
            return F.when(known[0] > 0, known[1].cast("double") / unit)
        if self.function == "mean":
            return known[1].cast("double") / unit / F.nullif(known[0], F.lit(0))
        if self.function == "stddev":
            return deviation(*known) / unit
        return known[0]

    @property
    def _windows(self) -> Sequence[Length]:
        if isinstance(self.windows, Sequence) and not isinstance(self.windows, str):
            return self.windows
        return [self.windows]

    @property
    def _decimals(self) -> int:
        return _DECIMALS if self.decimals is None else self.decimals
