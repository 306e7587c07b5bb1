"""Stored predictions: which table holds those of a model, and what its commit says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sololakehouse.config import ScoringJob
from sololakehouse.errors import ConfigError, NotFoundError, UsageError, shortened
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.inference.batch import OPERATION
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.registry import ModelVersion, resolve


@dataclass(frozen=True)
class Predictions:
    """The predictions of one model version in one version of a table.

    Attributes
    ----------
    job
        How they are evaluated and watched: a job of lakehouse.yml, or one with all defaults.
    """

    table: Snapshot
    model: ModelVersion
    job: ScoringJob

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
        made_by = _made_by(table)
        if made_by not in (None, (model.name, model.version)):
            raise UsageError(
                f"{job.output} holds predictions of {made_by[0]} version {made_by[1]}, and "
                f"{job.model} is version {model.version}. Score again with 'slh score'."
            )
        return cls(table, model, job)

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
    mine = [one.name for one in tables if _made_by(one) == (version.name, version.version)]
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


def _made_by(table: Snapshot) -> tuple[str, int] | None:
    record = table.record
    if record is None or record.content_operation != OPERATION:
        return None
    return record.details["model"], record.details["model_version"]
