"""An experiment: what to learn from which data, read from a YAML file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import AwareDatetime, Field, field_validator, model_validator

from sololakehouse.config import Project, Settings, load, validate
from sololakehouse.errors import ConfigError
from sololakehouse.features.training_set import TrainingSetSpec
from sololakehouse.models.metrics import Metric, metric

PARTS = ("train", "validation", "test")


class Period(Settings):
    """A half-open interval `[from, until)` of moments with a time zone; no `from`: since ever."""

    begin: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime


class Split(Settings):
    """The periods of the three parts, one after the other."""

    train: Period
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Split:
        periods = [getattr(self, part) for part in PARTS]
        for name, period, before in zip(PARTS[1:], periods[1:], periods, strict=False):
            if period.begin is None or period.begin < before.until:
                raise ValueError(
                    f"{name} must begin at or after the end of the part before it "
                    f"({before.until.isoformat()})"
                )
        for name, period in zip(PARTS, periods, strict=True):
            if period.begin is not None and period.begin >= period.until:
                raise ValueError(f"{name} ends before it begins")
        return self


class ModelSettings(Settings):
    """An estimator with its parameters.

    `estimator` names one of scikit-learn's; XGBoost has only one. Training stops after
    `early_stopping_rounds` rounds without progress on the validation part (XGBoost only).
    """

    kind: Literal["sklearn", "xgboost"]
    estimator: str | None = None
    params: dict[str, Any] = Field(default={})
    early_stopping_rounds: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> ModelSettings:
        if self.kind == "sklearn" and self.estimator is None:
            raise ValueError("kind sklearn needs an 'estimator', such as logistic_regression")
        if self.kind == "xgboost" and self.estimator is not None:
            raise ValueError("kind xgboost has no 'estimator'")
        if self.kind == "sklearn" and self.early_stopping_rounds is not None:
            raise ValueError("early_stopping_rounds is for kind xgboost")
        return self


class Experiment(Settings):
    """The content of an experiment file.

    The first metric decides: on the validation part which model becomes staging, on the test part
    whether a model may go to production.
    """

    name: str = Field(min_length=1)
    seed: int = Field(ge=0)
    training_set: TrainingSetSpec
    split: Split
    metrics: tuple[str, ...] = Field(min_length=1)
    baseline: ModelSettings
    model: ModelSettings
    register_as: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")

    @field_validator("training_set")
    @classmethod
    def _has_a_time(cls, spec: TrainingSetSpec) -> TrainingSetSpec:
        if spec.timestamp is None:
            raise ValueError("'timestamp' must name the column by which the data is split")
        return spec

    @property
    def timestamp(self) -> str:
        """The column by which the data is split."""
        return str(self.training_set.timestamp)

    @property
    def primary_metric(self) -> Metric:
        """The metric that decides."""
        return metric(self.metrics[0])


def load_experiment(project: Project, file: Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment file.

    Parameters
    ----------
    file
        Path, relative to the current folder or to the project's.
    overrides
        Settings to change, as `model.params.max_depth=8`; the value is read as YAML.

    Raises
    ------
    ConfigError
        The file is missing or does not validate, or an override does not fit.
    NotFoundError
        A metric does not exist.
    """
    path = file if file.is_file() else project.folder / file
    experiment = load(path, Experiment)
    overrides = tuple(overrides)
    if overrides:
        content = experiment.model_dump(mode="json", by_alias=True)
        for override in overrides:
            _override(content, override)
        experiment = validate(content, Experiment, f"{path} with {', '.join(overrides)}")
    for name in experiment.metrics:
        metric(name)
    return experiment


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *parents, last = key.split(".")
    if not equals or not last:
        raise ConfigError(f"--set {override}: write KEY=VALUE, as in model.params.max_depth=8.")
    for parent in parents:
        inner = content.get(parent)
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: there is no section {parent!r}.")
        content = inner
    content[last] = yaml.safe_load(value)
