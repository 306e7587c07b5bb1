"""Fitting the models of an experiment and measuring them: frames in, models out, no lakehouse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.models.experiment import PARTS, Experiment, ModelSettings
from sololakehouse.models.metrics import compute_metrics
from sololakehouse.models.split import Part
from sololakehouse.models.trainers import fit

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Trained:
    """A fitted model in its role, `baseline` or `model`, with its metrics by part and name."""

    role: str
    settings: ModelSettings
    model: Pipeline
    metrics: Mapping[str, float]


def fit_and_measure(
    role: str, settings: ModelSettings, parts: Mapping[str, Part], experiment: Experiment
) -> Trained:
    """Fit one model of an experiment on the part `train`, and measure it on all parts.

    Raises
    ------
    ConfigError
        The estimator refuses a parameter's value.
    """
    model = fit(settings, parts["train"], parts["validation"], experiment.seed)
    metrics: dict[str, float] = {}
    for name in PARTS:
        part = parts[name]
        probability = model.predict_proba(part.inputs)[:, 1]
        found = compute_metrics(experiment.metrics, part.labels, probability)
        metrics |= {f"{name}_{metric}": value for metric, value in found.items()}
    return Trained(role, settings, model, metrics)
