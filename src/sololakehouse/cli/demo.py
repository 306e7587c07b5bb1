"""The whole path of a project, and the summary at its end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from sololakehouse.cli.inference import run_scoring, score_row
from sololakehouse.cli.lake import table_row
from sololakehouse.cli.models import outcome_rows, print_models, train_file
from sololakehouse.cli.pipelines import ingest_sources, run_pipeline
from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import print_line, print_table
from sololakehouse.cli.run_view import View
from sololakehouse.cli.serve import DEFAULT_PORT
from sololakehouse.config import ProjectSettings
from sololakehouse.errors import ConfigError, RunError
from sololakehouse.lake import Lakehouse, system
from sololakehouse.lake.run_log import RunLog
from sololakehouse.pipelines.selection import EVERYTHING

T = TypeVar("T")
_CHANGES = 6
_DRIFT_COLUMNS = ("period", "column", "value", "was", "psi", "importance", "impact", "state", "why")
_FURTHEST = ("inference", "training", "features", "gold", "silver", "bronze")


class _Demo:
    """Runs the steps of a project one after the other and keeps their times."""

    def __init__(self, lake: Lakehouse, log: RunLog, *, quiet: bool) -> None:
        self._lake = lake
        self._quiet = quiet
        self._log = log
        self._changed = False
        self.steps: list[dict[str, Any]] = []

    def timed(self, name: str, step: Callable[[], tuple[T, str, bool]]) -> T:
        """Run a step that gives its result, what it did in words, and whether it wrote."""
        if not self._quiet:
            print_line(f"[bold]{name}[/]")
        began = time.perf_counter()
        result, done, wrote = step()
        seconds = round(time.perf_counter() - began, 2)
        self.steps.append({"step": name, "did": done, "seconds": seconds})
        self._changed |= wrote
        if not self._quiet:
            print_line(f"  {done} [dim]({seconds:.1f} s)[/]")
        return result

    def deliver(self) -> tuple[None, str, bool]:
        """Let the project's provider put down its landing files."""
        script = self._lake.project.settings.provider
        if script is None:
            return None, "the landing files that are there", False
        done = subprocess.run(
            [sys.executable, script],
            cwd=self._lake.project.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RunError(f"{script} failed: {(done.stderr or done.stdout).strip()}")
        return None, done.stdout.strip(), False

    def ingest(self) -> tuple[None, str, bool]:
        """Ingest all sources."""
        results = ingest_sources(self._lake, self._log, (), quiet=self._quiet)
        new, rows = sum(len(r.new_files) for r in results), sum(r.rows for r in results)
        if not new:
            return None, f"up to date: {sum(r.known_files for r in results)} known files", False
        return None, f"{new} new files, {rows:,} rows into bronze", True

    def run(self) -> tuple[None, str, bool]:
        """Run the pipeline."""
        view: View = "nothing" if self._quiet else "violations"
        results = run_pipeline(self._lake, self._log, EVERYTHING, view)
        tables = [result for result in results if result.step.state != "view"]
        computed = sum(result.step.state == "run" for result in tables)
        if not computed:
            return None, f"up to date: {len(tables)} tables", False
        return None, f"{computed} of {len(tables)} tables computed", True

    def train(self, file: str) -> tuple[list[dict[str, Any]], str, bool]:
        """Train one experiment and promote its model if it passes the gate."""
        from sololakehouse.models.registry import model_versions, promote

        path = self._lake.project.folder / file
        outcome = train_file(self._lake, self._log, path, quiet=self._quiet)
        name = outcome.runs[0].name
        promoted = promote(self._lake, self._log.writer, name, None, "production")
        done = "up to date" if outcome.up_to_date else f"{len(outcome.runs)} models trained"
        stages = {(v.name, v.version): v.stage for v in model_versions(self._lake)}
        rows = outcome_rows(outcome)
        return (
            [row | {"stage": stages[row["model"], row["version"]]} for row in rows],
            f"{done}; version {promoted.version} in production. {promoted.reason}",
            not outcome.up_to_date or promoted.changed,
        )

    def score(self, name: str) -> tuple[None, str, bool]:
        """Run one scoring job."""
        result = run_scoring(self._lake, self._log, self._lake.project.settings.scoring[name])
        row = score_row(result)
        model = f"{row['model']} version {row['model version']}"
        said = f"{row['rows']:,} rows in {row['table']} by {model}"
        return None, f"up to date: {said}" if result.up_to_date else said, not result.up_to_date

    def evaluate(self, name: str) -> tuple[list[dict[str, Any]], str, bool]:
        """Compare the predictions of a scoring job with its labels."""
        from sololakehouse.monitoring import evaluate_job

        job = self._lake.project.settings.scoring[name]
        result = evaluate_job(self._lake, self._log.writer, job)
        said = f"{sum(row['rows'] for row in result.periods):,} predictions by month"
        done = f"up to date: {said}" if result.up_to_date else said
        return result.periods, done, not result.up_to_date

    def drift(self, name: str) -> tuple[list[dict[str, Any]], str, bool]:
        """Hold the rows that were scored against those that the model was trained on."""
        from sololakehouse.cli.monitoring import drift_rows
        from sololakehouse.monitoring import Predictions, drift

        job = self._lake.project.settings.scoring[name]
        result = drift(self._lake, self._log.writer, Predictions.of_job(self._lake, job))
        rows = drift_rows([row for row in result.rows if row["against"] == "training"], _CHANGES)
        said = f"{len(result.alarms)} alarms in {result.newest_period}"
        done = f"up to date: {said}" if result.up_to_date else said
        return rows, done, not result.up_to_date

    def summary(
        self,
        models: list[dict[str, Any]],
        drifted: list[dict[str, Any]],
        months: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Describe what the lakehouse holds now."""
        project = self._lake.project
        names = [name for name in self._lake.table_names() if not system.is_system(name)]
        return {
            "folder": str(project.folder),
            "mlflow": project.settings.mlflow.tracking_uri,
            "tables": [table_row(self._lake.read(name)) for name in names],
            "models": models,
            "drift": drifted,
            "evaluation": months,
            "steps": self.steps,
            "jobs": [name for name, job in project.settings.scoring.items() if job.labels],
            "served": self._served(),
            "changed": self._changed,
        }

    def _served(self) -> list[dict[str, Any]]:
        """Name each model in production, with a command that asks its server."""
        from sololakehouse.models.versions import model_versions
        from sololakehouse.serving.example import curl_line, example_row

        served = []
        for version in model_versions(self._lake):
            if version.stage == "production":
                row = example_row(self._lake, version)
                url = f"http://127.0.0.1:{DEFAULT_PORT}"
                served.append({"model": version.name, "curl": row and curl_line(url, row)})
        return served


def run_demo(folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Take a project from its landing files to evaluated predictions.

    Returns
    -------
    dict
        `folder`, `mlflow`, `tables`, `models`, `drift`, `evaluation`, `steps` with their seconds,
        `served`, and `changed`: whether anything was committed.

    Raises
    ------
    ConfigError
        `folder` holds no project.
    """
    lake = Lakehouse.open(folder)
    settings = lake.project.settings
    if not settings.sources:
        raise ConfigError(
            f"{lake.project.folder} declares no sources, so there is nothing to show."
        )
    with recorded(lake, "demo") as log:
        return _demonstrated(_Demo(lake, log, quiet=quiet), settings)


def _demonstrated(demo: _Demo, settings: ProjectSettings) -> dict[str, Any]:
    demo.timed("Landing", demo.deliver)
    demo.timed("Ingest", demo.ingest)
    demo.timed("Pipeline", demo.run)
    models: list[dict[str, Any]] = []
    months: list[dict[str, Any]] = []
    drifted: list[dict[str, Any]] = []
    for file in settings.experiments:
        models += demo.timed(f"Experiment {file}", partial(demo.train, file))
    for name, job in settings.scoring.items():
        demo.timed(f"Score {name}", partial(demo.score, name))
        if job.features:
            drifted += demo.timed(f"Drift {name}", partial(demo.drift, name))
        if job.labels:
            months += demo.timed(f"Evaluate {name}", partial(demo.evaluate, name))
    return demo.summary(models, drifted, months)


def print_summary(summary: dict[str, Any]) -> None:
    """Print tables, models, drift, evaluation, times, and where to look further."""
    print_line("")
    print_table(summary["tables"], ["table", "rows", "version", "made by"])
    if summary["models"]:
        print_line("\n[bold]Models on the test part[/]")
        print_models(summary["models"])
    if summary["drift"]:
        print_line("\n[bold]What changed since training, what matters to the model first[/]")
        print_table(summary["drift"], list(_DRIFT_COLUMNS))
    if summary["evaluation"]:
        print_line("\n[bold]Predictions against what happened (UTC)[/]")
        print_table(summary["evaluation"], list(summary["evaluation"][0]))
    print_line("\n[bold]Time[/]")
    seconds = [{**step, "seconds": f"{step['seconds']:5.1f}"} for step in summary["steps"]]
    print_table(seconds, ["step", "seconds"])
    total = sum(step["seconds"] for step in summary["steps"])
    state = "" if summary["changed"] else " Nothing had changed: no commit was made."
    print_line(f"\nDone in {total:.1f} s.{state}")
    _print_commands(summary)


def _print_commands(summary: dict[str, Any]) -> None:
    names = [row["table"] for row in summary["tables"]]
    furthest = min(names, key=lambda name: _rank(name.split(".")[0]))
    print_line("\n[bold]Look further[/]")
    if shutil.which("slh") is None:
        print_line(f"  source {Path(sys.prefix) / 'bin' / 'activate'}")
    print_line(f"  cd {summary['folder']}")
    print_line(f"  slh trace {furthest}")
    print_line(f"  slh history {furthest}")
    print_line(f'  slh query "SELECT * FROM {furthest} LIMIT 5"')
    print_line("  slh console")
    if summary["models"]:
        print_line("  slh models")
        print_line("  slh mlflow")
        for job in summary["jobs"]:
            print_line(f"  slh drift {job} --html drift.html")
            print_line(f"  slh evaluate {job} --html evaluation.html")
    for served in summary["served"]:
        print_line(f"  slh serve {served['model']}@production")
        if served["curl"]:
            click.echo(f"  {served['curl']}")


def _rank(schema: str) -> int:
    return _FURTHEST.index(schema) if schema in _FURTHEST else len(_FURTHEST)
