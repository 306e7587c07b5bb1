"""How `slh run --explain` prints: one short paragraph per table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sololakehouse.cli.render import print_line

if TYPE_CHECKING:
    from sololakehouse.pipelines.explain import Explanation, Read

_COLOURS = {"run": "cyan", "up to date": "green"}


def print_explanations(explanations: Iterable[Explanation]) -> None:
    """Print what each table reads, and why it is computed or not; then the engine's plans."""
    from rich.markup import escape

    listed = list(explanations)
    for explained in listed:
        colour = _COLOURS.get(explained.state, "dim")
        said = f"[{colour}]{explained.state}[/] ({escape(explained.reason)})"
        print_line(f"[bold]{explained.table}[/]: {said}")
        for line in _details(explained):
            print_line(f"  [dim]{escape(line)}[/]")
    for explained in listed:
        if explained.query_plan is not None:
            print_line(f"\n[bold]The engine's plan of {explained.table}[/]")
            print_line(escape(explained.query_plan))


def _details(explained: Explanation) -> Iterator[str]:
    yield f"{explained.kind}, {explained.place}"
    for read in explained.reads:
        yield f"reads {_read(read)}"
    for change in explained.changes:
        yield f"changed: {change}"


def _read(read: Read) -> str:
    if read.is_stream:
        start = f"after v{read.version_before}" if read.version_before is not None else "all"
        end = "which this run computes first" if read.is_computed else f"up to v{read.version}"
        return f"the rows of {read.table} {start}, {end}"
    if read.is_computed:
        return f"{read.table}, which this run computes first"
    moved = read.version_before is not None and read.version_before != read.version
    return f"{read.table} v{read.version}" + (f", was v{read.version_before}" if moved else "")
