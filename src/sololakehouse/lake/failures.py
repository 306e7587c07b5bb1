"""What goes wrong below the tables, in one sentence: disks, permissions, foreign error texts."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sololakehouse.errors import RunError, SoloLakehouseError

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
        written = _CODE.search(str(error))
        code = int(written[1]) if written else None
    if code not in _CAUSES:
        return None
    cause, advice = _CAUSES[code]
    named = getattr(error, "filename", None) or place
    return RunError(f"{named}: {cause}. {advice} Every table is as its last commit left it.")


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
