"""A feature that a function computes: `FeatureFunction`, with Databricks' names."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, ValidationError, field_validator

from sololakehouse.config.settings import Settings
from sololakehouse.config.table_name import TABLE_NAME
from sololakehouse.config.validation import validation_mistakes
from sololakehouse.errors import FeatureFunctionError


class FeatureFunction(Settings):
    """A function of the project, and the columns that it is computed from.

    Attributes
    ----------
    udf_name
        `file.function`: `travel.speed` is the function `speed` of `functions/travel.py`.
    output_name
        Its column in the training set; None: the function's name.
    input_bindings
        Parameter of the function to column: one of the labels, a looked-up feature by its name in
        the training set, or the output of an earlier function.

    Raises
    ------
    FeatureFunctionError
        An argument is missing, unknown or has no valid value.

    Examples
    --------
    >>> FeatureFunction(
    ...     udf_name="travel.speed",
    ...     input_bindings={"miles": "distance", "minutes": "scheduled_minutes"},
    ... ).output
    'speed'
    """

    udf_name: str
    output_name: str | None = Field(default=None, min_length=1)
    input_bindings: dict[str, str] = Field(default={})

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            name = fields.get("udf_name", "a feature function")
            mistakes = validation_mistakes(error, FeatureFunction)
            raise FeatureFunctionError(f"FeatureFunction {name}: {mistakes}") from error

    @field_validator("udf_name")
    @classmethod
    def _two_parts(cls, name: str) -> str:
        if not re.match(TABLE_NAME, name):
            raise ValueError(f"write file.function, as in travel.speed, not {name!r}")
        return name

    @field_validator("input_bindings", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @property
    def file(self) -> str:
        """The name of the file in `functions/`, without `.py`."""
        return self.udf_name.split(".")[0]

    @property
    def output(self) -> str:
        """The name of the column that it makes."""
        return self.output_name or self.udf_name.split(".")[1]
