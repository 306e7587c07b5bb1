"""How labels become a training set: the recipe, as it stands in files and commit records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from sololakehouse.config.moment import Moment
from sololakehouse.config.settings import Settings
from sololakehouse.config.table_name import TABLE_NAME
from sololakehouse.config.time_zone import TimeZone
from sololakehouse.errors import UsageError
from sololakehouse.features.function import FeatureFunction
from sololakehouse.features.lookup import FeatureLookup, as_names
from sololakehouse.pipelines.sql import is_select

SCHEMA = "training"


class Recipe(Settings):
    """How labels become a training set.

    Attributes
    ----------
    label
        Column of the labels to predict; a NULL in it is refused.
    timestamp
        Column of the labels by which a table of labels is ordered and data is split.
    label_known_at
        Column of the labels with the moment from which the label is known. NULL: it is not known
        yet. Nothing is trained on a label that was not known at the end of its part of the split.
    feature_lookups
        What to look up; the features follow the labels' columns in this order. Feature functions
        may stand among them, as on Databricks.
    feature_functions
        What to compute from labels, looked-up features and earlier functions, in this order.
    exclude_columns
        Columns of labels or features that the result does not have, one or several; they may still
        be lookup keys.
    allow_exact_match
        Whether a feature row of exactly the label's moment is visible.
    known_as_of
        Replay what could be known at this moment, with a time zone unless the project declares one;
        None: what was known at each label's moment.
    time_zone
        Where clocks show the timestamps of the labels that come without a time zone; None: the zone
        that the project declares. A saved recipe has it if there were such timestamps.
    """

    label: str
    timestamp: str | None = None
    label_known_at: str | None = None
    feature_lookups: tuple[FeatureLookup, ...] = ()
    feature_functions: tuple[FeatureFunction, ...] = ()
    exclude_columns: Annotated[tuple[str, ...], BeforeValidator(as_names)] = ()
    allow_exact_match: bool = True
    known_as_of: Moment | None = None
    time_zone: TimeZone | None = None

    @model_validator(mode="before")
    @classmethod
    def _functions_among_lookups(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(
            content.get("feature_lookups"), list | tuple
        ):
            return content
        both = content["feature_lookups"]
        functions = [one for one in both if _is_function(one)]
        return {
            **content,
            "feature_lookups": [one for one in both if not _is_function(one)],
            "feature_functions": [*functions, *(content.get("feature_functions") or ())],
        }

    @model_serializer(mode="wrap")
    def _without_an_unused_zone(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a recipe that needs no zone as it was before there were zones: hashes stay."""
        written: dict[str, Any] = write(self)
        if self.time_zone is None:
            written.pop("time_zone", None)
        return written

    @property
    def moments(self) -> frozenset[str]:
        """Columns of the labels that have to be moments, if they are timestamps."""
        functions = (one.input_bindings.values() for one in self.feature_functions)
        return self.time_columns.union(*functions)

    @property
    def time_columns(self) -> frozenset[str]:
        """Columns of the labels with a moment to look up or split by, or of the label: no features.

        A function may turn the moment of a lookup into a feature, such as the hour of the day.
        """
        lookups = {lookup.timestamp_lookup_key for lookup in self.feature_lookups}
        return frozenset(name for name in (self.timestamp, self.label_known_at, *lookups) if name)


class TrainingSetSpec(Recipe):
    """A recipe with a name and labels, as in an experiment file.

    Attributes
    ----------
    name
        The table to save to, `training.<name>`.
    labels
        The table of labels, also at a version as `gold.labels@v3`, or a `SELECT`. None in the
        record of a training set whose labels came as a frame.
    function_sources
        The text of each file of functions, by its name, as a commit record keeps it; empty: the
        files in the project's folder.
    """

    name: str
    labels: str | None = None
    function_sources: dict[str, str] = Field(default={})

    @field_validator("name")
    @classmethod
    def _is_saved_in_its_schema(cls, name: str) -> str:
        if not (re.match(TABLE_NAME, name) and name.startswith(f"{SCHEMA}.")):
            raise ValueError(f"{name!r} is no training set. Write {SCHEMA}.NAME")
        return name

    @field_validator("labels")
    @classmethod
    def _table_or_query(cls, labels: str | None) -> str | None:
        if labels is None or is_select(labels):
            return labels
        if not re.match(TABLE_NAME, labels.partition("@")[0]):
            raise ValueError(f"{labels!r} is neither a table, such as gold.sales, nor a SELECT")
        return labels


def _is_function(one: Any) -> bool:
    return isinstance(one, FeatureFunction) or (isinstance(one, Mapping) and "udf_name" in one)


def training_table(name: str) -> str:
    """Return the table for a training set's name, with or without its schema.

    Examples
    --------
    >>> training_table("flight_delay"), training_table("training.flight_delay")
    ('training.flight_delay', 'training.flight_delay')
    """
    table = name if "." in name else f"{SCHEMA}.{name}"
    if not table.startswith(f"{SCHEMA}."):
        raise UsageError(
            f"A training set is saved in the schema {SCHEMA!r}: write {SCHEMA}.NAME, not {name!r}."
        )
    return table
