"""Batch inference on the command line: `slh score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_table, row_progress

if TYPE_CHECKING:
    from datetime import datetime

    from sololakehouse.config import ScoringJob
    from sololakehouse.inference.batch import ScoreResult
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.run_log import RunLog


@click.command()
@click.argument("job")
@click.option("--input", "source", help="A table, a SELECT or a file, if JOB is a model.")
@click.option("--output", help="The table that takes the predictions, if JOB is a model.")
@click.option("--as-of", metavar="MOMENT", help="Read all tables as they were at this moment.")
@click.option(
    "--without-features", is_flag=True, help="Do not keep the looked-up values beside predictions."
)
@as_json
def score(
    job: str,
    source: str | None,
    output: str | None,
    as_of: str | None,
    without_features: bool,
    json_wanted: bool,
) -> None:
    """Score rows with a registered model.

    JOB is a scoring job of lakehouse.yml, or a model as NAME@production or NAME@3 with --input
    and --output. A file is CSV (.csv), JSON lines (.json, .jsonl) or Parquet. What is scored
    already is left alone, and of a table that has grown only the new rows are scored, if that can
    be shown to give the same.

    \b
    Examples:
      slh score november_december
      slh score flight_delay@production --input gold.flight_schedule --output inference.all
      slh score flight_delay@production --input tomorrow.csv --output inference.tomorrow
      slh score november_december --as-of 2026-01-31T00:00:00Z
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.reference import parse_moment

    lake = Lakehouse.open()
    moment = parse_moment(as_of, lake.project.settings.time_zone) if as_of else None
    scoring = scoring_job(lake, job, source, output)
    if without_features:
        scoring = scoring.model_copy(update={"features": False})
    with recorded(lake, "score", job) as log:
        result = run_scoring(lake, log, scoring, as_of=moment, quiet=json_wanted)
    row = score_row(result)
    if json_wanted:
        print_json(row)
    else:
        print_table([row], list(row))


def scoring_job(lake: Lakehouse, name: str, source: str | None, output: str | None) -> ScoringJob:
    """Return a job of lakehouse.yml, or the one that a model, an input and an output make.

    Raises
    ------
    NotFoundError
        There is no job of this name.
    UsageError
        A model goes without input or output, or a job with one.
    """
    from sololakehouse.config import ScoringJob
    from sololakehouse.config.validation import validate
    from sololakehouse.errors import NotFoundError, UsageError

    jobs = lake.project.settings.scoring
    if "@" not in name and not name.startswith("models:/"):
        if name not in jobs:
            raise NotFoundError.of("scoring job", name, jobs)
        if source is not None or output is not None:
            raise UsageError(
                f"The job {name!r} of lakehouse.yml says its input and output. Leave --input and "
                "--output out, or name a model in place of the job."
            )
        return jobs[name]
    if source is None or output is None:
        raise UsageError(f"To score with {name}, say --input TABLE and --output TABLE.")
    content = {"model": name, "input": _as_seen_from_here(source), "output": output}
    return validate(content, ScoringJob, "slh score")


def _as_seen_from_here(source: str) -> str:
    file = Path.cwd() / source
    return str(file) if "\n" not in source and file.is_file() else source


def run_scoring(
    lake: Lakehouse,
    log: RunLog,
    job: ScoringJob,
    *,
    as_of: datetime | None = None,
    quiet: bool = True,
) -> ScoreResult:
    """Run one scoring job with a progress bar."""
    from sololakehouse.inference.batch import score as score_job

    log.begin(job.model, job.output)
    with row_progress(quiet=quiet) as show:
        result = score_job(lake, log.writer, job, as_of=as_of, on_rows=show)
    log.end(result.snapshot)
    return result


def score_row(result: ScoreResult) -> dict[str, Any]:
    """Describe a batch inference in one row."""
    return {
        "table": result.snapshot.name,
        "version": result.snapshot.version,
        "rows": result.snapshot.rows,
        "scored": result.scored,
        "kept": result.kept,
        "model": result.model.name,
        "model version": result.model.version,
        "state": "up to date" if result.up_to_date else "scored",
    }
