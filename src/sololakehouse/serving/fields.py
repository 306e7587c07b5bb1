"""What a request may hold: the fields of a row, with their types, from the model itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required

from sololakehouse.errors import RequestError, RunError, suggestion
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.udf import Functions, dtype_of
from sololakehouse.lake import Snapshot

if TYPE_CHECKING:
    import polars as pl
    from pydantic import TypeAdapter, ValidationError

Role = Literal["key", "moment", "input", "feature"]
_TEXT_DATE = re.compile(r"^\d{4}-\d\d-\d\d$")
_TEXT_MOMENT = re.compile(
    r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:?\d\d)$"
)
_SHOWN = 3
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


@dataclass(frozen=True)
class Fields:
    """The fields of a row of a request, in the order of keys, moments, inputs and features."""

    fields: tuple[Field, ...]

    @cached_property
    def types(self) -> dict[str, pl.DataType]:
        """The type of each field."""
        return {field.name: field.dtype for field in self.fields}

    @cached_property
    def asked(self) -> dict[str, pl.DataType]:
        """The fields that are no features."""
        return {field.name: field.dtype for field in self.fields if field.role != "feature"}

    def of_role(self, *roles: Role) -> list[str]:
        """Return the names of fields."""
        return [field.name for field in self.fields if field.role in roles]

    @cached_property
    def row(self) -> Any:
        """A row with keys and inputs required, for `/predict`."""
        return self._typed("Row", required=("key", "input"))

    @cached_property
    def loose_row(self) -> Any:
        """A row with any of the fields, for `/invocations`."""
        return self._typed("InvocationRow", required=())

    @cached_property
    def loose_rows(self) -> TypeAdapter[Any]:
        """Validates rows with any of the fields."""
        from pydantic import TypeAdapter

        return TypeAdapter(list[self.loose_row])

    def _typed(self, name: str, required: Sequence[Role]) -> Any:
        fields: dict[str, Any] = {}
        for field in self.fields:
            kind = _annotation(field)
            fields[field.name] = Required[kind] if field.role in required else NotRequired[kind]
        return closed_dict(name, fields)

    def frame(self, rows: Sequence[Mapping[str, Any]], now: datetime) -> pl.DataFrame:
        """Return validated rows as a frame; moments that are left out are `now`.

        Raises
        ------
        RequestError
            A field is there in some rows and not in others.
        """
        import polars as pl

        present = {name for row in rows for name in row}
        for name in present:
            if any(name not in row for row in rows):
                raise RequestError(
                    f"{name!r} is in some rows and not in others. Send it in all rows, or in none; "
                    "null is a value that is not known."
                )
        moments = [name for name in self.of_role("moment") if name not in present]
        columns = [
            pl.Series(name, [row[name] for row in rows], kind)
            for name, kind in self.types.items()
            if name in present
        ]
        defaults = [pl.Series(name, [now] * len(rows), self.types[name]) for name in moments]
        return pl.DataFrame([*columns, *defaults])


def fields_of(
    spec: TrainingSetSpec,
    columns: Sequence[str],
    training_set: Snapshot,
    tables: Mapping[str, FeatureTable],
    functions: Functions,
) -> Fields:
    """Find out what a request for a model may hold.

    Parameters
    ----------
    columns
        The model's inputs.
    training_set
        What the model was trained on: the types of inputs that are not looked up.

    Raises
    ------
    RunError
        A field has a type that a request cannot hold.
    """
    import polars as pl

    keys: dict[str, pl.DataType] = {}
    features: dict[str, pl.DataType] = {}
    for lookup in spec.feature_lookups:
        table = tables[lookup.table_name]
        keys |= dict(
            zip(lookup.lookup_key, map(table.schema.__getitem__, table.contract.keys), strict=False)
        )
        for name in lookup.feature_names or table.features:
            features[lookup.output_name(name)] = table.schema[name]
    moments = {name: pl.Datetime("us", "UTC") for name in _moments(spec)}
    computed: dict[str, pl.DataType] = {
        one.output: functions.udfs[one.udf_name].dtype for one in spec.feature_functions
    }
    features |= computed
    inputs = _inputs(spec, columns, training_set, functions)
    known = {**keys, **moments, **features}
    inputs = {name: kind for name, kind in inputs.items() if name not in known}
    roles: tuple[tuple[Role, Mapping[str, pl.DataType]], ...] = (
        ("key", keys),
        ("moment", {name: kind for name, kind in moments.items() if name not in keys}),
        ("input", inputs),
        ("feature", features),
    )
    found = [Field(name, kind, role) for role, some in roles for name, kind in some.items()]
    for field in found:
        _annotation(field)
    return Fields(tuple(found))


def _moments(spec: TrainingSetSpec) -> list[str]:
    used = [lookup.timestamp_lookup_key for lookup in spec.feature_lookups]
    bound = [c for one in spec.feature_functions for c in one.input_bindings.values()]
    return sorted({name for name in used if name} | (spec.time_columns & set(bound)))


def _inputs(
    spec: TrainingSetSpec, columns: Sequence[str], training_set: Snapshot, functions: Functions
) -> dict[str, pl.DataType]:
    known = training_set.schema
    found = {name: known[name] for name in columns}
    for one in spec.feature_functions:
        udf = functions.udfs[one.udf_name]
        for parameter, column in one.input_bindings.items():
            found.setdefault(column, known.get(column) or dtype_of(udf.parameters[parameter]))
    return found


def closed_dict(name: str, fields: Mapping[str, Any]) -> Any:
    """Return a type of dictionaries that pydantic validates: these fields, and no others."""
    from pydantic import with_config
    from typing_extensions import TypedDict

    make: Any = TypedDict
    made = make(name, dict(fields))
    with_config(extra="forbid", title=name)(made)
    return made


def mistakes_of(error: ValidationError, fields: Fields) -> RequestError:
    """Say in one sentence what is wrong with a request, and name the field."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    said = [_mistake(detail, fields) for detail in details[:_SHOWN]]
    more = len(details) - len(said)
    return RequestError("; ".join([*said, *([f"and {more} more"] if more else [])]) + ".")


