"""Commands about lineage: `slh trace` down to the files, `slh impact` up to the models."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sololakehouse.cli.output_file import asked_format, output_options, refuse_place, whole_file
from sololakehouse.cli.render import aligned_lines, as_json, cell_width, json_text

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lineage.graph import Lineage

FORMATS = ("tree", "json", "mermaid", "excalidraw", "svg", "openlineage")
_SUFFIXES = {
    ".json": "json",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".excalidraw": "excalidraw",
    ".svg": "svg",
    ".jsonl": "openlineage",
}
_DIGITS_IN_TERMINALS = 12
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Form:
    """How a graph is wanted; `output` is None for the terminal."""

    format: str
    output: Path | None
    force: bool

    @classmethod
    def of(
        cls, format_wanted: str | None, json_wanted: bool, output: Path | None, force: bool
    ) -> _Form:
        """Combine the options, and refuse what cannot be before anything is read.

        Raises
        ------
        UsageError
            The options contradict each other, the file exists, or its folder does not.
        """
        wanted = asked_format(format_wanted, json_wanted)
        if output is not None:
            refuse_place(output, force)
        by_suffix = _SUFFIXES.get(output.suffix, "tree") if output else "tree"
        return cls(wanted or by_suffix, output, force)

    def give(self, lake: Lakehouse, lineage: Lineage, about: dict[str, Any]) -> None:
        """Print the graph or write the file; `about` is what JSON says besides."""
        text = self._text(lake, lineage, about)
        if self.output is None:
            click.echo(text, nl=False)
            return
        with whole_file(self.output, self.force) as partial:
            partial.write_text(text, "utf-8")
        click.echo(f"{len(lineage.nodes)} nodes in {self.output}", err=True)

    def _text(self, lake: Lakehouse, lineage: Lineage, about: dict[str, Any]) -> str:
        if self.format == "tree":
            terminal = self.output is None and sys.stdout.isatty()
            return tree_text(lineage, shutil.get_terminal_size().columns if terminal else None)
        if self.format == "json":
            from sololakehouse.lineage.as_json import lineage_json

            return json_text(lineage_json(lineage) | about) + "\n"
        if self.format == "openlineage":
            from sololakehouse.lineage.events import lineage_events

            return "".join(f"{json.dumps(event)}\n" for event in lineage_events(lake, lineage))
        from sololakehouse.diagrams.forms import drawn
        from sololakehouse.lineage.drawing import diagram

        return drawn(diagram(lineage), self.format)


def _lineage_options(command: F) -> F:
    """Add `--format`, `--json`, `--output` and `--force` to a command."""
    wanted = click.option(
        "--format",
        "format_wanted",
        type=click.Choice(FORMATS),
        help="Default: tree, or what the output file's suffix says.",
    )
    return wanted(output_options(as_json(command)))


@click.command()
@click.argument("reference")
@_lineage_options
def trace(
    reference: str,
    format_wanted: str | None,
    output: Path | None,
    force: bool,
    json_wanted: bool,
) -> None:
    """Show what something was made from, down to the landing files.

    REFERENCE is a table, also at a version or moment (gold.sales@v3); a model (NAME@production,
    NAME@staging, NAME@3); the run of a command, or a training run of MLflow.

    Output files ending in .json, .mmd, .excalidraw, .svg and .jsonl (OpenLineage events, one per
    line) are written in that format.

    \b
    Examples:
      slh trace flight_delay@production
      slh trace inference.flight_delay -o lineage.excalidraw
      slh trace training.flight_delay@v1 --format mermaid
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lineage.trace import trace as traced

    form = _Form.of(format_wanted, json_wanted, output, force)
    lake = Lakehouse.open()
    lineage = traced(lake, reference)
    form.give(lake, lineage, {})
    free = lineage.not_deterministic
    if free and form.format == "tree" and form.output is None:
        click.echo(f"Not deterministic: {', '.join(free)}. Computed again, they may differ.")


@click.command()
@click.argument("reference")
@_lineage_options
def impact(
    reference: str,
    format_wanted: str | None,
    output: Path | None,
    force: bool,
    json_wanted: bool,
) -> None:
    """Show what is built on something: tables, models with their stages, predictions, sinks.

    REFERENCE is what 'slh trace' takes. A table means all of its versions, a version that one
    alone. Shown are tables as they are now, and models of every stage. Stale is what was made from
    an older version of the table than its newest.

    \b
    Examples:
      slh impact bronze.flights
      slh impact silver.weather@v1 --format mermaid
      slh impact bronze.flights -o impact.excalidraw
    """
    from sololakehouse.errors import RunError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lineage.impact import impact as find_impact

    form = _Form.of(format_wanted, json_wanted, output, force)
    lake = Lakehouse.open()
    found = find_impact(lake, reference)
    form.give(lake, found.lineage, found.as_json())
    if form.format == "tree" and form.output is None:
        click.echo(found.summary)
    if found.damaged:
        raise RunError("\n       ".join(found.damaged))


def tree_text(lineage: Lineage, room: int | None) -> str:
    """Write the tree, with the notes behind its lines.

    Parameters
    ----------
    room
        Columns of the terminal: hashes are short, and what has no room is left out. None: no
        terminal, and nothing is left out.
    """
    from sololakehouse.lineage.tree import COLUMNS, tree

    rows = [line.cells(None if room is None else _DIGITS_IN_TERMINALS) for line in tree(lineage)]
    title, *names = COLUMNS[:-1]
    columns: dict[str, list[str]] = {lineage.direction: [row[title] for row in rows]}
    columns |= {name: [row[name] for row in rows] for name in names if any(r[name] for r in rows)}
    for dispensable in ("code revision", "kind", "fingerprint"):
        if room is not None and _width(columns) > room:
            columns.pop(dispensable, None)
    cells = [[name, *column] for name, column in columns.items()]
    header, *lines = aligned_lines(cells, [name == "rows" for name in columns])
    noted = (f"{line}  {row['notes']}".rstrip() for line, row in zip(lines, rows, strict=True))
    shown = header.rstrip() if room is None else click.style(header.rstrip(), bold=True)
    return "\n".join([shown, *noted, ""])


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    widest = (max(map(cell_width, [name, *column])) for name, column in columns.items())
    return sum(widest) + 2 * (len(columns) - 1)
