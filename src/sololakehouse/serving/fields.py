"""What a request may hold: the fields of a row, with their types, from the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Required

from sololakehouse.errors import RequestError, suggestion
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.udf import Functions, dtype_of
from sololakehouse.lake import Snapshot
from sololakehouse.serving.field import Field, Role, annotation, is_askable

if TYPE_CHECKING:
    import polars as pl
    from pydantic import TypeAdapter, ValidationError

_SHOWN = 3


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

        return TypeAdapter(list_of(self.loose_row))

    def _typed(self, name: str, required: Sequence[Role]) -> Any:
        fields: dict[str, Any] = {}
        for field in self.fields:
            kind = annotation(field)
            fields[field.name] = Required[kind] if field.role in required else NotRequired[kind]
        return closed_dict(name, fields)

    def frame(self, rows: Sequence[Mapping[str, Any]], now: datetime) -> pl.DataFrame:
        """Return validated rows as a frame; moments that are left out are `now`.

        Raises
        ------
        RequestError
            Another field is there in some rows and not in others.
        """
        import polars as pl

        moments = self.of_role("moment")
        present = set(rows[0] if rows else self.types)
        for row in rows:
            if row.keys() ^ present:
                _refuse_uneven((row.keys() ^ present).difference(moments))
                present |= row.keys()
        return pl.DataFrame(
            [
                pl.Series(name, [row.get(name, now) for row in rows], kind)
                for name, kind in self.types.items()
                if name in present or name in moments
            ]
        )


def _refuse_uneven(names: set[str]) -> None:
    for name in sorted(names):
        raise RequestError(
            f"{name!r} is in some rows and not in others. Send it in all rows, or in none; null is "
            "a value that is not known."
        )


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
    return Fields(tuple(field for field in found if is_askable(field)))


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


def list_of(row: Any, least: int = 0, most: int | None = None) -> Any:
    """Return a type of lists that pydantic validates, with limits on their length."""
    from pydantic import Field as Limits

    kind = list.__class_getitem__(row)
    return Annotated[kind, Limits(min_length=least, max_length=most)]


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
