"""What an engine says, in the words of a person's project."""

from __future__ import annotations

import re

# Databases of one session on a server that others use, too: `slh_1a2b3c4d_silver`.
SPACE = re.compile(r"slh_[0-9a-f]{8}_")
_PINNED = re.compile(r"__pinned`?\.`?(\w+?)__(\w+?)(__v\d+)?\b")
# The embedded engine lists all that might have stood there instead.
_UNREADABLE = re.compile(r"invalid argument: found (.+?)(?: at \d+:\d+)? expected .*")
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
    lines = str(error).strip().splitlines()
    said = SPACE.sub("", lines[0]) if lines else type(error).__name__
    said = _UNREADABLE.sub(r"the SQL cannot be read: \1 is not expected there", said)
    return _PINNED.sub(r"\1`.`\2", said)


def is_lost(error: BaseException) -> bool:
    """Whether a server could not be reached, or its session is gone."""
    status = getattr(error, "getGrpcStatusCode", lambda: None)()
    return getattr(status, "name", None) == _LOST or _LOST_SESSION.search(str(error)) is not None


_LOST_SESSION = re.compile(r"INVALID_HANDLE\.SESSION_(NOT_FOUND|CLOSED|CHANGED)")
