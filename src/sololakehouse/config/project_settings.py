"""The content of `lakehouse.yml`."""

from __future__ import annotations

from pydantic import Field, field_validator

from sololakehouse.config.engine import EMBEDDED, Engine, without_secrets
from sololakehouse.config.knowledge import Knowledge
from sololakehouse.config.memory_size import MemorySize
from sololakehouse.config.mlflow_settings import MlflowSettings
from sololakehouse.config.openlineage import OpenLineageSettings
from sololakehouse.config.scoring_job import ScoringJob
from sololakehouse.config.settings import Settings
from sololakehouse.config.source import Source
from sololakehouse.config.table_name import TableName
from sololakehouse.config.time_zone import TimeZone


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
    time_zone
        Where clocks show the timestamps that come without a time zone, as an IANA name such as
        `Europe/Berlin`. Without it they are refused.
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
    time_zone: TimeZone | None = None
    parallel_steps: int | None = Field(default=None, ge=1)
    memory_limit: MemorySize = 10**9
    openlineage: OpenLineageSettings | None = None
    provider: str | None = None
    sources: dict[str, Source] = Field(default={})
    known_at: dict[TableName, Knowledge] = Field(default={})
    experiments: tuple[str, ...] = ()
    scoring: dict[str, ScoringJob] = Field(default={})
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
