"""`slh diagram`: the project as a picture, or a picture from its description."""

from __future__ import annotations

from pathlib import Path

import click

from sololakehouse.cli.output_file import asked_format, output_options, refuse_place, whole_file
from sololakehouse.cli.render import as_json, json_text

FORMATS = ("mermaid", "excalidraw", "svg", "json")
_JSON = {".json": "json"}


@click.command()
@click.argument("description", required=False, type=click.Path(path_type=Path))
@click.option(
    "--select",
    multiple=True,
    metavar="PATTERN",
    help="Tables, models or sinks, as in 'features.*', with what leads to them and from them.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    help="How far around the selected ones. Default: all the way.",
)
@click.option("--dark", is_flag=True, help="SVG for dark pages.")
@click.option(
    "--format",
    "format_wanted",
    type=click.Choice(FORMATS),
    help="Default: what the output file's suffix says; mermaid in the terminal.",
)
@output_options
@as_json
def diagram(
    description: Path | None,
    select: tuple[str, ...],
    steps: int | None,
    dark: bool,
    format_wanted: str | None,
    output: Path | None,
    force: bool,
    json_wanted: bool,
) -> None:
    """Draw the project: landing files, tables, models and sinks, and what is made from what.

    An output file ending in .svg or .excalidraw is drawn by hand, one in .mmd is Mermaid, one in
    .json the boxes and arrows. With DESCRIPTION, a YAML file, its picture is drawn instead, as
    .svg or .excalidraw.

    \b
    Examples:
      slh diagram --output lineage.excalidraw
      slh diagram --select 'features.*' --steps 1 --output features.svg
      slh diagram plan.yml --output plan.svg --dark
    """
    wanted = _form(asked_format(format_wanted, json_wanted), output, description)
    _refuse(wanted, description, select, steps, dark)
    if output is not None:
        refuse_place(output, force)
    text = (
        _described(description, wanted, dark)
        if description
        else _project(select, steps, wanted, dark)
    )
    if output is None:
        click.echo(text, nl=False)
        return
    with whole_file(output, force) as partial:
        partial.write_text(text, "utf-8")
    click.echo(f"Drawn in {output}", err=True)


def _form(asked: str | None, output: Path | None, description: Path | None) -> str:
    from sololakehouse.diagrams.forms import SUFFIXES
    from sololakehouse.errors import NotFoundError

    known = {**SUFFIXES, **_JSON}
    if asked is not None:
        return asked
    if output is None:
        return "svg" if description else "mermaid"
    if output.suffix not in known:
        raise NotFoundError.of("ending", output.suffix, known, where=str(output))
    return known[output.suffix]


def _refuse(
    wanted: str, description: Path | None, select: tuple[str, ...], steps: int | None, dark: bool
) -> None:
    from sololakehouse.errors import UsageError

    if dark and wanted != "svg":
        raise UsageError(f"--dark is for SVG; {wanted} leaves the colours to the program.")
    if steps is not None and not select:
        raise UsageError("--steps counts from what is selected: name it with --select.")
    if description is None:
        return
    if select:
        raise UsageError(f"{description} says all that is drawn; --select is for the project.")
    if wanted not in ("svg", "excalidraw"):
        raise UsageError(f"A description is drawn as svg or excalidraw, not as {wanted}.")


def _described(description: Path, wanted: str, dark: bool) -> str:
    from sololakehouse.diagrams.compose import compose
    from sololakehouse.diagrams.description import read_description
    from sololakehouse.diagrams.excalidraw import excalidraw
    from sololakehouse.diagrams.svg import svg

    scene = compose(read_description(description))
    return excalidraw(scene) if wanted == "excalidraw" else svg(scene, dark=dark)


def _project(select: tuple[str, ...], steps: int | None, wanted: str, dark: bool) -> str:
    from sololakehouse.diagrams.forms import drawn
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lineage.overview import overview

    found = overview(Lakehouse.open(), select, steps)
    for reason in found.damaged:
        click.secho(f"Not drawn: {reason}", fg="yellow", err=True)
    if wanted == "json":
        return json_text(found.as_json()) + "\n"
    return drawn(found.diagram, wanted, dark=dark)
