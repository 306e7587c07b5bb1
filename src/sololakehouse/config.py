"""A project's configuration: `lakehouse.yml` as frozen settings."""

from __future__ import annotations

import codecs
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sololakehouse.errors import ConfigError, UsageError, suggestion

CONFIG_FILE = "lakehouse.yml"
_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
COLUMN_TYPES = (
    *("string", "tinyint", "smallint", "int", "bigint", "float", "double", "boolean", "date"),
    *("timestamp", "timestamp_ntz", "binary", "decimal(p,s)"),
)
_DECIMAL = re.compile(r"^decimal\((\d+),\s*(\d+)\)$")
ENGINE_VARIABLE = "SOLOLAKEHOUSE_ENGINE"
EMBEDDED = "embedded"
_SERVER = re.compile(
    r"^sc://(\[[0-9A-Fa-f:]+\]|[^\s:/;@]+)(:(?P<port>\d+))?(/(;[^;=/]+=[^;/]*)*;?)?$"
)
ALWAYS = "always"
# What URLs escape in paths, all but ASCII included (seen with deltalake 1.6 and Sail 0.7).
_STRANGE = re.compile(r"[^A-Za-z0-9/!$&'()*+,\-.:;=@_~]")
TABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$"


def _table_name(name: str) -> str:
    if not re.match(TABLE_NAME, name):
        raise ValueError(f"{name!r} is no table. Write schema.table, as in bronze.flights")
    return name


TableName = Annotated[str, AfterValidator(_table_name)]


class Settings(BaseModel):
    """Base of everything that is read from a file: immutable, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


def _column_type(name: str) -> str:
    found = _DECIMAL.match(name)
    if found and int(found[2]) <= int(found[1]) and 1 <= int(found[1]) <= 38:
        return name
    if name not in COLUMN_TYPES[:-1]:
        raise ValueError(f"no type {name!r}. {suggestion(name, COLUMN_TYPES, 'type')}")
    return name


ColumnType = Annotated[str, AfterValidator(_column_type)]


_DURATION = re.compile(r"^(?P<number>-?\d+)\s*(?P<unit>us|ms|s|min|h|d|w)$")
_UNITS = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def parse_duration(value: Any) -> Any:
    """Read a duration such as `90min`, `3h` or `28d`; leave ISO 8601, as `P1D`, to pydantic.

    A day is 24 hours, a week 7 days. The unit of a number is never guessed.

    Examples
    --------
    >>> parse_duration("90min")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(value, int | float):
        raise ValueError(f"a duration needs a unit, such as '{value}d' or '{value}h'")
    found = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if found:
        return int(found["number"]) * _UNITS[found["unit"]]
    if isinstance(value, str) and not value.strip().lstrip("+-").startswith("P"):
        raise ValueError(f"{value!r} is no length of time. Write one such as 90min, 6h or 28d")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


_SIZE = re.compile(r"^(?P<number>\d+)\s*(?P<unit>MB|GB)$")
_BYTES = {"MB": 10**6, "GB": 10**9}
LEAST_MEMORY = 400 * 10**6


def _memory(size: Any) -> int:
    found = _SIZE.match(size.strip()) if isinstance(size, str) else None
    if found is None:
        raise ValueError(f"{size!r} is no size. Write a number and a unit, such as 500MB or 2GB")
    count = int(found["number"]) * _BYTES[found["unit"]]
    if count < LEAST_MEMORY:
        raise ValueError(f"{size} is too little: Python and its libraries need 400MB")
    return count


MemorySize = Annotated[int, BeforeValidator(_memory)]


def written_size(count: int) -> str:
    """Write bytes as a setting takes them, rounded up.

    Examples
    --------
    >>> written_size(1_400_000_001), written_size(32_000_000_000)
    ('1401MB', '32GB')
    """
    unit = "GB" if count >= 10 * _BYTES["GB"] else "MB"
    return f"{-(-count // _BYTES[unit])}{unit}"


def checked_engine(engine: str) -> str:
    """Return an engine as it is written, if it is one.

    Raises
    ------
    ValueError
        It is neither `embedded` nor the address of a server.
    """
    found = _SERVER.match(engine)
    if engine != EMBEDDED and (found is None or int(found["port"] or 15002) > 65535):
        raise ValueError(
            f"{without_secrets(engine)!r} is no engine. Write 'embedded', or the address of a "
            "Spark Connect server: sc://host:15002"
        )
    return engine


Engine = Annotated[str, AfterValidator(checked_engine)]


