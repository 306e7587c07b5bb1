"""Runs the demo in a copy of the reference project, and draws what it printed.

`make terminal` calls it: demo.svg is for light pages, demo-dark.svg for dark ones. Some tables in
the middle are left out, which is said where they were.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent / "examples" / "nyc_flights"
PICTURES = {"demo.svg": DEFAULT_TERMINAL_THEME, "demo-dark.svg": SVG_EXPORT_THEME}
_COMMAND = "slh demo examples/nyc_flights"
_COLUMNS = 92
_LEFT_OUT_OF_COPY = ("landing", "warehouse", "mlflow.db", "mlartifacts", ".slh")
_SECONDS = re.compile(r"\(\d+\.\d s\)$")
_ALT = (
    "The terminal after slh demo: landing files are ingested, 14 tables computed, two models "
    "trained of which one beats the baseline and goes to production, two months scored, and drift "
    "and evaluation reported."
)
# The template of rich, without its font, which it would load from a server.
_TEMPLATE = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>slh demo</title>
<desc>ALT</desc>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def recorded() -> list[str]:
    """Run the demo from nothing, and return the lines that it printed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PROJECT.name
        shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns(*_LEFT_OUT_OF_COPY))
        done = subprocess.run(
            [sys.executable, "-m", "sololakehouse", "demo", str(copy)],
            capture_output=True,
            text=True,
            check=True,
        )
    return done.stdout.splitlines()


def shown(lines: Sequence[str]) -> list[str]:
    """Keep the steps and the time; say where how many lines are left out."""
    parts: list[list[str]] = [[]]
    for line in lines:
        parts.append([]) if not line else parts[-1].append(line.rstrip())
    kept = list(_kept(parts))
    return kept[:-1] if kept and not kept[-1] else kept


def _kept(parts: Sequence[Sequence[str]]) -> Iterator[str]:
    left_out = 0
    for number, part in enumerate(parts):
        title = part[0] if part else ""
        if number and not title.startswith("Done in"):
            left_out += len(part) + 1
            continue
        if left_out:
            yield f"... {left_out} more lines: tables, models, drift, predictions by month"
            yield ""
            left_out = 0
        yield from part
        yield ""


def picture(lines: Sequence[str], theme: TerminalTheme) -> str:
    """Draw the lines as a terminal shows them: steps bold, seconds dim."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), highlight=False)
    console.print(Text.assemble(("$ ", "green"), (_COMMAND, "bold")))
    for line in lines:
        console.print(_styled(line))
    return console.export_svg(
        title="slh demo",
        theme=theme,
        code_format=_TEMPLATE.replace("ALT", _ALT),
        unique_id="demo",
    )


def _styled(line: str) -> Text:
    text = Text(line)
    if line.startswith("..."):
        text.stylize("dim")
    elif line and not line.startswith(" ") and ": " not in line:
        text.stylize("bold")
    text.highlight_regex(_SECONDS, "dim")
    return text


def main() -> None:
    """Record the demo and write its pictures."""
    lines = shown(recorded())
    for name, theme in PICTURES.items():
        (HERE / name).write_text(picture(lines, theme), "utf-8")
        click.echo(f"docs/diagrams/{name}")


if __name__ == "__main__":
    main()
