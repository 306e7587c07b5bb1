"""What another model says of the same rows, with the knowledge of the same moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.errors import RunError, UsageError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import FeatureRequest
from sololakehouse.inference.predictor import Predictor
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.memory import Memory
from sololakehouse.models.registry import ModelVersion
from sololakehouse.monitoring.predictions import Predictions

if TYPE_CHECKING:
    import polars as pl


def challenge(
    lake: Lakehouse, predictions: Predictions, challenger: ModelVersion, folder: Path
) -> pl.Series:
    """Return the challenger's probabilities of stored rows, in the order of their table.

    Its features are looked up in the versions that the stored predictions were made from; tables
    that those did not need are read at their newest. Nothing is stored.

    Parameters
    ----------
    folder
        For what is too much to hold at once.

    Raises
    ------
    UsageError
        The challenger gives no probability, or is the model itself.
    RunError
        The rows were scored by a release that did not note their input.
    FeatureLookupError, NotFoundError
        The stored rows lack what it needs.
    """
    import polars as pl

    if (challenger.name, challenger.version) == (predictions.model.name, predictions.model.version):
        raise UsageError(f"{challenger} cannot be compared with itself. Name another version.")
    if "input_columns" not in predictions.details:
        raise RunError(
            f"{predictions.table.name} was scored by an earlier release, which did not note the "
            "input. Score it again with 'slh score', then compare."
        )
    spec = TrainingSetSpec.model_validate(challenger.recipe)
    rows = predictions.table.scan().select(predictions.details["input_columns"])
    pins = predictions.table.record.inputs if predictions.table.record else ()
    tables = {lookup.table_name for lookup in spec.feature_lookups}
    pinned = [pin for pin in pins if pin.table in tables]
    request = FeatureRequest.plan(lake, rows.collect_schema(), spec, pinned)
    memory = Memory.of(lake.project.settings.memory_limit)
    predictor = Predictor(lake, challenger, spec)
    parts = []
    for found in request.find(rows, memory, folder).ranges():
        outputs = predictor.outputs(request.computed(request.given(found)))
        if "probability" not in outputs.columns:
            raise UsageError(
                f"{challenger} gives no probabilities, so there is nothing to compare."
            )
        parts.append(outputs["probability"])
    return pl.concat(parts)
