"""Commands that train and use models: `slh train`, `slh score`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line, print_table, progress

if TYPE_CHECKING:
    from sololakehouse.config import ScoringJob
    from sololakehouse.inference.batch import ScoreResult
    from sololakehouse.lake import Lakehouse, Snapshot
    from sololakehouse.lake.run_log import RunLog
    from sololakehouse.models.registry import ModelVersion
    from sololakehouse.models.training import TrainingOutcome


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--force", is_flag=True, help="Train even if nothing changed.")
@as_json
def train(file: Path, overrides: tuple[str, ...], force: bool, json_wanted: bool) -> None:
    """Train the baseline and the model of an experiment FILE, and log them to MLflow.

    The training set is built first, if it is not up to date. The better model on the validation
    part becomes staging.

    \b
    Examples:
      slh train experiments/flight_delay.yml
      slh train experiments/flight_delay.yml --set model.params.max_depth=8
    """
    from sololakehouse.lake import Lakehouse

    lake = Lakehouse.open()
    with recorded(lake, "train", str(file)) as log:
        outcome = train_file(lake, log, file, overrides, force=force, quiet=json_wanted)
    _warn_of_suspects(outcome.training_set)
    rows = outcome_rows(outcome)
    if json_wanted:
        print_json(rows)
        return
    print_models(rows)
    for part, count in outcome.embargoed.items():
        print_line(f"Left out of {part}, as they lie within the embargo: {_rows(count)}.")
    for part, count in outcome.unknown.items():
        print_line(f"Left out of {part}, as their label was not known at its end: {_rows(count)}.")
    if outcome.up_to_date:
        print_line("Up to date: nothing that decides the models changed.")


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _warn_of_suspects(training_set: Snapshot) -> None:
    from sololakehouse.features.suspects import recorded_suspects

    record = training_set.record
    for suspect in recorded_suspects(record.details) if record else ():
        click.secho(f"Suspicious: {training_set.name}: {suspect}", fg="yellow", err=True)


def train_file(
    lake: Lakehouse,
    log: RunLog,
    file: Path,
    overrides: tuple[str, ...] = (),
    *,
    force: bool = False,
    quiet: bool,
) -> TrainingOutcome:
    """Train one experiment with a progress bar."""
    from sololakehouse.models.experiment import load_experiment
    from sololakehouse.models.training import steps_of
    from sololakehouse.models.training import train as train_experiment

    experiment = load_experiment(lake.project, file, overrides)
    place = file.absolute()
    inside = place.is_relative_to(lake.project.folder)
    step = str(place.relative_to(lake.project.folder) if inside else file)
    log.begin(step, experiment.training_set.name)
    with progress(steps_of(experiment), quiet=quiet) as begin:
        outcome = train_experiment(lake, log.writer, experiment, force=force, on_step=begin)
    log.end(outcome.training_set)
    return outcome


def print_models(rows: list[dict[str, Any]]) -> None:
    """Print models with their metrics on the test part; `--json` has those of all parts."""
    others = ("train_", "validation_", "cross_validation_")
    columns = dict.fromkeys(column for row in rows for column in row)
    print_table(rows, [column for column in columns if not column.startswith(others)])


def outcome_rows(outcome: TrainingOutcome) -> list[dict[str, Any]]:
    """Describe each trained model in one row."""
    return run_rows(outcome.runs)


def run_rows(runs: Iterable[ModelVersion]) -> list[dict[str, Any]]:
    """Describe each version in one row."""
    return [
        {
            "model": run.name,
            "version": run.version,
            "stage": run.stage,
            "role": run.role,
            **run.metrics,
        }
        for run in runs
    ]


@click.command()
@click.argument("job")
@click.option("--input", "source", help="A table or a SELECT, if JOB is a model.")
@click.option("--output", help="The table that takes the predictions, if JOB is a model.")
@as_json
def score(job: str, source: str | None, output: str | None, json_wanted: bool) -> None:
    """Score rows with a registered model.

    JOB is a scoring job of lakehouse.yml, or a model as NAME@production or NAME@3 with --input
    and --output.

    \b
    Examples:
      slh score november_december
      slh score flight_delay@production --input gold.flight_schedule --output inference.all
    """
    from sololakehouse.lake import Lakehouse

    lake = Lakehouse.open()
    scoring = _job(lake, job, source, output)
    with recorded(lake, "score", job) as log:
        result = run_scoring(lake, log, scoring)
    row = score_row(result)
    if json_wanted:
        print_json(row)
    else:
        print_table([row], list(row))


def _job(lake: Lakehouse, name: str, source: str | None, output: str | None) -> ScoringJob:
    from sololakehouse.config import ScoringJob, validate
    from sololakehouse.errors import NotFoundError, UsageError

    jobs = lake.project.settings.scoring
    if "@" not in name:
        if name not in jobs:
            raise NotFoundError.of("scoring job", name, jobs)
        return jobs[name]
    if source is None or output is None:
        raise UsageError(f"To score with {name}, say --input TABLE and --output TABLE.")
    return validate({"model": name, "input": source, "output": output}, ScoringJob, "slh score")


def run_scoring(lake: Lakehouse, log: RunLog, job: ScoringJob) -> ScoreResult:
    """Run one scoring job."""
    from sololakehouse.inference.batch import score as score_job

    log.begin(job.model, job.output)
    result = score_job(lake, log.writer, job)
    log.end(result.snapshot)
    return result


def score_row(result: ScoreResult) -> dict[str, Any]:
    """Describe a batch inference in one row."""
    return {
        "table": result.snapshot.name,
        "version": result.snapshot.version,
        "rows": result.snapshot.rows,
        "model": result.model.name,
        "model version": result.model.version,
        "state": "up to date" if result.up_to_date else "scored",
    }
