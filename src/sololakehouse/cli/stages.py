"""Commands about the stages of models: `slh promote`, `slh rollback`, `slh models`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.models import print_models
from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line

if TYPE_CHECKING:
    from sololakehouse.models.gates import GateResult

_COLORS = {"passed": "green", "failed": "red", "not available": "yellow"}


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option(
    "--to",
    "stage",
    type=click.Choice(["staging", "production", "archived"]),
    required=True,
    help="The stage; production has gates.",
)
@click.option("--force", is_flag=True, help="Go to production past failed gates; needs --reason.")
@click.option("--reason", help="Why; it is kept with the transition.")
@as_json
def promote(
    model: str,
    version: int | None,
    stage: str,
    force: bool,
    reason: str | None,
    json_wanted: bool,
) -> None:
    """Move VERSION of MODEL to a stage; without VERSION the one in staging.

    Production asks gates: that the version beats its baseline, is no worse than what is in
    production on the same rows and on each slice that the experiment declares, that its files and
    the rows that it learned from are as they should be. All of them are shown.

    \b
    Examples:
      slh promote flight_delay --to production
      slh promote flight_delay 2 --to staging
      slh promote flight_delay 4 --to production --force --reason "the old one is unfair"
    """
    from sololakehouse.errors import GateError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.registry import promote as promote_version

    lake = Lakehouse.open()
    with recorded(lake, "promote", model, *([str(version)] if version else []), stage) as log:
        log.begin(f"{model} to {stage}")
        try:
            done = promote_version(
                lake, log.writer, model, version, stage, reason=reason, force=force
            )
        except GateError as error:
            if json_wanted:
                print_json(
                    {"model": model, "to": None, "gates": [asdict(one) for one in error.gates]}
                )
            raise
        log.end()
    if json_wanted:
        gates = [asdict(one) for one in done.gates]
        about = {"model": model, "version": done.version, "to": stage, "reason": done.reason}
        print_json(about | {"changed": done.changed, "gates": gates})
        return
    print_gates(done.gates)
    click.echo(f"{model} version {done.version}: {stage}. {done.reason}")


def print_gates(gates: Sequence[GateResult]) -> None:
    """Print one line for each gate."""
    width = max((len(one.verdict) for one in gates), default=0)
    for one in gates:
        verdict = click.style(one.verdict.ljust(width), fg=_COLORS[one.verdict])
        click.echo(f"{verdict}  {one.gate}: {one.said}")


@click.command()
@click.argument("model")
@click.option("--reason", required=True, help="Why; it is kept with the transition.")
@as_json
def rollback(model: str, reason: str, json_wanted: bool) -> None:
    """Put the version of MODEL into production that was there before the one that is.

    The version that is there is archived. Rolled back again, it is the one before that.

    \b
    Examples:
      slh rollback flight_delay --reason "too many false alarms since Monday"
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.registry import rollback as roll_back

    lake = Lakehouse.open()
    with recorded(lake, "rollback", model) as log:
        log.begin(f"{model} to production")
        done = roll_back(lake, log.writer, model, reason)
        log.end()
    if json_wanted:
        print_json({"model": model, "version": done.version, "to": "production", "reason": reason})
    else:
        click.echo(f"{model} version {done.version}: production. {reason}")


@click.command()
@as_json
def models(json_wanted: bool) -> None:
    """List the registered models with their stages and metrics.

    'forced' is why a version is in production although a gate said no.

    \b
    Examples:
      slh models
      slh models --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.versions import model_versions

    versions = model_versions(Lakehouse.open())
    rows: list[dict[str, Any]] = [
        {
            "model": version.name,
            "version": version.version,
            "stage": version.stage,
            "role": version.role,
            **({"forced": version.forced} if any(one.forced for one in versions) else {}),
            **version.metrics,
        }
        for version in versions
    ]
    if json_wanted:
        print_json(rows)
    elif rows:
        print_models(rows)
    else:
        print_line("No models yet. 'slh train FILE' makes the first ones.")
