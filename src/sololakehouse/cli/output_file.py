"""Files that commands write for a person: checked before the work, and whole or not there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
