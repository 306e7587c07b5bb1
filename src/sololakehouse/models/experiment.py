"""An experiment: what to learn from which data, read from a YAML file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AwareDatetime, BeforeValidator, Field, field_validator, model_validator

from sololakehouse.config import Project, Settings, load, validate
from sololakehouse.errors import ConfigError, suggestion
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.models.gates import GateSettings
from sololakehouse.models.metrics import Metric, metric

PARTS = ("train", "validation", "test")


def _with_time_zone(value: Any) -> Any:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return moment
    if isinstance(moment, date):
        raise ValueError(f"{value} has no time zone. Write UTC as in 2013-09-01T00:00:00Z")
    if isinstance(moment, int | float):
        raise ValueError(f"{value} is no moment. Write one as in 2013-09-01T00:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_with_time_zone)]


class Period(Settings):
    """A half-open interval `[from, until)` of moments with a time zone; no `from`: since ever."""

    begin: Moment | None = Field(default=None, alias="from")
    until: Moment


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
                begin = f"begins at {period.begin.isoformat()}" if period.begin else "has no 'from'"
                raise ValueError(
                    f"{name} {begin}, but must begin at or after the end of the part before it, "
                    f"{before.until.isoformat()}: no row may be in two parts"
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
    gates: GateSettings = GateSettings()

    @field_validator("training_set")
    @classmethod
    def _has_a_time(cls, spec: TrainingSetSpec) -> TrainingSetSpec:
        if spec.timestamp is None:
            raise ValueError("'timestamp' must name the column by which the data is split")
        for column in filter(None, (spec.timestamp, spec.label_known_at)):
            if column in spec.exclude_columns:
                raise ValueError(
                    f"exclude_columns: {column!r} must stay, the data is split by it. It is no "
                    "feature of the models"
                )
        return spec

    @field_validator("metrics")
    @classmethod
    def _exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            metric(name)
        return names

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
        The file is missing or does not validate, a metric does not exist, or an override does not
        fit.
    """
    path = file if file.is_file() else project.folder / file
    experiment = load(path, Experiment)
    overrides = tuple(overrides)
    if overrides:
        content = experiment.model_dump(mode="json", by_alias=True)
        for override in overrides:
            _override(content, override)
        experiment = validate(content, Experiment, f"{path} with {', '.join(overrides)}")
    return experiment


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not last:
        raise ConfigError(f"--set {override}: write KEY=VALUE, as in model.params.max_depth=8.")
    for parent in parents:
        inner = content.get(parent)
        if not isinstance(inner, dict):
            sections = [name for name, known in content.items() if isinstance(known, dict)]
            hint = suggestion(parent, sections, "section")
            raise ConfigError(f"--set {override}: there is no section {parent!r}. {hint}")
        content = inner
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: {value!r} is not valid YAML.") from error
