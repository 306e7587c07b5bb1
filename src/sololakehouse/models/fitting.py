"""Fitting the models of an experiment and measuring them: frames in, models out, no lakehouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sololakehouse.models.device import device_for
from sololakehouse.models.environment import environment
from sololakehouse.models.evidence import predict
from sololakehouse.models.experiment import PARTS, Experiment, ModelSettings
from sololakehouse.models.folds import folds_of, spread
from sololakehouse.models.metrics import compute_metrics
from sololakehouse.models.part import AnyPart, BatchedPart, Part
from sololakehouse.models.search import Trialed, search
from sololakehouse.models.trainers import decisive_libraries, fit, fit_batches, trainer_of
from sololakehouse.models.trainers.decision import threshold_of
from sololakehouse.models.trainers.trainer import Device

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ROWS_AT_ONCE = "rows_at_once"


@dataclass(frozen=True)
class Trained:
    """A fitted model in its role, `baseline` or `model`, with its metrics by part and name.

    Attributes
    ----------
    settings
        With the parameters that a search found.
    record
        What to know of it beside the settings, as JSON-like values: `threshold`,
        `thread_dependent`, `environment`, of a search its `params` and all its `trials`, and the
        `rows_at_once` of batches if it was trained from them.
    """

    role: str
    settings: ModelSettings
    model: Pipeline
    metrics: Mapping[str, float]
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """From which probability on a row is predicted to be 1."""
        return threshold_of(self.model)


def fit_and_measure(
    role: str,
    settings: ModelSettings,
    parts: Mapping[str, AnyPart],
    experiment: Experiment,
    *,
    on_trial: Callable[[int], None] | None = None,
) -> Trained:
    """Fit one model of an experiment on the part `train`, and measure it on all parts.

    If the settings have a search, its best parameters are fitted. A trial is judged by the first
    metric: by its mean over the folds of the cross-validation if there is one, else on the part
    `validation`.

    Parameters
    ----------
    on_trial
        Called with the number of a trial, from 1, before it begins.

    Raises
    ------
    ConfigError
        The estimator refuses a parameter's value, or CUDA is asked for and is not there.
    TrainingError
        A fold of the cross-validation has too little to learn from or to measure on.
    """
    batched = isinstance(parts["train"], BatchedPart)
    device = device_for(experiment.device, settings)
    # XGBoost's pages on the disk are for the CPU.
    device = "cpu" if batched and settings.kind == "xgboost" else device
    fitting = _Fitting(experiment, parts, device)
    trialed = fitting.search(settings, on_trial) if settings.search else None
    chosen = settings.with_params(trialed.params if trialed else {})
    model = fitting.fit(chosen, parts["train"], parts["validation"])
    metrics: dict[str, float] = {}
    for name in PARTS:
        found = fitting.measured(model, parts[name])
        metrics |= {f"{name}_{metric}": value for metric, value in found.items()}
    metrics |= fitting.cross_validated(chosen)
    record = fitting.record(settings, model, trialed)
    return Trained(role, chosen, model, metrics, record)


@dataclass(frozen=True)
class _Fitting:
    """The fits of one model: all with the same seed, threads and device."""

    experiment: Experiment
    parts: Mapping[str, AnyPart]
    device: Device

    def fit(self, settings: ModelSettings, train: AnyPart, held_out: AnyPart) -> Pipeline:
        seed, threads = self.experiment.seed, self.experiment.threads
        if isinstance(train, Part) and isinstance(held_out, Part):
            return fit(settings, train, held_out, seed, threads=threads, device=self.device)
        assert isinstance(train, BatchedPart)
        assert isinstance(held_out, BatchedPart)
        return fit_batches(settings, train, held_out, seed, threads=threads, device=self.device)

    def measured(self, model: Pipeline, part: AnyPart) -> dict[str, float]:
        probability = predict(model, part)
        names = self.experiment.metrics
        return compute_metrics(names, part.labels, probability, threshold_of(model))

    def cross_validated(self, settings: ModelSettings) -> dict[str, float]:
        train = self.parts["train"]
        if self.experiment.cross_validation is None or isinstance(train, BatchedPart):
            return {}
        folds = folds_of(train, self.experiment.cross_validation, self.experiment.split.embargo)
        return spread([self.measured(self.fit(settings, *fold), fold[1]) for fold in folds])

    def search(
        self, settings: ModelSettings, on_trial: Callable[[int], None] | None
    ) -> Trialed | None:
        if settings.search is None:
            return None
        metric = self.experiment.primary_metric
        begun = iter(range(1, settings.search.trials + 1))

        def score(params: Mapping[str, Any]) -> float:
            if on_trial is not None:
                on_trial(next(begun))
            tried = settings.with_params(params)
            if self.experiment.cross_validation is not None:
                return self.cross_validated(tried)[f"cross_validation_{metric.name}_mean"]
            model = self.fit(tried, self.parts["train"], self.parts["validation"])
            return self.measured(model, self.parts["validation"])[metric.name]

        return search(settings.search, metric, self.experiment.seed, score)

    def record(
        self, settings: ModelSettings, model: Pipeline, trialed: Trialed | None
    ) -> dict[str, Any]:
        libraries, threads = decisive_libraries(settings), self.experiment.threads
        record: dict[str, Any] = {
            "threshold": threshold_of(model),
            "thread_dependent": self.device in trainer_of(settings).threads_matter_on,
            "environment": environment(libraries, threads, self.device),
        }
        train = self.parts["train"]
        if isinstance(train, BatchedPart):
            record[ROWS_AT_ONCE] = train.rows_at_once
        if trialed is not None:
            record["search"] = {"params": dict(trialed.params), "trials": list(trialed.trials)}
        return record
