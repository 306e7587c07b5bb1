"""A registered model with its feature lookups: keys and times in, predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import lookup_features
from sololakehouse.lake import Lakehouse
from sololakehouse.models.registry import ModelVersion, load_model
from sololakehouse.models.trainers import model_input
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl

THRESHOLD = 0.5


@dataclass(frozen=True)
class Prediction:
    """Predictions in the order of the request, and the feature table versions that were used.

    Attributes
    ----------
    rows
        The request's columns, `probability` (of the label 1) and `prediction` (1 where the
        probability is at least 0.5).
    features
        The feature tables in the versions that were read.
    """

    rows: pl.DataFrame
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

        Raises
        ------
        FeatureLookupError
            The request lacks a column that the lookups need.
        """
        import polars as pl

        found, used = lookup_features(self._lake, request, self._spec)
        inputs = model_input(found, self._version.feature_columns)
        probability = pl.Series("probability", self._model.predict_proba(inputs)[:, 1], pl.Float64)
        rows = request.with_columns(
            probability, (probability >= THRESHOLD).cast(pl.Int32).alias("prediction")
        )
        return Prediction(rows, tuple(used))


def feature_versions(lake: Lakehouse, spec: TrainingSetSpec) -> Sequence[TableVersion]:
    """Return the newest versions of the feature tables that a model looks up, by name."""
    names = sorted({lookup.table_name for lookup in spec.feature_lookups})
    return [lake.read(name).table_version for name in names]
