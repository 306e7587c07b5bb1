"""Values that stand for NULL in looked-up features: as people write them, and in recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_NOT_FINITE = ("nan", "inf", "-inf")


def default_value(value: Any, kind: pl.DataType) -> pl.Series:
    """Return a default as a column of one row, in the type of its feature.

    Text stands for what JSON has no word for: `nan`, `inf` and `-inf` for a float, ISO 8601 for a
    date or an instant, digits for a decimal, and UTF-8 for binary.

    Raises
    ------
    ValueError
        The value is of another type, or would not be the same in this one.

    Examples
    --------
    >>> import polars as pl
    >>> default_value("2026-01-31", pl.Date()).to_list()
    [datetime.date(2026, 1, 31)]
    """
    import polars as pl

    exact = _read(value, kind)
    try:
        found = pl.Series([exact], dtype=kind, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise ValueError from error
    is_exact = kind.is_float() or kind.is_nested() or found.to_list() == [exact]
    if found.dtype != kind or not is_exact:
        raise ValueError("the value would be another one")
    return found


def written_default(value: Any) -> Any:
    """Return a default with words for the numbers that JSON does not have.

    Examples
    --------
    >>> written_default(float("nan")), written_default([7, float("-inf")])
    ('nan', [7, '-inf'])
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [written_default(one) for one in value]
    if isinstance(value, Mapping):
        return {name: written_default(one) for name, one in value.items()}
    return value


def _read(value: Any, kind: pl.DataType) -> Any:
    import polars as pl

    if value is None or isinstance(value, bool):
        return value
    if isinstance(kind, pl.Datetime):
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise ValueError("write a moment with a time zone")
        return moment
    if kind == pl.Date:
        day = date.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(day, datetime):
            raise ValueError("write a day")
        return day
    if isinstance(kind, pl.Decimal):
        return _decimal(value)
    if kind == pl.Binary and isinstance(value, bytes | str):
        return value.encode() if isinstance(value, str) else value.decode().encode()
    if kind.is_float() and value in _NOT_FINITE:
        return float(value)
    if isinstance(kind, pl.List) and isinstance(value, list | tuple):
        return [_inner(one, kind.inner) for one in value]
    if isinstance(kind, pl.Struct) and isinstance(value, Mapping):
        kinds: dict[str, Any] = {field.name: field.dtype for field in kind.fields}
        if set(value) != set(kinds):
            raise ValueError(f"its fields are {', '.join(kinds)}")
        return {name: _inner(value[name], inner) for name, inner in kinds.items()}
    return value


def _inner(value: Any, kind: Any) -> Any:
    return default_value(value, kind).to_list()[0]


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError from error
