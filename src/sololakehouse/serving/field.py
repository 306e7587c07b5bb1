"""One field of a request: its type, and what validates a value of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from sololakehouse.errors import RunError

if TYPE_CHECKING:
    import polars as pl

Role = Literal["key", "moment", "input", "feature"]
_TEXT_DATE = re.compile(r"^\d{4}-\d\d-\d\d$")
_TEXT_MOMENT = re.compile(
    r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:?\d\d)$"
)
_FIRST, _LAST = datetime(1, 1, 3), datetime(9999, 12, 29)


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes
    ----------
    role
        `key` to look up by; `moment` as of which, by default when the request came; another
        `input` of the model or of a function; or a `feature`, which is looked up if it is left out.
    """

    name: str
    dtype: pl.DataType
    role: Role


def annotation(field: Field) -> Any:
    """Return the type that validates a field; null is allowed, but not for a moment."""
    from pydantic import WithJsonSchema

    kind = _plain(field)
    about = {"description": _ABOUT[field.role]}
    if field.role == "moment":
        return Annotated[kind, WithJsonSchema({"type": "string", "format": "date-time", **about})]
    shown = WithJsonSchema({**_schema(field.dtype), **about})
    return Annotated[kind | None, shown]


_ABOUT: Mapping[Role, str] = {
    "key": "A key to look features up by; null: no features.",
    "moment": "As of when, with a time zone. Left out: when the request came.",
    "input": "An input of the model; null: not known.",
    "feature": "A feature. Left out: it is looked up or computed.",
}


def _plain(field: Field) -> Any:
    import polars as pl
    from pydantic import AllowInfNan, BeforeValidator, Strict
    from pydantic import Field as Limits

    dtype = field.dtype
    if isinstance(dtype, pl.Datetime):
        return Annotated[datetime, BeforeValidator(_moment)]
    if dtype == pl.Date:
        return Annotated[date, BeforeValidator(_date)]
    if dtype == pl.Boolean:
        return Annotated[bool, Strict(), BeforeValidator(_boolean)]
    if dtype.is_integer():
        low, high = _bounds(dtype)
        return Annotated[int, Strict(), Limits(ge=low, le=high), BeforeValidator(_whole)]
    if dtype.is_float():
        return Annotated[float, Strict(), AllowInfNan(False)]
    if dtype in (pl.String, pl.Categorical):
        return Annotated[str, Strict()]
    raise RunError(
        f"The field {field.name!r} is of type {dtype}, which a request cannot hold. Serving takes "
        "numbers, booleans, text, dates and moments: make one of it in the feature table."
    )


def _schema(dtype: pl.DataType) -> dict[str, Any]:
    import polars as pl

    if isinstance(dtype, pl.Datetime):
        return {"type": ["string", "null"], "format": "date-time"}
    if dtype == pl.Date:
        return {"type": ["string", "null"], "format": "date"}
    if dtype == pl.Boolean:
        return {"type": ["boolean", "null"]}
    if dtype.is_integer():
        low, high = _bounds(dtype)
        return {"type": ["integer", "null"], "minimum": low, "maximum": high}
    return {"type": ["number" if dtype.is_float() else "string", "null"]}


def _bounds(dtype: pl.DataType) -> tuple[int, int]:
    bits = int(str(dtype).removeprefix("U").removeprefix("Int"))
    return (
        (0, 2**bits - 1)
        if str(dtype).startswith("U")
        else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )


def _moment(value: Any) -> Any:
    if not isinstance(value, str) or not _TEXT_MOMENT.match(value):
        raise ValueError(
            "must be a moment with a time zone and at most microseconds, as 2026-01-31T08:00:00Z"
        )
    moment = datetime.fromisoformat(value.upper().replace(" ", "T"))
    if not _FIRST < moment.replace(tzinfo=None) < _LAST:
        raise ValueError("must be a moment of the years 1 to 9999")
    return moment


def _date(value: Any) -> Any:
    if not isinstance(value, str) or not _TEXT_DATE.match(value):
        raise ValueError("must be a date, as 2026-01-31")
    return date.fromisoformat(value)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _boolean(value: Any) -> Any:
    return bool(value) if not isinstance(value, bool) and value in (0, 1) else value


def is_askable(field: Field) -> bool:
    """Whether a request can hold a field; a feature need not be there."""
    try:
        annotation(field)
    except RunError:
        if field.role != "feature":
            raise
        return False
    return True
