"""Commands about models: `slh train`, `slh promote`, `slh models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line, print_table, progress

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse, Snapshot
    from sololakehouse.lake.run_log import RunLog
    from sololakehouse.models.training import TrainingOutcome

_STEPS_OF_TRAINING = 6


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
    for part, count in outcome.unknown.items():
        left_out = f"{count:,} row{'' if count == 1 else 's'}"
        print_line(f"Left out of {part}, as their label was not known at its end: {left_out}.")
    if outcome.up_to_date:
        print_line("Up to date: nothing that decides the models changed.")


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
    from sololakehouse.models.training import train as train_experiment

    experiment = load_experiment(lake.project, file, overrides)
    place = file.absolute()
    inside = place.is_relative_to(lake.project.folder)
    step = str(place.relative_to(lake.project.folder) if inside else file)
    log.begin(step, experiment.training_set.name)
    with progress(_STEPS_OF_TRAINING, quiet=quiet) as begin:
        outcome = train_experiment(lake, log.writer, experiment, force=force, on_step=begin)
    log.end(outcome.training_set)
    return outcome


def print_models(rows: list[dict[str, Any]]) -> None:
    """Print models with their metrics on the test part; `--json` has those of all parts."""
    others = ("train_", "validation_")
    columns = dict.fromkeys(column for row in rows for column in row)
    print_table(rows, [column for column in columns if not column.startswith(others)])


def outcome_rows(outcome: TrainingOutcome) -> list[dict[str, Any]]:
    """Describe each trained model in one row."""
    return [
        {
            "model": run.name,
            "version": run.version,
            "stage": run.stage,
            "role": run.role,
            **run.metrics,
        }
        for run in outcome.runs
    ]


@click.command()
@click.argument("model")
@click.option("--version", type=click.IntRange(min=1), help="Default: the version in staging.")
@click.option(
    "--to",
    "stage",
    type=click.Choice(["staging", "production"]),
    required=True,
    help="The stage; production has a gate.",
)
@as_json
def promote(model: str, version: int | None, stage: str, json_wanted: bool) -> None:
    """Move a version of MODEL to a stage; production asks that it beats its baseline.

    \b
    Examples:
      slh promote flight_delay --to production
      slh promote flight_delay --version 2 --to staging
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.registry import promote as promote_version

    lake = Lakehouse.open()
    with recorded(lake, "promote", model, stage) as log:
        log.begin(f"{model} to {stage}")
        done = promote_version(lake, log.writer, model, version, stage)
        log.end()
    if json_wanted:
        print_json({"model": model, "version": done.version, "to": stage, "reason": done.reason})
    else:
        print_line(f"{model} version {done.version}: {stage}. {done.reason}")


@click.command()
@as_json
def models(json_wanted: bool) -> None:
    """List the registered models with their stages and metrics.

    \b
    Examples:
      slh models
      slh models --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.registry import model_versions

    rows = [
        {
            "model": version.name,
            "version": version.version,
            "stage": version.stage,
            "role": version.role,
            **version.metrics,
        }
        for version in model_versions(Lakehouse.open())
    ]
    if json_wanted:
        print_json(rows)
    elif rows:
        print_models(rows)
    else:
        print_line("No models yet. 'slh train FILE' makes the first ones.")
