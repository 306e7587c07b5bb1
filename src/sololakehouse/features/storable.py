"""Columns of frames in the types that Delta tables have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import UsageError

if TYPE_CHECKING:
    import polars as pl


def storable(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """Return a frame with its columns in types that Delta has; no value changes.

    Delta has no unsigned integers: they become signed ones that hold all their values, those of 64
    bits `BIGINT`. Categories become text, arrays of a fixed length lists.

    Parameters
    ----------
    what
        Name for the messages, such as `the labels`.

    Raises
    ------
    UsageError
        Names differ in nothing but case, a type has no counterpart, or a value does not fit.

    Examples
    --------
    >>> import polars as pl
    >>> storable(pl.DataFrame({"n": [255]}, schema={"n": pl.UInt8}), "the rows")["n"].dtype
    Int16
    """
    import polars as pl

    refuse_equal_names(frame.columns, what)
    kinds: dict[str, Any] = {name: _kind(kind, name, what) for name, kind in frame.schema.items()}
    changed: Any = {name: kind for name, kind in kinds.items() if kind != frame.schema[name]}
    try:
        return frame.cast(changed) if changed else frame
    except pl.exceptions.InvalidOperationError as error:
        listed = ", ".join(f"{name!r} ({frame.schema[name]})" for name in changed)
        raise UsageError(
            f"A column of {what} has values that Delta cannot hold as BIGINT: {listed}. Cast it to "
            "pl.Decimal(20, 0), or to text."
        ) from error


def refuse_untyped(schema: Mapping[str, pl.DataType], what: str) -> None:
    """Refuse columns of which nothing tells the type: no other engine could read them from Delta.

    Raises
    ------
    UsageError
        Names them.
    """
    untyped = [name for name, kind in schema.items() if _is_untyped(kind)]
    if untyped:
        raise UsageError(
            f"Nothing tells the type of {', '.join(map(repr, untyped))} of {what}: it holds NULL "
            "alone. Cast it, for example with .cast(pl.String), or leave it out."
        )


def _is_untyped(kind: pl.DataType) -> bool:
    import polars as pl

    if isinstance(kind, pl.List):
        return _is_untyped(kind.inner)  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct):
        return any(_is_untyped(field.dtype) for field in kind.fields)  # type: ignore[arg-type]
    return kind == pl.Null


def refuse_equal_names(names: Iterable[str], what: str) -> None:
    """Refuse names of columns that differ in nothing but case.

    Raises
    ------
    UsageError
        Names two of them.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise UsageError(
                f"The columns {other!r} and {name!r} of {what} differ in nothing but upper and "
                "lower case, and Delta takes them for one. Give one of them another name."
            )


def _kind(kind: pl.DataType, name: str, what: str) -> pl.DataType:
    """Return the type that Delta has for a type."""
    import polars as pl

    if isinstance(kind, pl.List | pl.Array):
        return pl.List(_kind(kind.inner, name, what))  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct):
        return pl.Struct({field.name: _kind(field.dtype, name, what) for field in kind.fields})  # type: ignore[arg-type]
    if kind in (pl.Int128, pl.UInt128, pl.Float16, pl.Time, pl.Duration, pl.Object):
        raise UsageError(
            f"The column {name!r} of {what} is {kind}, which Delta does not have. Cast it, for "
            f"example to {_INSTEAD.get(str(kind), 'text')}, or leave it out."
        )
    signed: dict[Any, pl.DataType] = {
        pl.UInt8: pl.Int16(),
        pl.UInt16: pl.Int32(),
        pl.UInt32: pl.Int64(),
        pl.UInt64: pl.Int64(),
    }
    if kind in (pl.Categorical, pl.Enum):
        return pl.String()
    return signed.get(kind.base_type(), kind)


_INSTEAD = {"Int128": "Decimal(38, 0)", "UInt128": "Decimal(38, 0)", "Float16": "Float32"}
