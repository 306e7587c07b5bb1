"""Commands that fill tables: `slh ingest` and `slh run`."""

from __future__ import annotations

import gc
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.engine_option import engine_option
from sololakehouse.cli.explanation import print_explanations
from sololakehouse.cli.recording import recorded, steps_recorded
from sololakehouse.cli.render import as_json, byte_progress, print_json, print_line, print_table
from sololakehouse.cli.run_view import View, run_view, step_row

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.run_log import RunLog
    from sololakehouse.pipelines.events import StepResult
    from sololakehouse.pipelines.ingest import IngestResult
    from sololakehouse.pipelines.redefinition import Redefining, Users
    from sololakehouse.pipelines.selection import Selection


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
@click.option("--explain", is_flag=True, help="The same, with what each table reads and why.")
@click.option("--refresh", "--select", multiple=True, help="Only this table, or pattern.")
@click.option("--full-refresh", multiple=True, help="Only this table, anew from all rows.")
@click.option("--full-refresh-all", is_flag=True, help="Every table, anew from all rows.")
@click.option("--downstream", is_flag=True, help="Also what reads the named tables.")
@click.option("--as-of", metavar="MOMENT", help="The moment that sources get; default: now.")
@click.option("--spec", type=click.Path(exists=True, dir_okay=False), help="Another spec file.")
@click.option("--parallel", type=click.IntRange(min=1), help="How many steps run side by side.")
@click.option("--redefine", multiple=True, help="Let this feature table get another definition.")
@click.option("--reason", help="Why; kept in the commits of the tables that --redefine names.")
@engine_option
@click.option("--json", "json_wanted", is_flag=True, help="Print events, one JSON object per line.")
def run(
    dry_run: bool,
    explain: bool,
    refresh: tuple[str, ...],
    full_refresh: tuple[str, ...],
    full_refresh_all: bool,
    downstream: bool,
    as_of: str | None,
    spec: str | None,
    parallel: int | None,
    redefine: tuple[str, ...],
    reason: str | None,
    engine: str | None,
    json_wanted: bool,
) -> None:
    """Compute the tables of the pipeline in spark-pipeline.yml.

    A table whose query, input versions, expectations and properties are those of its last commit
    is up to date and left alone. A streaming table gets the rows that its sources have gained.
    Options that name tables may be given several times, and take patterns.

    A feature table that a model in staging or production uses gets another definition only with
    --redefine and --reason; otherwise nothing is run, and the difference is shown.

    Independent tables are computed side by side. If one fails, only what depends on it is
    skipped. After a failure or Ctrl-C, the next run goes on from there.

    \b
    Examples:
      slh run
      slh run --dry-run
      slh run --explain --select silver.flights
      slh run --select 'features.*' --downstream
      slh run --full-refresh silver.events
      slh run --as-of 2013-12-31T00:00:00Z
      slh run --redefine features.origin_weather --reason "humid was a percentage"
      slh run --engine sc://localhost:15002
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.reference import parse_moment
    from sololakehouse.pipelines.selection import Selection

    selection = Selection(
        refresh=_listed(refresh),
        full_refresh=_listed(full_refresh),
        full_refresh_all=full_refresh_all,
        downstream=downstream,
    )
    lake = Lakehouse.open(engine=engine)
    given: dict[str, Any] = {
        "as_of": parse_moment(as_of, lake.project.settings.time_zone) if as_of else None,
        "spec": Path(spec) if spec else None,
        "redefining": _redefining(lake, _listed(redefine), reason),
    }
    if explain:
        _explain(lake, selection, json_wanted=json_wanted, **given)
    elif dry_run:
        _plan(lake, selection, json_wanted=json_wanted, **given)
    else:
        with recorded(lake, "run") as log:
            view: View = "json" if json_wanted else "steps"
            run_pipeline(lake, log, selection, view, parallel, **given)


def _listed(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for name in names for part in name.split(",") if part.strip())


def _redefining(lake: Lakehouse, tables: tuple[str, ...], reason: str | None) -> Redefining:
    from sololakehouse.errors import UsageError
    from sololakehouse.pipelines.redefinition import Redefining

    if bool(tables) != bool(reason and reason.strip()):
        raise UsageError(
            "--redefine TABLE and --reason '...' go together: the reason is kept in the table's "
            "commit."
        )
    return Redefining(partial(_protected, lake), tables, reason)


def _protected(lake: Lakehouse) -> Users:
    from sololakehouse.models.users import protected_tables

    return protected_tables(lake)


def _plan(lake: Lakehouse, selection: Selection, *, json_wanted: bool, **given: Any) -> None:
    """Show the plan; what a run would refuse is refused afterwards."""
    from sololakehouse.pipelines.redefinition import refuse_redefinitions
    from sololakehouse.pipelines.run import prepare

    with prepare(lake, selection, **given) as pipeline:
        rows = [step_row(step) for step in pipeline.steps]
    if json_wanted:
        print_json(rows)
    else:
        print_table(rows, ["table", "state", "reason", "reads"])
    refuse_redefinitions(pipeline.steps)


def _explain(lake: Lakehouse, selection: Selection, *, json_wanted: bool, **given: Any) -> None:
    from sololakehouse.pipelines.explain import explain
    from sololakehouse.pipelines.redefinition import refuse_redefinitions
    from sololakehouse.pipelines.run import prepare

    named = bool(selection.refresh or selection.full_refresh)
    with prepare(lake, selection, with_plans=named, **given) as pipeline:
        explained = explain(pipeline, lake, with_plans=named)
    if json_wanted:
        print_json([asdict(explanation) for explanation in explained])
    else:
        print_explanations(explained)
    refuse_redefinitions(pipeline.steps)


def run_pipeline(
    lake: Lakehouse,
    log: RunLog,
    selection: Selection,
    view: View,
    parallel: int | None = None,
    **given: Any,
) -> list[StepResult]:
    """Run the pipeline, show it, note it in the run's log, and tell it to OpenLineage if wanted.

    Parameters
    ----------
    parallel
        How many steps run side by side; None: what `lakehouse.yml` says.
    given
        For `prepare`; without `redefining`, models in staging and production are asked for.
    """
    from sololakehouse.lineage.openlineage import open_lineage
    from sololakehouse.pipelines.run import execute, prepare
    from sololakehouse.pipelines.schedule import Capacity

    given.setdefault("redefining", _redefining(lake, (), None))
    capacity = Capacity.of(parallel or lake.project.settings.parallel_steps)
    with (
        prepare(lake, selection, to_execute=True, **given) as pipeline,
        open_lineage(lake, log.writer.run, pipeline.name, warn=_warn) as told,
        run_view(view) as shown,
    ):
        listeners = [steps_recorded(log), shown, told]
        # What was imported and planned stays: while steps run, it is not searched for garbage.
        gc.freeze()
        return execute(pipeline, log.writer, listeners, capacity)


def _warn(text: str) -> None:
    click.echo(f"Warning: {text}", err=True)
