"""Commands that fill tables: `slh ingest` and `slh run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.engine_option import engine_option
from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import (
    as_json,
    byte_progress,
    print_json,
    print_line,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.run_log import RunLog
    from sololakehouse.pipelines.ingest import IngestResult
    from sololakehouse.pipelines.plan import Step
    from sololakehouse.pipelines.run import StepResult
    from sololakehouse.pipelines.selection import Selection


_SHOWN = ("run", "up to date")


@click.command()
@click.argument("sources", nargs=-1)
@as_json
def ingest(sources: tuple[str, ...], json_wanted: bool) -> None:
    """Take new landing files into their bronze tables.

    SOURCES are names from lakehouse.yml; without any, all sources are taken. A file that is in
    its table already is left alone. Records that are no rows go to the table's quarantine.

    \b
    Examples:
      slh ingest
      slh ingest flights --json
    """
    from sololakehouse.lake import Lakehouse

    lake = Lakehouse.open()
    with recorded(lake, "ingest", *sources) as log:
        results = ingest_sources(lake, log, sources, quiet=json_wanted)
    rows = [_ingest_row(result) for result in results]
    if json_wanted:
        print_json(rows)
    else:
        columns = ["source", "table", "version", "new files", "known files", "new rows"]
        print_table(rows, [*columns, "quarantined"])
        for result in results:
            _print_quarantined(result)


def ingest_sources(
    lake: Lakehouse, log: RunLog, names: tuple[str, ...], *, quiet: bool
) -> list[IngestResult]:
    """Ingest the named sources, or all of them, with a progress bar."""
    from sololakehouse.errors import ConfigError, NotFoundError
    from sololakehouse.pipelines.ingest import ingest as ingest_source

    declared = lake.project.settings.sources
    unknown = next((name for name in names if name not in declared), None)
    if unknown is not None:
        raise NotFoundError.of("source", unknown, declared)
    if not declared:
        raise ConfigError(
            f"{lake.project.folder}/lakehouse.yml declares no sources. Add one under 'sources:' "
            "with a path and a table, as 'slh init' writes it."
        )
    wanted = names or tuple(declared)
    results = []
    with byte_progress(quiet=quiet) as show:
        for name in wanted:
            show(name, 0, 0, None)
            log.begin(name, declared[name].table)
            results.append(
                ingest_source(
                    lake,
                    log.writer,
                    name,
                    lambda done: show(done.file, done.rows, done.bytes, done.total_bytes),
                )
            )
            log.end(results[-1].snapshot)
    return results


def _ingest_row(result: IngestResult) -> dict[str, Any]:
    return {
        "source": result.source,
        "table": result.table,
        "version": result.snapshot.version,
        "new files": len(result.new_files),
        "known files": result.known_files,
        "new rows": result.rows,
        "quarantined": result.quarantined,
        "quarantine": result.quarantine,
    }


def _print_quarantined(result: IngestResult) -> None:
    if result.quarantine:
        print_line(
            f"[yellow]{result.source}[/]: malformed records went to {result.quarantine}, with "
            f"file, line, text and reason: {result.quarantined:,}."
        )


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what a run would do, and check every query.")
@click.option("--refresh", "--select", multiple=True, help="Only this table, or pattern.")
@click.option("--full-refresh", multiple=True, help="Only this table, anew from all rows.")
@click.option("--full-refresh-all", is_flag=True, help="Every table, anew from all rows.")
@click.option("--downstream", is_flag=True, help="Also what reads the named tables.")
@engine_option
@as_json
def run(
    dry_run: bool,
    refresh: tuple[str, ...],
    full_refresh: tuple[str, ...],
    full_refresh_all: bool,
    downstream: bool,
    engine: str | None,
    json_wanted: bool,
) -> None:
    """Compute the tables of the pipeline in spark-pipeline.yml.

    A table whose query, input versions, expectations and properties are those of its last commit
    is up to date and left alone. A streaming table gets the rows that its sources have gained.
    Options that name tables may be given several times, and take patterns.

    \b
    Examples:
      slh run
      slh run --dry-run
      slh run --select 'features.*' --downstream
      slh run --full-refresh silver.events
      slh run --engine sc://localhost:15002
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.pipelines.selection import Selection

    selection = Selection(
        refresh=_listed(refresh),
        full_refresh=_listed(full_refresh),
        full_refresh_all=full_refresh_all,
        downstream=downstream,
    )
    lake = Lakehouse.open(engine=engine)
    if dry_run:
        rows = planned(lake, selection)
        columns = ["table", "state", "reason", "reads"]
    else:
        with recorded(lake, "run") as log:
            results = run_pipeline(lake, log, selection, quiet=json_wanted)
        shown = [result for result in results if result.step.state in _SHOWN]
        rows = [_run_row(result) for result in shown]
        columns = ["table", "state", "reason", "version", "rows", "violations", "seconds"]
    if json_wanted:
        print_json(rows)
    else:
        print_table(rows, columns)


def _listed(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for name in names for part in name.split(",") if part.strip())


def planned(lake: Lakehouse, selection: Selection) -> list[dict[str, Any]]:
    """Plan the pipeline and describe its steps."""
    from sololakehouse.pipelines.run import prepare

    with prepare(lake, selection) as pipeline:
        return [_step_row(step) for step in pipeline.steps]


def run_pipeline(
    lake: Lakehouse, log: RunLog, selection: Selection, *, quiet: bool
) -> list[StepResult]:
    """Run the pipeline with a progress bar, and point out violated expectations."""
    from sololakehouse.pipelines.run import execute, prepare

    with (
        prepare(lake, selection) as pipeline,
        progress(len(pipeline.steps), quiet=quiet) as begin,
    ):

        def started(step: Step) -> None:
            begin(step.name)
            if step.state in _SHOWN:
                log.begin(step.name, step.name)

        results = execute(
            pipeline,
            log.writer,
            on_start=started,
            on_result=lambda result: log.end(result.snapshot, result.step.reason),
        )
    if not quiet:
        for result in results:
            _print_violations(result)
    return results


def _print_violations(result: StepResult) -> None:
    for found in result.expectations:
        if found.violations:
            done = "dropped" if found.action == "drop" else "kept"
            print_line(
                f"[yellow]{result.step.name}[/]: {found.violations:,} of {found.rows:,} rows "
                f"violate {found.name!r} and were {done}."
            )


def _step_row(step: Step) -> dict[str, Any]:
    return {
        "table": step.name,
        "state": step.state,
        "reason": step.reason,
        "reads": ", ".join(step.tables),
    }


def _run_row(result: StepResult) -> dict[str, Any]:
    snapshot = result.snapshot
    return {
        "table": result.step.name,
        "state": "computed" if result.step.state == "run" else result.step.state,
        "reason": result.step.reason,
        "version": snapshot.version if snapshot else None,
        "rows": snapshot.rows if snapshot else None,
        "violations": sum(found.violations for found in result.expectations),
        "seconds": round(result.seconds, 2),
    }
