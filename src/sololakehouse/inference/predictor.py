"""A registered model with its feature lookups: keys and times in, predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import RunError, UsageError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import lookup_features
from sololakehouse.features.udf import said
from sololakehouse.lake import Lakehouse
from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import ModelVersion, load_model
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

THRESHOLD = 0.5


@dataclass(frozen=True)
class Prediction:
    """Predictions in the order of the request, and the feature table versions that were used.

    Attributes
    ----------
    found
        The request's columns with the features.
    outputs
        `prediction` and, of a classifier of two classes, before it `probability` (of the second).
        Where the classes are 0 and 1, the prediction is 1 if the probability is at least 0.5.
    features
        The feature tables in the versions that were read.
    """

    found: pl.DataFrame
    outputs: pl.DataFrame
    features: tuple[TableVersion, ...]


class Predictor:
    """A model version that looks up its features by the code and the rules of training."""

    def __init__(self, lake: Lakehouse, version: ModelVersion, spec: TrainingSetSpec) -> None:
        self._lake = lake
        self._spec = spec
        self._version = version
        self._model: Any = load_model(lake.project, version)

    def predict(self, request: pl.DataFrame) -> Prediction:
        """Predict for rows that hold the lookup keys, the timestamp and the other model inputs.

        A feature that the rows have already is used as it is.

        Raises
        ------
        FeatureLookupError
            The request lacks a column that the lookups need.
        FeatureFunctionError, FunctionFailedError
            The request lacks a column that a function needs, or it failed on a row.
        UsageError
            The request has a column named as one of the outputs.
        RunError
            The model refuses the values of a row.
        """
        found, used = lookup_features(self._lake, request, self._spec)
        return Prediction(found, self.outputs(found), used)

    def outputs(self, found: pl.DataFrame) -> pl.DataFrame:
        """Predict for rows whose features were found: `outputs` of a `Prediction`.

        Raises
        ------
        NotFoundError
            The rows lack a column that the model was fitted on.
        UsageError, RunError
            As `predict`.
        """
        inputs = model_input(found, self._version.feature_columns)
        try:
            outputs = self._outputs(inputs)
        except (TypeError, ValueError) as error:
            raise RunError(
                f"{self._version} cannot predict for these rows ({said(error)}). It was fitted on "
                "other values: look at the rows, or let a pipeline in the model take care of them."
            ) from error
        taken = [name for name in outputs.columns if name in found.columns]
        if taken:
            raise UsageError(
                f"The rows have a column {taken[0]!r}, which is the name of what {self._version} "
                "gives. Leave it out, or rename it."
            )
        return outputs

    def _outputs(self, inputs: pd.DataFrame) -> pl.DataFrame:
        import polars as pl

        classes = list(getattr(self._model, "classes_", ()))
        if len(classes) != 2 or not hasattr(self._model, "predict_proba"):
            return pl.DataFrame([self._predicted(inputs, classes)])
        chances = self._model.predict_proba(inputs)[:, 1] if len(inputs) else []
        probability = pl.Series("probability", chances, pl.Float64)
        prediction = (probability >= THRESHOLD).cast(pl.Int32).alias("prediction")
        if classes != [0, 1]:
            prediction = self._predicted(inputs, classes)
        return pl.DataFrame([probability, prediction])

    def _predicted(self, inputs: pd.DataFrame, classes: list[Any]) -> pl.Series:
        import polars as pl

        if len(inputs):
            return pl.Series("prediction", self._model.predict(inputs))
        return pl.Series("prediction", classes or [0.0]).clear()


def feature_versions(
    lake: Lakehouse, spec: TrainingSetSpec, as_of: datetime | None = None
) -> Sequence[TableVersion]:
    """Return the feature tables that a model looks up, by name, in their newest versions.

    With `as_of` they are those that were the newest at that moment.
    """
    names = sorted({lookup.table_name for lookup in spec.feature_lookups})
    return [lake.read(name, timestamp=as_of).table_version for name in names]
