"""Computed features: functions that are bound to columns, and called for one row after the other.

A function sees the values of its own row and nothing else. So what it gives does not depend on
which rows are computed together, in training and in inference alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import FeatureFunctionError, FunctionFailedError, suggestion
from sololakehouse.features.function import FeatureFunction
from sololakehouse.features.udf import Udf, said
from sololakehouse.lake.contract import described_row

if TYPE_CHECKING:
    import polars as pl

_BATCH = 100_000
_TRIED_TWICE = 100
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class PlannedFunction:
    """A function that is known to fit the columns that it is bound to."""

    declared: FeatureFunction
    udf: Udf

    @property
    def output(self) -> str:
        """The name of its column."""
        return self.declared.output

    @property
    def bindings(self) -> Mapping[str, str]:
        """Parameter to column."""
        return self.declared.input_bindings

    def column(self, rows: pl.DataFrame) -> pl.Series:
        """Call the function for each row.

        Raises
        ------
        FunctionFailedError
            It raised an error, gave another type than it declares, or gives another answer when
            it is asked again.
        """
        import polars as pl

        column = pl.Series(self.output, [], dtype=self.udf.dtype)
        for some in rows.iter_slices(_BATCH):
            values = [self._value(row) for row in self._arguments(some)]
            column.append(pl.Series(self.output, values, dtype=self.udf.dtype))
        self._refuse_changing(rows.head(_TRIED_TWICE))
        return column

    def _arguments(self, rows: pl.DataFrame) -> Iterator[Mapping[str, Any]]:
        if not self.bindings:
            return repeat({}, rows.height)
        return rows.select(
            _as_given(column, self.udf.parameters[name]).alias(name)
            for name, column in self.bindings.items()
        ).iter_rows(named=True)

    def _value(self, arguments: Mapping[str, Any]) -> Any:
        try:
            value = self.udf.function(**arguments)
        except Exception as error:
            null = " (NULL comes as None)" if None in arguments.values() else ""
            raise FunctionFailedError(
                f"{self._call(arguments)} failed: {said(error)}{null}."
            ) from error
        if value is None or _fits(value, self.udf.returns):
            return value
        raise FunctionFailedError(
            f"{self._call(arguments)} gave {value!r} ({type(value).__name__}), and declares "
            f"{_declared(self.udf.returns)}."
        )

    def _refuse_changing(self, rows: pl.DataFrame) -> None:
        first = [self._value(row) for row in self._arguments(rows)]
        for row, one in zip(self._arguments(rows), first, strict=True):
            other = self._value(row)
            if repr(other) != repr(one):
                raise FunctionFailedError(
                    f"{self._call(row)} gave {one!r}, and {other!r} when it was asked again. A "
                    "function must give the same answer each time: take moments and random "
                    "numbers from columns."
                )

    def _call(self, arguments: Mapping[str, Any]) -> str:
        return f"{self.udf.place}: {self.udf.name}({described_row(arguments)})"


def plan_functions(
    functions: Iterable[FeatureFunction],
    udfs: Mapping[str, Udf],
    columns: Mapping[str, pl.DataType],
    where: str,
    hidden: Mapping[str, str] | None = None,
) -> list[PlannedFunction]:
    """Check functions against the columns of labels and lookups; no data is read.

    Parameters
    ----------
    udfs
        The function of each, by name.
    columns
        Columns of the labels and looked-up features, with their types.
    where
        Name of the labels for the messages.
    hidden
        Columns that no function may see, with what they are.

    Raises
    ------
    FeatureFunctionError
        A function does not fit: parameters, columns, types, names.
    """
    functions = tuple(functions)
    known = dict(columns)
    later = {one.output: one.udf_name for one in functions}
    plans = []
    for declared in functions:
        udf = udfs[declared.udf_name]
        _check_parameters(declared, udf)
        for parameter, column in declared.input_bindings.items():
            _check_column(declared, column, known, later, where, hidden or {})
            _check_type(udf, parameter, column, known[column])
        _refuse_collision(declared, known)
        known[declared.output] = udf.dtype
        plans.append(PlannedFunction(declared, udf))
    return plans


def with_functions(rows: pl.DataFrame, plans: Sequence[PlannedFunction]) -> pl.DataFrame:
    """Return the rows with the columns of the functions, each of which may use those before it."""
    for plan in plans:
        rows = rows.with_columns(plan.column(rows))
    return rows


def _check_parameters(declared: FeatureFunction, udf: Udf) -> None:
    for parameter in declared.input_bindings:
        if parameter not in udf.parameters:
            raise FeatureFunctionError(
                f"{udf.place}: {udf.name} has no parameter {parameter!r}. "
                f"{suggestion(parameter, udf.parameters, 'parameter')}"
            )
    unbound = [one for one in udf.required if one not in declared.input_bindings]
    if unbound:
        raise FeatureFunctionError(
            f"{udf.place}: {udf.name}: input_bindings says no column for {', '.join(unbound)}."
        )


def _check_column(
    declared: FeatureFunction,
    column: str,
    known: Mapping[str, pl.DataType],
    later: Mapping[str, str],
    where: str,
    hidden: Mapping[str, str],
) -> None:
    name = declared.udf_name
    if column in hidden:
        raise FeatureFunctionError(
            f"FeatureFunction {name}: {column!r} is {hidden[column]}, which is not known when a "
            "model predicts. Bind another column."
        )
    if column in known:
        return
    if column in later:
        raise FeatureFunctionError(
            f"FeatureFunction {name}: {column!r} is computed by {later[column]}, which comes "
            "later. Functions are evaluated in the order given: put that one first."
        )
    raise FeatureFunctionError(
        f"FeatureFunction {name}: {where} and the lookups have no column {column!r}. "
        f"{suggestion(column, known, 'column')}"
    )


def _check_type(udf: Udf, parameter: str, column: str, dtype: pl.DataType) -> None:
    kind = udf.parameters[parameter]
    if not _takes(kind, dtype):
        way = "Bind another column, or change the annotation."
        if kind is int and dtype.is_float():
            way += " (pandas makes integers with NULLs doubles; .astype('Int64') makes them whole.)"
        raise FeatureFunctionError(
            f"{udf.place}: {udf.name} declares {parameter}: {kind.__name__}, and {column!r} is "
            f"{dtype}. {way}"
        )


def _refuse_collision(declared: FeatureFunction, known: Mapping[str, pl.DataType]) -> None:
    # Delta compares column names without regard to case.
    taken = {name.lower(): name for name in known}
    if declared.output.lower() in taken:
        raise FeatureFunctionError(
            f"FeatureFunction {declared.udf_name}: there is a column "
            f"{taken[declared.output.lower()]!r} already. Give it another output_name."
        )


def _takes(kind: type, dtype: pl.DataType) -> bool:
    import polars as pl

    if kind is int:
        return dtype.is_integer()
    if kind is float:
        return dtype.is_integer() or dtype.is_float()
    if kind is datetime:
        return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    same: Mapping[type, tuple[Any, ...]] = {
        bool: (pl.Boolean,),
        str: (pl.String, pl.Categorical, pl.Enum),
        bytes: (pl.Binary,),
        date: (pl.Date,),
    }
    return dtype.base_type() in same[kind]


def _as_given(column: str, kind: type) -> pl.Expr:
    import polars as pl

    if kind is float:
        return pl.col(column).cast(pl.Float64)
    return pl.col(column).dt.convert_time_zone("UTC") if kind is datetime else pl.col(column)


def _fits(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and value in _INT64
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if kind is date:
        return isinstance(value, date) and not isinstance(value, datetime)
    if kind is datetime:
        return isinstance(value, datetime) and value.tzinfo is not None
    return isinstance(value, kind)


def _declared(kind: type) -> str:
    more = {int: " of 64 bits", datetime: " with a time zone"}
    return kind.__name__ + more.get(kind, "")
