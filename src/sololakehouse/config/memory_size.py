"""A size of memory in bytes, written `500MB` or `2GB`: a MB is 10**6 bytes, a GB 10**9."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_SIZE = re.compile(r"^(?P<number>\d+)\s*(?P<unit>MB|GB)$")
_BYTES = {"MB": 10**6, "GB": 10**9}
LEAST_MEMORY = 400 * 10**6


def _memory(size: Any) -> int:
    found = _SIZE.match(size.strip()) if isinstance(size, str) else None
    if found is None:
        raise ValueError(f"{size!r} is no size. Write a number and a unit, such as 500MB or 2GB")
    count = int(found["number"]) * _BYTES[found["unit"]]
    if count < LEAST_MEMORY:
        raise ValueError(f"{size} is too little: Python and its libraries need 400MB")
    return count


MemorySize = Annotated[int, BeforeValidator(_memory)]


def written_size(count: int) -> str:
    """Write a number of bytes as a setting takes it, rounded up to a whole unit.

    Examples
    --------
    >>> written_size(1_400_000_001), written_size(32_000_000_000)
    ('1401MB', '32GB')
    """
    unit = "GB" if count >= 10 * _BYTES["GB"] else "MB"
    return f"{-(-count // _BYTES[unit])}{unit}"
