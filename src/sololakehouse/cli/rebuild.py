"""`slh rebuild`: build a model again from its record, and say where it diverged."""

from __future__ import annotations

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, progress

_STATES = {"same": "green", "differs": "red", "not compared": "yellow"}
_VERDICTS = {"bit-identical": "green", "metric-identical": "yellow", "diverged": "red"}


@click.command()
@click.argument("model")
@click.option("--from-raw", is_flag=True, help="Run the pipeline from the landing files first.")
@as_json
def rebuild(model: str, from_raw: bool, json_wanted: bool) -> None:
    """Build MODEL again from its record alone, and compare it link by link.

    MODEL is NAME@production, NAME@staging or NAME@3. The definitions are those of the recorded
    revision, the tables are read at the recorded versions, and nothing in the project changes but
    for one row of system.rebuilds. The verdict is bit-identical, metric-identical (metrics are the
    same, predictions are not quite) or diverged, which ends with exit code 1.

    \b
    Examples:
      slh rebuild flight_delay@production
      slh rebuild flight_delay@2 --from-raw --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.rebuild.course import rebuild as build_again
    from sololakehouse.rebuild.course import steps_of
    from sololakehouse.rebuild.rebuilds import record_rebuild

    lake = Lakehouse.open()
    arguments = (model, "--from-raw") if from_raw else (model,)
    with recorded(lake, "rebuild", *arguments) as log:
        log.begin(f"rebuild {model}")
        with progress(steps_of(from_raw=from_raw), quiet=json_wanted) as begin:
            rebuilt = build_again(lake, model, from_raw=from_raw, on_step=begin)
        log.end(record_rebuild(log.writer, rebuilt), rebuilt.verdict)
    if json_wanted:
        print_json(rebuilt.as_json())
    else:
        for finding in rebuilt.findings:
            click.secho(f"{finding.state:<12}  ", fg=_STATES[finding.state], nl=False)
            click.echo(f"{finding.link:<13}  {finding.said}")
        click.secho(rebuilt.said, fg=_VERDICTS[rebuilt.verdict], bold=True)
    if rebuilt.verdict == "diverged":
        click.get_current_context().exit(1)
