"""What to look up in a feature table: `FeatureLookup`, with Databricks' names."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_serializer, field_validator

from sololakehouse.config.duration import Duration
from sololakehouse.config.settings import Settings
from sololakehouse.config.table_name import TableName
from sololakehouse.config.validation import validation_mistakes
from sololakehouse.errors import FeatureLookupError
from sololakehouse.features.defaults import written_default


def as_names(value: Any) -> Any:
    """Return one name as several; leave anything else to the validation."""
    return (value,) if isinstance(value, str) else value


def _one_name(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


Names = Annotated[tuple[str, ...], BeforeValidator(as_names), Field(min_length=1)]


class FeatureLookup(Settings):
    """Features of one table, and how its rows are found for a label.

    Attributes
    ----------
    table_name
        The feature table, `schema.table`.
    lookup_key
        Columns of the labels, one for each key of the feature table, in the order of its
        `feature.keys`. One name or several.
    feature_names
        Columns to take; None takes all but keys, timestamp and `known_at`.
    rename_outputs
        Feature name to the name that it gets in the training set.
    timestamp_lookup_key
        Column of the labels with the moment as of which is looked up. Needed if, and only if, the
        feature table has a timestamp.
    lookback_window
        Greatest age of a feature row, inclusive; None for any age. In YAML `90min`, `3h`, `28d`,
        or ISO 8601.
    default_values
        Output name (after `rename_outputs`, as on Databricks) to the value that replaces NULL,
        whether no row was found or the row found has a NULL there. It is of the feature's type, or
        text for it: ISO 8601 with a time zone for a moment, `nan` or `inf` for a float.

    Raises
    ------
    FeatureLookupError
        An argument is missing, unknown or has no valid value.

    Examples
    --------
    >>> FeatureLookup(
    ...     table_name="features.origin_weather",
    ...     lookup_key="origin",
    ...     feature_names=["temp"],
    ...     timestamp_lookup_key="predict_at",
    ...     lookback_window=timedelta(hours=3),
    ... ).lookup_key
    ('origin',)
    """

    table_name: TableName
    lookup_key: Names
    feature_names: Names | None = None
    rename_outputs: dict[str, str] = Field(default={})
    timestamp_lookup_key: Annotated[str | None, BeforeValidator(_one_name)] = None
    lookback_window: Duration | None = None
    default_values: dict[str, Any] = Field(default={})

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            table = fields.get("table_name", "a feature table")
            mistakes = validation_mistakes(error, FeatureLookup)
            raise FeatureLookupError(f"Lookup in {table}: {mistakes}") from error

    @field_validator("rename_outputs", "default_values", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_serializer("default_values", when_used="json")
    def _as_json(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: written_default(value) for name, value in values.items()}

    @field_validator("lookback_window")
    @classmethod
    def _not_negative(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(0):
            raise ValueError(f"must not be negative, and is {value / timedelta(hours=1):g} h")
        return value

    def output_name(self, feature: str) -> str:
        """Return the name that a feature has in the training set."""
        return self.rename_outputs.get(feature, feature)

    def only(self, features: Collection[str]) -> FeatureLookup:
        """Return the lookup of some of its features."""
        outputs = {self.output_name(name) for name in features}
        renamed = {name: new for name, new in self.rename_outputs.items() if name in features}
        filled = {name: value for name, value in self.default_values.items() if name in outputs}
        changes = {"rename_outputs": renamed, "default_values": filled}
        return self.model_copy(update={"feature_names": tuple(features), **changes})
