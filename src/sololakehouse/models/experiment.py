"""An experiment: what to learn from which data, read from a YAML file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, field_validator, model_validator

from sololakehouse.config import Project
from sololakehouse.config.duration import Duration
from sololakehouse.config.moment import AS_A_MOMENT, Moment, in_zone
from sololakehouse.config.settings import Settings
from sololakehouse.config.validation import validate
from sololakehouse.config.yaml_file import read_mapping
from sololakehouse.errors import ConfigError, suggestion
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.models.gate_settings import GateSettings
from sololakehouse.models.metrics import Metric, metric
from sololakehouse.models.model_settings import ON_CUDA, THREADS, ModelSettings, with_source

__all__ = ["Experiment", "ModelSettings", "load_experiment"]

PARTS = ("train", "validation", "test")
_AS_A_MOMENT = f"Write a moment as in {AS_A_MOMENT}"
_MODEL_NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"


def _no_number(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(f"{value} is no moment. {_AS_A_MOMENT}")
    return value


SplitMoment = Annotated[Moment, BeforeValidator(_no_number)]


class Period(Settings):
    """A half-open interval `[from, until)` of moments with a time zone; no `from`: since ever.

    Attributes
    ----------
    begin
        `from` in the file: the first moment that is in it. Without it, since ever.
    until
        The first moment that is not in it any more.
    """

    begin: SplitMoment | None = Field(default=None, alias="from")
    until: SplitMoment


class Split(Settings):
    """The periods of the three parts, one after the other.

    Attributes
    ----------
    train
        What models learn from.
    validation
        What decides on parameters, thresholds, and which model becomes staging.
    test
        What says how good a model is, and nothing else.
    embargo
        Rows of `train` and `validation` are left out whose timestamp lies so long, or less, before
        the next part begins.
    """

    train: Period
    validation: Period
    test: Period
    embargo: Duration = timedelta(0)

    @field_validator("embargo")
    @classmethod
    def _not_negative(cls, embargo: timedelta) -> timedelta:
        if embargo < timedelta(0):
            raise ValueError("a duration before the next part must not be negative")
        return embargo

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
                raise ValueError(f"{name} ends before it begins: 'until' must be after 'from'")
        return self


class CrossValidation(Settings):
    """A rolling cross-validation within the training part; see `sololakehouse.models.folds`.

    Attributes
    ----------
    folds
        Into how many folds the time is cut.
    window
        Whether a fold learns from all rows before it, or from as many as the first one.
    """

    folds: int = Field(ge=2)
    window: Literal["expanding", "sliding"] = "expanding"


class Experiment(Settings):
    """The content of an experiment file.

    The first metric decides: on the validation part which model becomes staging, on the test part
    whether a model may go to production.

    Attributes
    ----------
    name
        The experiment's name in MLflow.
    seed
        What everything random in a training begins with.
    training_set
        The recipe. A file may name a saved training set in its place, `training.NAME` or
        `training.NAME@v3`, whose recipe stands here then.
    training_set_version
        The saved version to train on; None: the training set is built from its recipe.
    split
        Which rows are learned from, and which are measured on.
    cross_validation
        A rolling cross-validation within the training part; without it there is none.
    metrics
        What is measured; the first one decides.
    baseline
        The model that the other one must beat.
    model
        The model.
    device
        Where models are fitted that can use CUDA; `auto`: on CUDA where it is.
    threads
        How many threads a library uses. More or fewer can change a model whose record says that
        it is `thread_dependent`.
    register_as
        The model's name in the registry.
    gates
        What is asked of the model before production.
    """

    name: str = Field(min_length=1)
    seed: int = Field(ge=0)
    training_set: TrainingSetSpec
    training_set_version: int | None = Field(default=None, ge=0)
    split: Split
    cross_validation: CrossValidation | None = None
    metrics: tuple[str, ...] = Field(min_length=1)
    baseline: ModelSettings
    model: ModelSettings
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=THREADS, ge=1)
    register_as: str = Field(pattern=_MODEL_NAME)
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

    @field_validator("register_as", mode="before")
    @classmethod
    def _is_a_name(cls, name: Any) -> Any:
        if isinstance(name, str) and not re.match(_MODEL_NAME, name):
            raise ValueError(
                f"{name!r} is no model's name. Write letters, digits, _ and -, first a letter"
            )
        return name

    @model_validator(mode="after")
    def _something_can_use_cuda(self) -> Experiment:
        kinds = (self.baseline.kind, self.model.kind)
        if self.device == "cuda" and not ON_CUDA.intersection(kinds):
            raise ValueError(
                f"'device: cuda' is for the kinds {' and '.join(sorted(ON_CUDA))}, and the models "
                f"are of kind {' and '.join(dict.fromkeys(kinds))}: write 'device: cpu' or 'auto'"
            )
        return self

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
    content = _resolved(project, _read(project, path))
    zone = in_zone(project.settings.time_zone)
    experiment = validate(content, Experiment, str(path), zone)
    overrides = tuple(overrides)
    if overrides:
        content = experiment.model_dump(mode="json", by_alias=True)
        for override in overrides:
            _override(content, override)
        where = f"{path} with {', '.join(overrides)}"
        experiment = validate(_resolved(project, content), Experiment, where, zone)
    return experiment


def _read(project: Project, path: Path) -> dict[str, Any]:
    try:
        return read_mapping(path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no experiment file: it is no text in UTF-8.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}. {_AS_A_MOMENT}.") from error
    except ConfigError as error:
        if path.exists():
            raise
        there = (project.folder / "experiments").glob("*.yml")
        known = [file.relative_to(project.folder).as_posix() for file in there]
        raise ConfigError(f"{error} {suggestion(path.name, known, 'experiment')}") from error


def _resolved(project: Project, content: Mapping[str, Any]) -> dict[str, Any]:
    """Put recipes in place of the names of saved training sets, and text in place of modules."""
    found = dict(content)
    if isinstance(found.get("training_set"), str):
        found |= _saved_recipe(project, found["training_set"])
    for role in ("baseline", "model"):
        if isinstance(found.get(role), dict):
            found[role] = with_source(project.folder, found[role])
    return found


def _saved_recipe(project: Project, name: str) -> dict[str, Any]:
    from sololakehouse.features.saved import saved_version
    from sololakehouse.lake import Lakehouse

    saved = saved_version(Lakehouse(project), name)
    if saved.record is None or "recipe" not in saved.record.details:
        raise ConfigError(
            f"training_set: {saved.name} is no training set, as no recipe made it. Name "
            "one that 'create_training_set' saved, or write its recipe here."
        )
    return {
        "training_set": saved.record.details["recipe"],
        "training_set_version": saved.version,
    }


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not last:
        raise ConfigError(f"--set {override}: write KEY=VALUE, as in model.params.max_depth=8.")
    for parent in parents:
        inner = content.get(parent)
        if inner is None and parent in content:
            inner = content[parent] = {}
        if not isinstance(inner, dict):
            sections = [name for name, known in content.items() if isinstance(known, dict)]
            hint = suggestion(parent, sections, "section")
            raise ConfigError(f"--set {override}: there is no section {parent!r}. {hint}")
        content = inner
    try:
        content[last] = yaml.safe_load(value)
    except ValueError as error:
        raise ConfigError(f"--set {override}: {error}. {_AS_A_MOMENT}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {override}: {value!r} is not valid YAML. Quote a text: --set '{key}=\"...\"'."
        ) from error
