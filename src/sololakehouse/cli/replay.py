"""`slh replay`: show whether features know what came after their moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, console, print_json, print_table

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.replay.clipping import Mode
    from sololakehouse.replay.replay import ReplayRequest
    from sololakehouse.replay.verdicts import ColumnVerdict, ReplayReport, TableVerdict

_MODES: dict[str, tuple[Mode, ...]] = {
    "truncate": ("truncate",),
    "perturb": ("perturb",),
    "both": ("truncate", "perturb"),
}


@click.command()
@click.option("--at", multiple=True, metavar="MOMENT", help="Go back to this moment; repeatable.")
@click.option(
    "--cutoffs",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="How many moments to choose, if none is given.",
)
@click.option("--seed", default=0, show_default=True, help="The same seed, the same moments.")
@click.option(
    "--mode",
    type=click.Choice(list(_MODES)),
    default="truncate",
    show_default=True,
    help="Leave out what came later, or spoil it, or both.",
)
@click.option(
    "--select", multiple=True, help="Only this feature table or training set, or pattern."
)
@click.option("--parallel", type=click.IntRange(min=1), help="How many cutoffs side by side.")
@click.option(
    "--cause-runs",
    type=click.IntRange(min=0),
    default=32,
    show_default=True,
    help="How many recomputations may be spent on finding the rows that make a leak.",
)
@click.option("--spec", type=click.Path(exists=True, dir_okay=False), help="Another spec file.")
@click.option("--mutate", is_flag=True, help="Put known leaks into the pipeline: are they caught?")
@click.option("--warm-up", is_flag=True, help="Measure how far back each table must see data.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a report to this file.")
@click.option("--force", is_flag=True, help="Replace the report if it exists.")
@as_json
def replay(
    at: tuple[str, ...],
    cutoffs: int,
    seed: int,
    mode: str,
    select: tuple[str, ...],
    parallel: int | None,
    cause_runs: int,
    spec: str | None,
    mutate: bool,
    warm_up: bool,
    html: Path | None,
    force: bool,
    json_wanted: bool,
) -> int:
    """Go back in time and build all features again, to see whether they know the future.

    For each moment the sources are cut down to what was known by then, as 'known_at' in
    lakehouse.yml says, the pipeline is run over them beside the project, and every feature table
    and training set is compared with what the full history says of that time. Exit code 1 if
    something leaks. The result is kept in system.replays.

    What leaks is recomputed a few times more, with some of the later source rows, until the fewest
    that change the value are found. It stops after --cause-runs of these, and then says so.

    With --mutate, known leaks are put beside the columns of the feature tables, and the answer is
    which of them are caught. Exit code 1 if one is not.

    With --warm-up, tables that declare 'pipelines.incremental.*' are computed from less and less
    history, and the least that gives the same rows is kept with the table. A declared lookback that
    is too short is an error.

    \b
    Examples:
      slh replay
      slh replay --at 2013-07-14T15:00:00Z --select features.carrier_delay
      slh replay --cutoffs 12 --mode both --html replay.html
      slh replay --mutate --cutoffs 3
      slh replay --warm-up
      slh replay --json
    """
    from sololakehouse.cli.output_file import refuse_place
    from sololakehouse.errors import UsageError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.reference import parse_moment
    from sololakehouse.replay.replay import ReplayRequest

    if html is not None:
        refuse_place(html, force)
    if mutate and warm_up:
        raise UsageError("--mutate and --warm-up are two questions. Ask one of them.")
    lake = Lakehouse.open()
    request = ReplayRequest(
        tuple(parse_moment(moment, lake.project.settings.time_zone) for moment in at),
        cutoffs,
        seed,
        _MODES[mode],
        tuple(part.strip() for one in select for part in one.split(",") if part.strip()),
        parallel,
        Path(spec) if spec else None,
        cause_runs,
    )
    if warm_up:
        return _measured(lake, request, json_wanted=json_wanted)
    if mutate:
        return _mutated(lake, request, json_wanted=json_wanted)
    report = _replayed(lake, request, quiet=json_wanted)
    if html is not None:
        _write_html(report, html, force)
    _give(report, json_wanted=json_wanted)
    return int(bool(report.leaking))


def _replayed(lake: Lakehouse, request: ReplayRequest, *, quiet: bool) -> ReplayReport:
    from sololakehouse.replay.certificate import attach_to_models, write_certificates
    from sololakehouse.replay.replay import Replay

    with recorded(lake, "replay") as log, time_left(quiet=quiet) as show:
        done = Replay(lake, request, show)
        report = done.run()
        write_certificates(log.writer, done.plan, report)
        attach_to_models(lake, report)
    return report


def _mutated(lake: Lakehouse, request: ReplayRequest, *, json_wanted: bool) -> int:
    from sololakehouse.lake.lock import project_lock
    from sololakehouse.replay.mutations import MutationTrial

    with (
        project_lock(lake.project.warehouse, "slh replay --mutate"),
        time_left(quiet=json_wanted) as show,
    ):
        one_mode = replace(request, modes=request.modes[:1])
        report = MutationTrial(lake, one_mode, show).trial()
    rows = [asdict(one) for one in report.trials]
    if json_wanted:
        print_json({"cutoffs": report.cutoffs, "mode": report.mode, "trials": rows})
    else:
        print_table(rows, ["leak", "table", "outcome", "caught", "cutoffs", "said"])
        put_in = [one for one in report.trials if one.outcome in ("caught", "missed")]
        caught = sum(one.outcome == "caught" for one in put_in)
        alarms = sum(one.outcome == "false alarm" for one in report.trials)
        click.echo(
            f"\n{caught} of {len(put_in)} leaks were caught, with {alarms} false alarms, at "
            f"{_count(len(report.cutoffs), 'cutoff')} in {report.seconds:.1f} s."
        )
    return int(not report.is_good)


def _measured(lake: Lakehouse, request: ReplayRequest, *, json_wanted: bool) -> int:
    from sololakehouse.replay.warm_up import as_rows, measure, refuse_too_short, store

    with recorded(lake, "replay", "--warm-up") as log:
        found = measure(lake, request.cutoffs, request.seed, request.select, request.spec)
        store(log.writer, found)
    listed = [one for one, _ in found.values()]
    if json_wanted:
        print_json(as_rows(listed))
    else:
        print_table(as_rows(listed), ["table", "verdict", "declared", "needed", "cutoffs"])
    refuse_too_short(listed)
    return 0


def _write_html(report: ReplayReport, html: Path, force: bool) -> None:
    from sololakehouse.cli.output_file import whole_file
    from sololakehouse.replay.page import page

    with whole_file(html, force) as file:
        file.write_text(page(report), encoding="utf-8")


def _give(report: ReplayReport, *, json_wanted: bool) -> None:
    from sololakehouse.replay.verdicts import as_json as report_json

    if json_wanted:
        print_json(report_json(report))
        return
    rows = [_table_row(table) for table in report.tables]
    print_table(rows, ["table", "verdict", "columns that leak", "rows compared", "not covered"])
    for table in report.tables:
        for column in table.leaking:
            _print_leak(table, column)
    for one in report.findings:
        if one.state != "clean":
            click.echo(f"{one.training_set}: {one.check}: {one.state}: {one.said}")
    click.echo(f"\n{summary(report)}")


def _table_row(table: TableVerdict) -> dict[str, Any]:
    return {
        "table": table.table,
        "verdict": table.state,
        "columns that leak": ", ".join(column.column for column in table.leaking) or None,
        "rows compared": table.rows,
        "not covered": table.uncovered,
    }


def _print_leak(table: TableVerdict, column: ColumnVerdict) -> None:
    from sololakehouse.lake.contract import described_row

    at = _count(len({leak.cutoff for leak in column.leaks}), "cutoff")
    click.secho(f"\n{table.table}.{column.column} knows what came later", bold=True)
    click.echo(
        f"  At {at} up to {column.rows:,} rows differ, the earliest of {_moment(column.earliest)}."
    )
    leak = next((one for one in column.leaks if any(one.causes)), column.leaks[0])
    click.echo(f"  By {_moment(leak.cutoff)} ({leak.mode}):")
    causes = leak.causes or (None,) * len(leak.difference.examples)
    for example, cause in zip(leak.difference.examples, causes, strict=True):
        values = described_row({"now": example.full, "by what was known": example.replayed})
        click.echo(f"    {described_row(example.key)}: {values}")
        for row in cause.rows if cause else ():
            known = f"known at {_moment(row.known_at)}"
            what = f"{', '.join(row.columns)} of {row.table}" if row.columns else row.table
            click.echo(f"      changed by {what}, {known}: {described_row(row.values)}")
        if cause and (said := cause.said_of_rows):
            click.echo(f"      {said}")


def summary(report: ReplayReport) -> str:
    """Say in one or two sentences what was found, and on what it rests."""
    leaking = report.leaking
    slices = f"{_count(len(report.cutoffs), 'cutoff')}, {' and '.join(report.modes)}"
    runs = _count(report.runs, "pipeline run")
    if report.cause_runs:
        runs += f", {_count(report.cause_runs, 'recomputation')} to find causes"
    rows = sum(table.rows for table in report.tables)
    if leaking:
        found = f"{len(leaking)} of {len(report.tables)} tables know what came later"
    elif all(table.state == "clean" for table in report.tables):
        found = "Nothing leaked"
    else:
        found = "No leak was seen, but not everything is covered"
    return (
        f"{found} ({slices}, {rows:,} rows compared, {runs}, "
        f"{report.seconds:.1f} s). This is evidence, not a proof."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _moment(moment: Any) -> str:
    from datetime import UTC

    if moment is None:
        return "no moment"
    return str(moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))


@contextmanager
def time_left(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show how many runs are done and how long the others will take, where a terminal is.

    Yields a function that takes what begins now, how many runs are done, and of how many.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.description}"),
    )
    hidden = quiet or not console().is_terminal
    with Progress(*columns, console=console(), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield show
