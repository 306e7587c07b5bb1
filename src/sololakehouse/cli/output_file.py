"""Files that commands write for a person: checked before the work, and whole or not there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def output_options(command: F) -> F:
    """Add `--output` and `--force` to a command."""
    force = click.option("--force", is_flag=True, help="Replace the output file if it exists.")
    output = click.option(
        "--output", "-o", type=click.Path(path_type=Path), help="Write a file instead."
    )
    return output(force(command))


def asked_format(format_wanted: str | None, json_wanted: bool) -> str | None:
    """Return the format that `--format` or `--json` asks for; None if neither does.

    Raises
    ------
    UsageError
        They ask for two.
    """
    from sololakehouse.errors import UsageError

    if json_wanted and format_wanted not in (None, "json"):
        raise UsageError(f"--json and --format {format_wanted} are two formats. Choose one.")
    return "json" if json_wanted else format_wanted


def refuse_place(output: Path, force: bool) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises
    ------
    UsageError
        The file exists and `force` is not set, it is a folder, or its folder does not exist.
    """
    from sololakehouse.errors import UsageError

    if output.is_dir():
        raise UsageError(f"{output} is a folder. Name a file in it.")
    if output.exists() and not force:
        raise UsageError(f"{output} exists. Choose another name, or add --force to replace it.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {output.absolute().parent} for {output.name}.")


@contextmanager
def whole_file(target: Path, force: bool) -> Iterator[Path]:
    """Give a file to write beside the target, which takes its place when all is written.

    Raises
    ------
    OSError
        The file cannot be written, or was made by another program meanwhile and `force` is not
        set; a file that was there is as it was.
    """
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield partial
        if force:
            partial.replace(target)
        else:
            os.link(partial, target)
    finally:
        with suppress(OSError):
            partial.unlink()