def without_secrets(engine: str) -> str:
    """Return an engine's address without its parameters, of which one may be a token.

    Examples
    --------
    >>> without_secrets("sc://lake.example.com:443/;use_ssl=true;token=abc")
    'sc://lake.example.com:443'
    """
    scheme, separator, rest = engine.partition("://")
    return scheme + separator + re.split(r"[/;]", rest, maxsplit=1)[0]


class CsvOptions(Settings):
    """How a CSV file is written.

    Attributes
    ----------
    delimiter
        What stands between two fields: one ASCII character.
    quote
        What stands around a field that holds delimiters or line breaks: one ASCII character.
    null_value
        A field that means NULL, besides an empty one.
    header
        Whether the first row has the names. Without it the source's `schema` gives them, in order.
    encoding
        How characters are written, such as `utf-8`, `latin-1` or `cp1252`.
    skip_rows
        How many lines stand before the header, or before the first row.
    """

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    null_value: str = ""
    header: bool = True
    encoding: str = "utf-8"
    skip_rows: int = Field(default=0, ge=0)

    @field_validator("delimiter", "quote")
    @classmethod
    def _one_byte(cls, value: str) -> str:
        if not value.isascii() or value in "\r\n\0":
            raise ValueError(f"{value!r} must be one ASCII character and no line break")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError as error:
            raise ValueError(f"no encoding {value!r}; write utf-8, latin-1 or cp1252") from error

    @model_validator(mode="after")
    def _different(self) -> CsvOptions:
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must differ")
        return self


