"""What goes into a model: the same conversion in training and in inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sololakehouse.errors import ConfigError, NotFoundError, RunError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def model_input(frame: pl.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Convert rows to what a model takes, in training and in inference alike.

    Numbers and booleans become doubles with NaN for NULL, text stays text with None for NULL. The
    result's types depend on the columns' types alone, never on the values.

    Raises
    ------
    NotFoundError, ConfigError, RunError
        As `model_values`.
    """
    return model_values(frame, columns).to_pandas()


def model_values(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return doubles and text, NULL where a value is missing: `model_input` before pandas has it.

    Raises
    ------
    NotFoundError
        A column is missing.
    ConfigError
        A column is neither a number, a boolean nor text.
    RunError
        A number is infinite.
    """
    import polars as pl

    for column in columns:
        if column not in frame.columns:
            raise NotFoundError.of("column", column, frame.columns, where="the model's input")
    converted = frame.select(_as_input(name, frame.schema[name]) for name in columns)
    numbers = [name for name in columns if converted.schema[name] == pl.Float64]
    infinite = converted.select(pl.col(numbers).is_infinite().sum())
    for column, rows in zip(infinite.columns, infinite.row(0) if numbers else (), strict=True):
        if rows:
            from sololakehouse.lake.contract import counted

            raise RunError(
                f"The feature {column!r} must be finite or NULL, but {counted(rows)} an infinite "
                "number there. Make it NULL in the query of the table that it comes from."
            )
    return converted


def _as_input(name: str, kind: pl.DataType) -> pl.Expr:
    import polars as pl

    if kind.is_numeric() or kind == pl.Boolean:
        return pl.col(name).cast(pl.Float64)
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return pl.col(name).cast(pl.String)
    raise ConfigError(
        f"The feature {name!r} is of type {kind}. Models take numbers, booleans and text: make one "
        "of it, or list it in 'exclude_columns'."
    )
