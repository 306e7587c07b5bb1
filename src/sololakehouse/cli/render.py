"""What commands print: tables and lines for people, JSON for scripts."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 400
# The branches of a tree are as wide as a letter.
_BRANCHES = dict.fromkeys(map(ord, "│├└─"), "-")

as_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON for scripts.")


@cache
def console() -> Console:
    """Return the console of people's output; it measures the terminal once."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not terminal, width=None if terminal else _WIDE)


def print_json(value: Any) -> None:
    """Print a value as JSON; moments as ISO 8601."""
    click.echo(json_text(value))


def json_text(value: Any) -> str:
    """Write a value as JSON; moments as ISO 8601."""
    return json.dumps(value, indent=2, default=_as_text)


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table; numbers are right-aligned and None is empty."""
    listed = [[row.get(column) for column in columns] for row in rows]
    values = [[row[index] for row in listed] for index in range(len(columns))]
    numeric = [_is_numeric(column) for column in values]
    cells = [[name, *map(_cell, column)] for name, column in zip(columns, values, strict=True)]
    lines = _plain_lines(cells, numeric)
    if lines is None:
        _print_rich(cells, numeric)
        return
    header, *others = lines
    click.secho(header, bold=True)
    for line in others:
        click.echo(line)


def _is_numeric(column: Sequence[Any]) -> bool:
    known = [value for value in column if value is not None]
    return bool(known) and all(_is_number(value) for value in known)


def _plain_lines(cells: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str] | None:
    """Align a table without Rich, whose import takes longer than most commands.

    Returns None where only Rich knows how: wide characters, markup, a line that is too long.
    """
    texts = [cell for column in cells for cell in column]
    widths = [max(map(len, column)) for column in cells]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    plain = all(text.isascii() and text.isprintable() and "[" not in text for text in texts)
    if not plain or sum(widths) + 2 * (len(widths) - 1) > room:
        return None
    return aligned_lines(cells, numeric)


def aligned_lines(columns: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    """Return the lines of a table, each cell as wide as the widest of its column.

    Examples
    --------
    >>> aligned_lines([["├─ a", "b"], ["1", "20"]], [False, True])
    ['├─ a   1', 'b     20']
    """
    widths = [max(map(cell_width, column)) for column in columns]
    spaces = [
        [" " * (width - cell_width(cell)) for cell in column]
        for column, width in zip(columns, widths, strict=True)
    ]
    padded = [
        [gap + cell if right else cell + gap for cell, gap in zip(column, gaps, strict=True)]
        for column, gaps, right in zip(columns, spaces, numeric, strict=True)
    ]
    return ["  ".join(line) for line in zip(*padded, strict=True)]


def cell_width(text: str) -> int:
    """Return how many letters wide a text is in a terminal."""
    if text.translate(_BRANCHES).isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _print_rich(cells: Sequence[Sequence[str]], numeric: Sequence[bool]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for (name, *_), right in zip(cells, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in zip(*(column[1:] for column in cells), strict=True):
        table.add_row(*row)
    console().print(table)


def print_rows(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    numeric: Sequence[bool],
    file: Path | None = None,
) -> None:
    """Print columns of text as they are, markup included; nothing is cut where no terminal is.

    Parameters
    ----------
    numeric
        Which columns are right-aligned.
    names
        The header; empty texts for none.
    file
        A file that takes the table instead of standard output.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, show_header=any(names))
    for name, right in zip(names, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", no_wrap=True)
    for row in zip(*columns, strict=True):
        table.add_row(*(Text(cell) for cell in row))
    if file is None and console().is_terminal:
        console().print(table)
        return
    cells = ([name, *column] for name, column in zip(names, columns, strict=True))
    width = sum(2 + max(cell_len(cell) for cell in column) for column in cells)
    with file.open("w", encoding="utf-8") if file else nullcontext(sys.stdout) as out:
        Console(file=out, highlight=False, width=max(width, 1)).print(table)


def print_line(text: str) -> None:
    """Print one line; rich markup is interpreted."""
    console().print(text)


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show a progress bar where there is a terminal; yields a function that begins the next item.

    The function takes what is being done now. With `quiet` nothing is shown.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Elapsed(),
        TextColumn("{task.description}"),
    )
    hidden = quiet or not console().is_terminal
    with Progress(*columns, console=console(), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        begun = False

        def begin(what: str) -> None:
            nonlocal begun
            bar.update(task, advance=1 if begun else 0, description=what)
            begun = True

        yield begin


@contextmanager
def byte_progress(*, quiet: bool) -> Iterator[Callable[[str, int, int, int | None], None]]:
    """Show bytes, rows and speed of reading where there is a terminal.

    Yields a function that takes what is being read, how many rows and bytes have been, and of how
    many bytes (None: not known yet). With `quiet` nothing is shown.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.description}"),
    )
    hidden = quiet or not console().is_terminal
    with Progress(*columns, console=console(), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=None, rows=0)

        def show(what: str, rows: int, read: int, total: int | None) -> None:
            bar.update(task, description=what, rows=rows, completed=read, total=total)

        yield show


@contextmanager
def row_progress(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show rows and speed where there is a terminal.

    Yields a function that takes how many rows are done, and of how many. With `quiet` nothing is
    shown.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    rows = TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows")
    hidden = quiet or not console().is_terminal
    columns = (BarColumn(bar_width=24), rows, TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=0)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value)
