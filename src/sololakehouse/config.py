"""A project's configuration: `lakehouse.yml` as frozen settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sololakehouse.errors import ConfigError, UsageError, suggestion

CONFIG_FILE = "lakehouse.yml"
COLUMN_TYPES = ("string", "int", "bigint", "double", "boolean", "date", "timestamp")
ColumnType = Literal["string", "int", "bigint", "double", "boolean", "date", "timestamp"]
TABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$"


class Settings(BaseModel):
    """Base of everything that is read from a file: immutable, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


class CsvOptions(Settings):
    """How a CSV file is written."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    null_value: str = ""


class Source(Settings):
    """Landing files of one kind, and the bronze table that takes them.

    `schema` maps each column of the file to its type; without it the first file decides and the
    bronze table's schema is the contract from then on.
    """

    path: str
    table: str = Field(pattern=TABLE_NAME)
    format: Literal["csv"] = "csv"
    options: CsvOptions = CsvOptions()
    columns: dict[str, ColumnType] | None = Field(default=None, alias="schema")


class MlflowSettings(Settings):
    """Where runs and models are kept. Relative paths are relative to the project's folder."""

    tracking_uri: str = "sqlite:///mlflow.db"
    artifacts: str = "mlartifacts"


class ScoringJob(Settings):
    """One batch inference: `model` scores the rows of `input` into `output`.

    `input` is a table or a `SELECT`; `model` is `NAME@ALIAS` or `NAME@VERSION`. If `labels` names
    the table with the answers, the predictions are evaluated against it; `keys` identify a row.
    """

    model: str
    input: str
    output: str = Field(pattern=TABLE_NAME)
    labels: str | None = Field(default=None, pattern=TABLE_NAME)
    keys: tuple[str, ...] = ()


class ProjectSettings(Settings):
    """The content of `lakehouse.yml`.

    `retention` is how long a version of a table can be read after it was replaced: `forever`, or
    days as in `365d`.
    """

    name: str = Field(min_length=1)
    warehouse: str = "warehouse"
    retention: str = Field(default="forever", pattern=r"^(forever|[1-9]\d*d)$")
    engine: Literal["embedded"] = "embedded"
    provider: str | None = None
    sources: dict[str, Source] = {}
    experiments: tuple[str, ...] = ()
    scoring: dict[str, ScoringJob] = {}
    mlflow: MlflowSettings = MlflowSettings()

    @property
    def retention_days(self) -> int | None:
        """The retention in days; None if it is forever."""
        return None if self.retention == "forever" else int(self.retention.removesuffix("d"))


class Project(BaseModel):
    """A project's folder with its settings.

    Examples
    --------
    >>> Project.find(Path("/"))
    Traceback (most recent call last):
        ...
    sololakehouse.errors.ConfigError: No lakehouse.yml in / or any folder above it. \
Create a project with 'slh init NAME', or go to a project's folder.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    settings: ProjectSettings

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Open the project whose `lakehouse.yml` is in `start` or the nearest folder above it."""
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / CONFIG_FILE).is_file():
                return cls(folder=folder, settings=load(folder / CONFIG_FILE, ProjectSettings))
        hint = "Create a project with 'slh init NAME', or go to a project's folder."
        raise ConfigError.missing_file(CONFIG_FILE, here, hint)

    @property
    def warehouse(self) -> Path:
        """The folder of the Delta tables."""
        return self.folder / self.settings.warehouse


def load(path: Path, model: type[S]) -> S:
    """Read a YAML file into a settings model.

    Raises
    ------
    ConfigError
        The file is missing, is no YAML mapping, or does not validate; every mistake is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, such as 'name: my_project'.")
    return validate(content, model, str(path))


def validate(content: dict[str, Any], model: type[S], where: str) -> S:
    """Validate a mapping against a settings model; mistakes name their place and candidates."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: {validation_mistakes(error, model)}") from error
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from error


def validation_mistakes(error: ValidationError, model: type[BaseModel]) -> str:
    """Write what does not validate, with the place of each mistake and the known keys."""
    return "; ".join(_mistake(detail, model) for detail in error.errors())


def _mistake(detail: Any, model: type[BaseModel]) -> str:
    *parents, last = detail["loc"] or ("",)
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{place}: {detail['msg'].removeprefix('Value error, ')}"
    return f"unknown key {place!r}. {suggestion(str(last), _fields_at(model, parents), 'key')}"


def _fields_at(model: type[BaseModel], parents: list[str | int]) -> list[str]:
    known: type[BaseModel] | None = model
    for parent in parents:
        field = known.model_fields.get(str(parent)) if known else None
        known = _model_in(field.annotation) if field else known
    return [field.alias or name for name, field in known.model_fields.items()] if known else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found), None)
