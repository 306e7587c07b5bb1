"""Stored predictions: which table holds those of a model, and what its commit says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sololakehouse.config import ScoringJob
from sololakehouse.errors import ConfigError, NotFoundError, UsageError, shortened
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.inference.batch import OPERATION
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.renumbering import version_meant
from sololakehouse.models.versions import ModelVersion, all_registered, by_number, resolve


@dataclass(frozen=True)
class Predictions:
    """The predictions of one model version in one version of a table.

    Attributes
    ----------
    job
        How they are evaluated and watched: a job of lakehouse.yml, or one with all defaults.
    zone
        The time zone that the project declares.
    """

    table: Snapshot
    model: ModelVersion
    job: ScoringJob
    zone: str | None = None

    @classmethod
    def of_job(cls, lake: Lakehouse, job: ScoringJob) -> Predictions:
        """Open what a scoring job wrote.

        Raises
        ------
        NotFoundError
            The model or the table does not exist.
        UsageError
            The table holds no predictions of the model: it was scored with another version.
        """
        model = resolve(lake, job.model)
        table = lake.read(job.output)
        made_by = _Maker.of(table)
        if made_by is not None and not made_by.is_like(model, _registered(lake)):
            of_then = " of then" if made_by.number == (model.name, model.version) else ""
            raise UsageError(
                f"{job.output} holds predictions of {made_by}{of_then}, and {job.model} is version "
                f"{model.version}. Score again with 'slh score'."
            )
        return cls(table, model, job, lake.project.settings.time_zone)

    @classmethod
    def of_model(cls, lake: Lakehouse, model: str, table: str | None = None) -> Predictions:
        """Open the predictions of a model, with the settings of the job that writes there.

        Parameters
        ----------
        table
            Where they are; None: in the one table that holds predictions of this version.

        Raises
        ------
        NotFoundError
            The model or the table does not exist, or no table holds its predictions.
        UsageError
            Several tables do, or the named one holds those of another version.
        """
        version = resolve(lake, model)
        name = table or _only_table(lake, version)
        jobs = lake.project.settings.scoring.values()
        known = next((job for job in jobs if job.output == name), None)
        settings = known or ScoringJob(model=model, input=name, output=name)
        return cls.of_job(lake, settings.model_copy(update={"model": model}))

    @cached_property
    def recipe(self) -> TrainingSetSpec:
        """The recipe of the model's training set."""
        return TrainingSetSpec.model_validate(self.model.recipe)

    @property
    def timestamp(self) -> str:
        """The column of moments.

        Raises
        ------
        ConfigError
            The model was trained without one, or the predictions lack it.
        """
        column = self.recipe.timestamp
        if column is None:
            raise ConfigError(
                f"{self.model} was trained without a timestamp, so there are no periods."
            )
        self.require(column)
        return column

    @property
    def details(self) -> dict[str, Any]:
        """What the commit that scored them says."""
        return self.table.record.details if self.table.record else {}

    def require(self, *columns: str) -> None:
        """Refuse columns that the predictions do not have.

        Raises
        ------
        NotFoundError
            Names the first of them.
        """
        for column in columns:
            if column not in self.table.columns:
                raise NotFoundError.of("column", column, self.table.columns, self.table.name)


def _only_table(lake: Lakehouse, version: ModelVersion) -> str:
    tables = [lake.read(name) for name in lake.table_names() if not name.startswith("system.")]
    makers = ((one.name, _Maker.of(one)) for one in tables)
    known = _registered(lake)
    mine = [name for name, maker in makers if maker and maker.is_like(version, known)]
    if len(mine) == 1:
        return mine[0]
    if not mine:
        raise NotFoundError(
            f"No table holds predictions of {version}. Score some first: 'slh score "
            f"{version.name}@{version.version} --input TABLE --output inference.{version.name}'."
        )
    raise UsageError(
        f"Several tables hold predictions of {version}: {shortened(mine)}. Name one with "
        "--predictions."
    )


def _registered(lake: Lakehouse) -> Mapping[tuple[str, int], Sequence[ModelVersion]]:
    return by_number(all_registered(lake))


@dataclass(frozen=True)
class _Maker:
    """The model whose predictions a table holds, as the commit names it."""

    number: tuple[str, int]
    mlflow_run_id: str | None
    at: datetime

    @classmethod
    def of(cls, table: Snapshot) -> _Maker | None:
        """Return who made a table; None if it is no batch inference."""
        record = table.record
        if record is None or record.content_operation != OPERATION:
            return None
        details = record.details
        number = details["model"], details["model_version"]
        return cls(number, details.get("mlflow_run_id"), table.commit.timestamp)

    def is_like(
        self, model: ModelVersion, known: Mapping[tuple[str, int], Sequence[ModelVersion]]
    ) -> bool:
        """Whether it is a model, or one of the same number that the same settings and rows made."""
        if self.number != (model.name, model.version):
            return False
        made_by = version_meant(known, *self.number, self.mlflow_run_id, self.at)
        return made_by is None or made_by.fingerprint == model.fingerprint

    def __str__(self) -> str:
        name, number = self.number
        return f"{name} version {number}"
