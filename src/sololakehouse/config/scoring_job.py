"""A batch inference, as a project names it."""

from __future__ import annotations

from pydantic import Field

from sololakehouse.config.drift import DriftSettings
from sololakehouse.config.evaluation import EvaluationSettings
from sololakehouse.config.settings import Settings
from sololakehouse.config.table_name import TABLE_NAME


class ScoringJob(Settings):
    """One batch inference: `model` scores the rows of `input` into `output`.

    Attributes
    ----------
    model
        `NAME@production`, `NAME@staging` or `NAME@3`, or MLflow's `models:/NAME/3`.
    input
        A table, a `SELECT`, or a file (`.csv`, `.json` or `.jsonl`, `.parquet`) relative to the
        project's folder.
    output
        The table of predictions.
    features
        Whether the output has the looked-up values that the model was given, which `slh drift`
        looks at.
    labels
        The table with the answers, which the predictions are evaluated against.
    keys
        Columns that identify a row in the predictions and in the labels.
    evaluation
        How the predictions are evaluated.
    drift
        How their drift is judged.
    """

    model: str
    input: str
    output: str = Field(pattern=TABLE_NAME)
    features: bool = True
    labels: str | None = Field(default=None, pattern=TABLE_NAME)
    keys: tuple[str, ...] = ()
    evaluation: EvaluationSettings = EvaluationSettings()
    drift: DriftSettings = DriftSettings()
