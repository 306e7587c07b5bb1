"""The command that trains models: `slh train`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line, print_table, progress

if TYPE_CHECKING:
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
    if outcome.rows_at_once:
        print_line(f"Trained from batches of {_rows(outcome.rows_at_once)}.")
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
