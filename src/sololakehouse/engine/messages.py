"""What an engine says, in the words of a person's project."""

from __future__ import annotations

import re
from pathlib import Path

# Databases of one session on a server that others use, too: `slh_1a2b3c4d_silver`.
SPACE = re.compile(r"slh_[0-9a-f]{8}_")
_PINNED = re.compile(r"__pinned`?\.`?(\w+?)__(\w+?)(__v\d+)?\b")
# The embedded engine lists all that might have stood there instead.
_UNREADABLE = re.compile(r"invalid argument: found (.+?)(?: at \d+:\d+)? expected .*")
_FRAME = re.compile(r'  File "(/.+)", line (\d+), in ')
_LOST = "UNAVAILABLE"


def engine_message(error: BaseException) -> str:
    """Return the first line of an error's message, which engines follow by a stack trace.

    Examples
    --------
    >>> engine_message(ValueError("no table `slh_1a2b3c4d_silver`.`flights`\\n at line 7"))
    'no table `silver`.`flights`'
    """
    if is_lost(error):
        return "the Spark Connect server does not answer any more"
    lines = (_of_python(str(error)) or str(error)).strip().splitlines()
    said = SPACE.sub("", lines[0]) if lines else type(error).__name__
    said = _UNREADABLE.sub(r"the SQL cannot be read: \1 is not expected there", said)
    if type(error).__name__ == "UnsupportedOperationException" and ":" not in said:
        said = f"the engine does not support this: {said}"
    return _PINNED.sub(r"\1`.`\2", said)


def _of_python(text: str) -> str | None:
    """Return what a Python function in a query raised, and where; None for another error."""
    before, traceback, after = text.rpartition("Traceback (most recent call last):")
    if not traceback or "from the Python worker" not in before:
        return None
    frames = [found for line in after.splitlines() if (found := _FRAME.match(line))]
    own = [found for found in frames if "/site-packages/" not in found[1]]
    raised = next((line for line in after.splitlines() if line[:1].strip()), "")
    place = f" at {_near(own[-1][1])}:{own[-1][2]}" if own else ""
    return f"a Python function failed{place}: {raised}"


def _near(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def is_lost(error: BaseException) -> bool:
    """Whether a server could not be reached, or its session is gone."""
    status = getattr(error, "getGrpcStatusCode", lambda: None)()
    return getattr(status, "name", None) == _LOST or _LOST_SESSION.search(str(error)) is not None


_LOST_SESSION = re.compile(r"INVALID_HANDLE\.SESSION_(NOT_FOUND|CLOSED|CHANGED)")