def _mistake(detail: Any, fields: Fields) -> str:
    place = ".".join(str(one) for one in detail["loc"])
    name = str(detail["loc"][-1]) if detail["loc"] else "the body"
    if detail["type"] == "extra_forbidden":
        known = fields.types if len(detail["loc"]) > 1 else ()
        hint = suggestion(name, known, "field").rstrip(".") if known else ""
        return f"{place}: there is no such field{f'. {hint}' if hint else ''}"
    if detail["type"] == "missing":
        return f"{place}: the field is missing"
    text = detail["msg"].removeprefix("Value error, ")
    return f"{place or name}: {text[:1].lower()}{text[1:]}"


def _annotation(field: Field) -> Any:
    """Return the type that validates a field; null is allowed, but not for a moment."""
    from pydantic import WithJsonSchema

    kind = _plain(field)
    about = {"description": _ABOUT[field.role]}
    if field.role == "moment":
        return Annotated[kind, WithJsonSchema({"type": "string", "format": "date-time", **about})]
    return Annotated[kind | None, WithJsonSchema({**_schema(field.dtype), **about})]


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
        return Annotated[float, Strict(), AllowInfNan(False), BeforeValidator(_finite)]
    if dtype in (pl.String, pl.Categorical):
        return Annotated[str, Strict(), BeforeValidator(_storable)]
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


def _finite(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("must be a number that a double can hold") from None
    return value


def _boolean(value: Any) -> Any:
    return bool(value) if not isinstance(value, bool) and value in (0, 1) else value


def _storable(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must be text that UTF-8 can hold") from None
    return value
