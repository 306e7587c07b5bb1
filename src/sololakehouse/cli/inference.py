"""Batch inference on the command line: `slh score`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_table

if TYPE_CHECKING:
    from sololakehouse.config import ScoringJob
    from sololakehouse.inference.batch import ScoreResult
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.run_log import RunLog


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
