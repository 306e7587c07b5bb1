"""What goes wrong below the tables, in one sentence: disks, permissions, foreign error texts."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sololakehouse.errors import RunError, SoloLakehouseError

_ERRORS = 2
_FREE_SPACE = "Free some space and run again."
_ALLOW = "Make it writable for this user and run again."
_CAUSES = {
    errno.ENOSPC: ("the disk is full", _FREE_SPACE),
    errno.EDQUOT: ("the disk quota is used up", _FREE_SPACE),
    errno.EROFS: ("the file system is read-only", _ALLOW),
    errno.EACCES: ("permission is denied", _ALLOW),
    errno.EPERM: ("permission is denied", _ALLOW),
    errno.EIO: ("the disk reports an error", "Check the disk before you run again."),
}
# SQLite, in which MLflow keeps its runs, gives no number.
_TEXTS = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
}
# Polars, and Arrow, which raises errors of the system without a number for what it cannot decode.
_READERS = ("polars.exceptions", "pyarrow.lib")
_DAMAGE = ("parquet", "thrift", "decompression", "corrupt")
_CODE = re.compile(r"\(os error (\d+)\)")
_NOISE = re.compile(r"\x1b\[[0-9;]*m|↳")
_BACKTRACE = re.compile(r"^\s*(\d+: |at \.?/|stack backtrace)")


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn what the operating system refuses into one sentence.

    Parameters
    ----------
    place
        What is named if the error itself names no file.

    Raises
    ------
    RunError
        The disk is full, read-only, not permitted or broken.
    """
    try:
        yield
    except SoloLakehouseError:
        raise
    except Exception as error:
        said = disk_error(error, place)
        if said is None:
            raise
        raise said from error


def disk_error(error: BaseException, place: Path) -> RunError | None:
    """Say which refusal of the operating system an error tells of; None if it tells of none.

    Libraries in other languages keep only the number, as in `(os error 28)`.

    Examples
    --------
    >>> print(disk_error(OSError(28, "No space left on device", "/data/x"), Path("/data")))
    /data/x: the disk is full. Free some space and run again. Every table is as its last commit \
left it.
    >>> disk_error(ValueError("no number"), Path("/data")) is None
    True
    """
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        code = _code_in(str(error))
    if code not in _CAUSES:
        return None
    cause, advice = _CAUSES[code]
    named = getattr(error, "filename", None) or place
    return RunError(f"{named}: {cause}. {advice} Every table is as its last commit left it.")


def _code_in(text: str) -> int | None:
    written = _CODE.search(text)
    if written:
        return int(written[1])
    return next((code for words, code in _TEXTS.items() if words in text), None)


@contextmanager
def quiet_panics() -> Iterator[None]:
    """Let threads of a library in Rust say nothing while they panic: its error is raised as well.

    Nothing that the process writes to the stream of errors is seen meanwhile.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(_ERRORS), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _ERRORS)
        yield
    finally:
        os.dup2(kept, _ERRORS)
        os.close(kept)
        os.close(nowhere)


def unreadable_rows(error: BaseException) -> RunError | None:
    """Say that a data file holds what is no row; None if the error tells of something else.

    Examples
    --------
    >>> import pyarrow as pa
    >>> print(unreadable_rows(pa.ArrowInvalid("Parquet magic bytes not found in footer.")))
    Rows of a table cannot be read: Parquet magic bytes not found in footer. A data file of it is \
damaged: put it back from a backup, or read an older version.
    >>> unreadable_rows(ValueError("a parquet floor")) is None
    True
    """
    of_reader = type(error).__module__ in _READERS or (
        isinstance(error, OSError) and error.errno is None
    )
    if not (of_reader and any(word in str(error).lower() for word in _DAMAGE)):
        return None
    return RunError(
        f"Rows of a table cannot be read: {one_line(error)}. A data file of it is damaged: put "
        "it back from a backup, or read an older version."
    )


def one_line(error: BaseException) -> str:
    """Return an error's message without colours, line breaks and backtrace.

    Examples
    --------
    >>> one_line(ValueError("Json error: cut\\n   0: <unknown>\\n   1: <unknown>"))
    'Json error: cut'
    """
    lines = []
    for line in _NOISE.sub("", str(error)).splitlines():
        if _BACKTRACE.match(line):
            break
        lines.append(line.strip())
    return " ".join(line for line in lines if line).rstrip(".") or type(error).__name__
