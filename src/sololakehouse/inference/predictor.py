"""A registered model with its feature lookups: keys and times in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sololakehouse.errors import RunError, UsageError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import lookup_features
from sololakehouse.features.udf import said
from sololakehouse.lake import Lakehouse
from sololakehouse.models.inputs import model_input
from sololakehouse.models.metrics import THRESHOLD
from sololakehouse.models.registry import ModelVersion, load_model
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl

AsInput: TypeAlias = "Callable[[pl.DataFrame, Sequence[str]], Any]"


@dataclass(frozen=True)
class Prediction:
    """Predictions in the order of the request, and the feature table versions that were used.

    Attributes
    ----------
    found
        The request's columns with the features.
    outputs
        `prediction` and, of a classifier of two classes, before it `probability` (of the second).
        Where the classes are 0 and 1, the prediction is 1 if the probability is at least the
        model's threshold.
    features
        The feature tables in the versions that were read.
    version
        The model version that predicted.
    scores
        What `predict_proba` gave, of a classifier of two classes; else None.
    """

    found: pl.DataFrame
    outputs: pl.DataFrame
    features: tuple[TableVersion, ...]
    version: ModelVersion
    scores: Any = None

    @property
    def values(self) -> pl.DataFrame:
        """The feature values that went into the model, as they were found, in its order."""
        return self.found.select(self.version.feature_columns)


class ModelPredictor:
    """A loaded model version that predicts for rows whose features have been looked up.

    Parameters
    ----------
    as_input
        Turns rows and the names of the model's inputs into what the model takes.
    """

    def __init__(self, version: ModelVersion, model: Any, as_input: AsInput = model_input) -> None:
        self._version = version
        self._model: Any = model
        self._as_input = as_input

    def predict_found(self, found: pl.DataFrame, used: tuple[TableVersion, ...]) -> Prediction:
        """Predict for rows whose features have been looked up, in the versions `used`.

        Raises
        ------
        UsageError
            The rows have a column named as one of the outputs.
        RunError
            The model refuses the values of a row.
        """
        try:
            outputs, scores = self._outputs(found)
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
        return Prediction(found, outputs, used, self._version, scores)

    def outputs(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return the `outputs` of a `Prediction` for rows whose features have been looked up."""
        return self.predict_found(found, ()).outputs

    def scores(self, found: pl.DataFrame) -> Any:
        """Return what MLflow's scoring gives: an array of `predict_proba`, else of `predict`."""
        ask = getattr(self._model, "predict_proba", self._model.predict)
        return ask(self._as_input(found, self._version.feature_columns)) if found.height else []

    def _outputs(self, found: pl.DataFrame) -> tuple[pl.DataFrame, Any]:
        import numpy as np
        import polars as pl

        classes = list(getattr(self._model, "classes_", ()))
        if len(classes) != 2 or not hasattr(self._model, "predict_proba"):
            return pl.DataFrame([self._predicted(found, classes)]), None
        scores = self.scores(found)
        chances = np.asarray(scores, np.float64)[:, 1] if found.height else np.empty(0)
        probability = pl.Series("probability", chances)
        threshold = self._version.record.get("threshold", THRESHOLD)
        prediction = pl.Series("prediction", (chances >= threshold).astype(np.int32))
        if classes != [0, 1]:
            prediction = self._predicted(found, classes)
        return pl.DataFrame([probability, prediction]), scores

    def _predicted(self, found: pl.DataFrame, classes: list[Any]) -> pl.Series:
        import polars as pl

        if found.height:
            inputs = self._as_input(found, self._version.feature_columns)
            return pl.Series("prediction", self._model.predict(inputs))
        return pl.Series("prediction", classes or [0.0]).clear()


class Predictor(ModelPredictor):
    """A model version that looks up its features by the code and the rules of training.

    Parameters
    ----------
    model
        The loaded model; None: it is loaded from MLflow.
    as_input
        See `ModelPredictor`.
    """

    def __init__(
        self,
        lake: Lakehouse,
        version: ModelVersion,
        spec: TrainingSetSpec,
        model: Any = None,
        as_input: AsInput = model_input,
    ) -> None:
        loaded = load_model(lake.project, version) if model is None else model
        super().__init__(version, loaded, as_input)
        self._lake = lake
        self._spec = spec

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
        return self.predict_found(*lookup_features(self._lake, request, self._spec))


def feature_versions(
    lake: Lakehouse, spec: TrainingSetSpec, as_of: datetime | None = None
) -> Sequence[TableVersion]:
    """Return the feature tables that a model looks up, by name, in their newest versions.

    With `as_of` they are those that were the newest at that moment.
    """
    names = sorted({lookup.table_name for lookup in spec.feature_lookups})
    return [lake.read(name, timestamp=as_of).table_version for name in names]
