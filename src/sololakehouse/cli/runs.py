"""Commands about training runs: `slh runs`, `slh compare`, `slh mlflow`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_table

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.versions import ModelVersion

_SHOWN = 10


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def runs(context: click.Context, json_wanted: bool) -> None:
    """List the training runs, the newest first, and those that MLflow has not got yet.

    One is 'replaced' if the MLflow store that gave its model a number is not there any more.

    \b
    Examples:
      slh runs
      slh runs --json
      slh runs sync
    """
    if context.invoked_subcommand is not None:
        return
    from sololakehouse.lake import Lakehouse

    lake = Lakehouse.open()
    known = _known(lake)
    if json_wanted:
        print_json([*known, *_pending(lake)])
        return
    rows = [_line(row) for row in [*_pending(lake), *known]]
    if not rows:
        click.echo("No training runs yet. 'slh train FILE' makes the first ones.")
        return
    print_table(rows, list(dict.fromkeys(column for row in rows for column in row)))
    waiting = sum(row["state"] == "pending" for row in rows)
    if waiting:
        click.echo(f"{waiting} pending: send them to MLflow with 'slh runs sync'.")


@runs.command("sync")
@as_json
def runs_sync(json_wanted: bool) -> None:
    """Send to MLflow what was trained while it did not answer, and register it.

    Runs, models and stages have the lineage of the command that trained them. Interrupted and
    called again, it goes on where it was.

    \b
    Examples:
      slh runs sync
      slh runs sync --json
    """
    from sololakehouse.errors import RunError, SoloLakehouseError, UnreachableError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.pending import pending_runs, sync

    lake = Lakehouse.open()
    sent: list[dict[str, Any]] = []
    failed: list[str] = []
    with recorded(lake, "runs sync") as log:
        for pending in pending_runs(lake.project):
            place = pending.place(lake.project)
            log.begin(place)
            try:
                versions = sync(lake, pending)
            except UnreachableError:
                raise
            except SoloLakehouseError as error:
                failed.append(f"{place}: {error}")
                continue
            log.end()
            sent += [_synced(version) for version in versions]
            if not json_wanted:
                what = ", ".join(str(version) for version in versions) or "1 run"
                click.echo(f"{place}: sent. Registered: {what}.")
    if json_wanted:
        print_json(sent)
    elif not sent and not failed:
        click.echo("Nothing is pending.")
    if failed:
        raise RunError("\n       ".join(failed))


def _synced(version: ModelVersion) -> dict[str, Any]:
    return {
        "model": version.name,
        "version": version.version,
        "stage": version.stage,
        "run": version.mlflow_run_id,
    }


def _known(lake: Lakehouse) -> list[dict[str, Any]]:
    from sololakehouse.models.versions import all_registered

    versions = sorted(all_registered(lake), key=lambda one: (one.trained_at, one.version))
    return [
        {
            "run": version.mlflow_run_id,
            "state": "replaced" if version.replaced else "registered",
            "experiment": version.experiment,
            "role": version.role,
            "model": f"{version.name}@{version.version}",
            "stage": version.stage,
            "training_set": f"{version.training_set}@v{version.training_set_version}",
            "at": version.trained_at,
            "metrics": dict(version.metrics),
            "intervals": version.record.get("intervals", {}),
            "params": version.record.get("params", {}),
        }
        for version in reversed(versions)
    ]


def _pending(lake: Lakehouse) -> list[dict[str, Any]]:
    import json

    from sololakehouse.models.pending import pending_runs

    return [
        {
            "run": run.key,
            "state": "pending",
            "experiment": pending.about["experiment"],
            "role": row["about"]["role"],
            "model": pending.about["register_as"],
            "stage": None,
            "training_set": str(pending.training_set),
            "at": pending.run.started_at,
            "metrics": json.loads(row["about"]["metrics"]),
            "intervals": row["record"].get("intervals", {}),
            "params": row["record"].get("params", {}),
        }
        for pending in reversed(pending_runs(lake.project))
        for run, row in zip(pending.runs, pending.about["rows"], strict=True)
    ]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """Return a run for a table: of its metrics those of the test part, and no parameters."""
    about = {
        name: row[name] for name in ("run", "model", "stage", "state", "role", "training_set", "at")
    }
    tested = {name: value for name, value in row["metrics"].items() if name.startswith("test_")}
    return (
        about | {"run": row["run"] if row["state"] == "pending" else row["run"][:_SHOWN]} | tested
    )


@click.command()
@click.argument("one")
@click.argument("other")
@as_json
def compare(one: str, other: str, json_wanted: bool) -> None:
    """Show what differs between two training runs: settings, data, metrics, environment.

    A run is an identifier of 'slh runs', also its beginning, or a model as NAME@3 or
    NAME@production. What is equal is left out.

    \b
    Examples:
      slh compare flight_delay@1 flight_delay@production
      slh compare 4f2a 91bc --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.difference import differences, find_run

    lake = Lakehouse.open()
    found = [find_run(lake, reference) for reference in (one, other)]
    differing = differences(lake, *found)
    if json_wanted:
        names = [{"run": run.mlflow_run_id, "model": f"{run.name}@{run.version}"} for run in found]
        print_json({"runs": names, "differences": differing})
        return
    if not differing:
        click.echo("Nothing differs.")
        return
    titles = [f"{run.name}@{run.version}" for run in found]
    if titles[0] == titles[1]:
        titles = [run.mlflow_run_id[:_SHOWN] for run in found]
    rows = [
        {"": row["what"], titles[0]: _text(row["one"]), titles[1]: _text(row["other"])}
        for row in differing
    ]
    print_table(rows, ["", *titles])


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
        ends = f" [{value['low']:.4f}, {value['high']:.4f}]" if value["low"] is not None else ""
        return f"{value['value']:.4f}{ends}"
    return str(value)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="Where this machine listens.",
)
def mlflow(port: int) -> None:
    """Serve MLflow's UI for the project on this machine, until Ctrl-C.

    \b
    Examples:
      slh mlflow
      slh mlflow --port 5001
    """
    from sololakehouse.config import Project
    from sololakehouse.models.server import serve

    serve(Project.find(), port, lambda address: click.echo(f"MLflow: {address} (Ctrl-C ends it)"))