class Source(Settings):
    """Landing files of one kind, and the bronze table that takes them.

    Attributes
    ----------
    path
        Pattern of the files, relative to the project's folder: `landing/orders/*.csv`.
    table
        The bronze table that takes them, such as `bronze.orders`.
    format
        `json` is JSON lines. Compression goes by the suffix: `.gz`, `.bz2`, `.zst`, `.lz4`.
    options
        How CSV files are written.
    columns
        `schema` in the file: each column with its type. Without it the first file decides, and
        the bronze table's schema is the contract from then on. Types: `string`, `tinyint`,
        `smallint`, `int`, `bigint`, `float`, `double`, `decimal(p,s)`, `boolean`, `date`,
        `timestamp` (ISO 8601 with a zone), `timestamp_ntz`, `binary`.
    schema_policy
        What happens to columns that the contract does not know, lacks, or has with another type:
        an error; new columns are added; or they are kept as JSON in `_rescued_data`.
    on_change
        What happens to a file that was taken and now has other content: an error, its rows are
        added to the old ones, or they replace them.
    max_quarantined
        Share of a file's rows, from 0 to 1, that may be malformed; above it the file fails.
    """

    path: str
    table: str = Field(pattern=TABLE_NAME)
    format: Literal["csv", "json", "parquet"] = "csv"
    options: CsvOptions = CsvOptions()
    columns: dict[str, ColumnType] | None = Field(default=None, alias="schema", min_length=1)
    schema_policy: Literal["strict", "evolve", "rescue"] = "strict"
    on_change: Literal["error", "append", "replace"] = "error"
    max_quarantined: float = Field(default=0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Source:
        if self.format != "csv" and self.options != CsvOptions():
            raise ValueError(f"'options' are for CSV files, and the format is {self.format}")
        if not self.options.header and self.columns is None:
            raise ValueError("'header: false' needs a 'schema', which gives the names in order")
        names = [name.lower() for name in self.columns or ()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"'schema' names {twice[0]!r} twice; Delta does not tell upper from lower case"
            )
        return self


class MlflowSettings(Settings):
    """Where runs and models are kept. Relative paths are relative to the project's folder.

    Attributes
    ----------
    tracking_uri
        Where MLflow keeps runs: SQLite, PostgreSQL, or the address of a server.
    artifacts
        Where MLflow keeps models and plots: a folder, or `s3://bucket/path`. With a server it is
        where the server says.
    """

    tracking_uri: str = "sqlite:///mlflow.db"
    artifacts: str = "mlartifacts"


Period = Literal["day", "week", "month", "quarter", "year"]


class EvaluationSettings(Settings):
    """How predictions are evaluated once their labels are known.

    Attributes
    ----------
    period
        What is measured on its own, by the moments of the predictions in UTC.
    slices
        Columns of the predictions; each of their values is measured on its own.
    threshold
        From which probability on a row counts as predicted 1.
    cost_false_positive
        What one row costs that is wrongly predicted 1, in any unit.
    cost_false_negative
        What one row costs that is wrongly predicted 0, in the same unit.
    """

    period: Period = "month"
    slices: tuple[str, ...] = ()
    threshold: float = Field(default=0.5, ge=0, le=1)
    cost_false_positive: float = Field(default=1.0, ge=0)
    cost_false_negative: float = Field(default=1.0, ge=0)


class DriftLimits(Settings):
    """From where on a change counts: as a warning, and as an alarm.

    Attributes
    ----------
    psi_warn
        Population stability index that is a warning.
    psi_alarm
        Population stability index that is an alarm.
    missing
        Change of the share of missing values, from 0 to 1, that counts.
    unseen
        Share of values that the training set did not have, from 0 to 1, that counts.
    """

    psi_warn: float = Field(default=0.1, gt=0)
    psi_alarm: float = Field(default=0.25, gt=0)
    missing: float = Field(default=0.05, gt=0)
    unseen: float = Field(default=0.01, gt=0)


class DriftSettings(DriftLimits):
    """How the drift of predictions is judged; `features` sets other limits for some columns.

    Attributes
    ----------
    period
        What is judged on its own, by the moments of the predictions in UTC.
    significance
        Least share of false discoveries that is accepted: a change that the tests do not call
        significant at this level after their correction never counts.
    least_rows
        A period of fewer rows is shown, and not judged.
    performance
        A fall of ROC AUC that is an alarm, where labels are known.
    features
        Column to limits of its own: `psi_warn`, `psi_alarm`, `missing`, `unseen`.
    """

    period: Period = "month"
    significance: float = Field(default=0.01, gt=0, lt=1)
    least_rows: int = Field(default=200, ge=1)
    performance: float = Field(default=0.05, gt=0)
    features: dict[str, dict[str, float]] = {}

    def limits_of(self, column: str) -> DriftLimits:
        """Return the limits that hold for a column."""
        own = {name: getattr(self, name) for name in DriftLimits.model_fields}
        return DriftLimits.model_validate(own | self.features.get(column, {}))

    @field_validator("features")
    @classmethod
    def _known_limits(cls, value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for column, limits in value.items():
            for name in limits:
                if name not in DriftLimits.model_fields:
                    known = suggestion(name, DriftLimits.model_fields, "limit")
                    raise ValueError(f"{column}: no limit {name!r}. {known}")
            DriftLimits.model_validate(limits)
        return value


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


class Knowledge(Settings):
    """When the rows and values of a table became known, which `slh replay` goes back by.

    Attributes
    ----------
    rows
        When a row became known: `always`, or an expression in Spark SQL that gives a moment, over
        the columns of the table or of `from`. NULL: it is not known yet.
    source
        `from` in the file: a `SELECT` that gives each row of the table once, with all of its
        columns (as in `SELECT flights.*, ...`) and others that the expressions need.
    columns
        Columns whose values became known at other moments than their row, with these. A value is
        NULL until then.
    """

    rows: str = Field(min_length=1)
    source: str | None = Field(default=None, alias="from", min_length=1)
    columns: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, content: Any) -> Any:
        return {"rows": content} if isinstance(content, str) else content

    @field_validator("rows")
    @classmethod
    def _stripped(cls, rows: str) -> str:
        return ALWAYS if rows.strip().lower() == ALWAYS else rows.strip()

    @model_validator(mode="after")
    def _something_to_tell(self) -> Knowledge:
        if self.is_static and self.source is not None:
            raise ValueError("'from' serves expressions, and everything is known 'always'")
        return self

    @property
    def is_static(self) -> bool:
        """Whether everything was known at any moment."""
        return self.rows == ALWAYS and not self.columns


class OpenLineageSettings(Settings):
    """Where a run's OpenLineage events go: to a `file`, one per line, or to an HTTP `url`.

    Attributes
    ----------
    file
        The file that gets the events of `slh run`, one per line.
    url
        Or the server that gets them by HTTP.
    endpoint
        What is added to `url`, as OpenLineage's own clients do.
    namespace
        The namespace of the jobs; None: the project's name.
    """

    file: str | None = None
    url: str | None = Field(default=None, pattern=r"^https?://.")
    endpoint: str = "api/v1/lineage"
    namespace: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_place(self) -> OpenLineageSettings:
        if (self.file is None) == (self.url is None):
            raise ValueError("openlineage needs either a 'file' or a 'url'")
        return self


class ProjectSettings(Settings):
    """The content of `lakehouse.yml`.

    Attributes
    ----------
    name
        The project's name.
    warehouse
        Folder of the Delta tables, `<schema>/<table>`.
    retention
        How long a version of a table can be read after it was replaced: `forever`, or days as in
        `365d`.
    engine
        `embedded`, or a Spark Connect server: `sc://host:15002`. The environment variable
        `SOLOLAKEHOUSE_ENGINE` and the option `--engine` go before it.
    parallel_steps
        How many steps of a pipeline are computed side by side. Without it as many as cores and
        free memory allow.
    memory_limit
        How much memory the making of a training set, training on it, and the sorting of a feature
        table by `slh optimize` may take: a number and MB or GB, at least 400MB.
    openlineage
        Where a run's OpenLineage events go.
    provider
        A Python script that puts down landing files; `slh demo` runs it first.
    sources
        What is ingested, each under a name of its own.
    known_at
        Table to when what it holds became known, for `slh replay`: `always`, an expression in Spark
        SQL that gives a moment, or the keys below. A table that is not named is not covered.
    experiments
        Experiment files, in order.
    scoring
        Batch inference, each under a name of its own.
    mlflow
        Where runs and models are kept.
    """

    name: str = Field(min_length=1)
    warehouse: str = "warehouse"
    retention: str = Field(default="forever", pattern=r"^(forever|[1-9]\d*d)$")
    engine: Engine = EMBEDDED
    parallel_steps: int | None = Field(default=None, ge=1)
    memory_limit: MemorySize = 10**9
    openlineage: OpenLineageSettings | None = None
    provider: str | None = None
    sources: dict[str, Source] = {}
    known_at: dict[TableName, Knowledge] = {}
    experiments: tuple[str, ...] = ()
    scoring: dict[str, ScoringJob] = {}
    mlflow: MlflowSettings = MlflowSettings()

    @field_validator("warehouse")
    @classmethod
    def _is_a_folder(cls, warehouse: str) -> str:
        if "://" in warehouse:
            raise ValueError(
                f"{warehouse} is no folder. Tables are on a file system of this machine, since "
                "processes lock files there; models and plots can be on S3, with "
                "'mlflow.artifacts'"
            )
        return warehouse

    @property
    def engine_name(self) -> str:
        """The engine as it may be shown and recorded."""
        return without_secrets(self.engine)

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
    def find(cls, start: Path | None = None, engine: str | None = None) -> Project:
        """Open the project whose `lakehouse.yml` is in `start` or the nearest folder above it.

        Parameters
        ----------
        engine
            In place of the one in the environment (`SOLOLAKEHOUSE_ENGINE`) or in the file.

        Raises
        ------
        ConfigError
            There is no such file, it does not validate, or tables cannot be where it says.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / CONFIG_FILE).is_file():
                settings = load(folder / CONFIG_FILE, ProjectSettings)
                project = cls(folder=folder, settings=_on_engine(settings, engine))
                refuse_unreadable(project.warehouse)
                return project
        hint = "Create a project with 'slh init NAME', or go to a project's folder."
        raise ConfigError.missing_file(CONFIG_FILE, here, hint)

    @property
    def warehouse(self) -> Path:
        """The folder of the Delta tables."""
        return self.folder / self.settings.warehouse


def refuse_unreadable(folder: Path) -> None:
    """Refuse a folder for tables whose path URLs would escape: neither engine nor library reads it.

    Raises
    ------
    ConfigError
        Says which letters of the path it is.
    """
    strange = dict.fromkeys(_STRANGE.findall(str(folder)))
    if strange:
        raise ConfigError(
            f"Tables cannot be kept in {folder}: neither engine nor Delta library finds files "
            f"under a path with {' '.join(map(repr, strange))}. Move the project to a folder whose "
            "path has letters from a to z, digits, and marks such as - _ . only."
        )


def _on_engine(settings: ProjectSettings, asked: str | None) -> ProjectSettings:
    where = "--engine" if asked is not None else ENGINE_VARIABLE
    engine = asked if asked is not None else os.environ.get(ENGINE_VARIABLE)
    if not engine and asked is None:
        return settings
    try:
        return settings.model_copy(update={"engine": checked_engine(engine or "")})
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from error


def load(path: Path, model: type[S]) -> S:
    """Read a YAML file into a settings model.

    Raises
    ------
    ConfigError
        The file is missing, is no YAML mapping, or does not validate; every mistake is named.
    """
    return validate(read_mapping(path), model, str(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping of settings.

    Raises
    ------
    ConfigError
        The file is missing or is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        content = _yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, such as 'name: my_project'.")
    return content


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_FAST_LOADER)
    except yaml.YAMLError:
        # The slow one shows the line with a mistake in it.
        return yaml.safe_load(text)


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
