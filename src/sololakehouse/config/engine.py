"""The engine that a project names: embedded, or the address of a server."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

EMBEDDED = "embedded"
_SERVER = re.compile(
    r"^sc://(\[[0-9A-Fa-f:]+\]|[^\s:/;@]+)(:(?P<port>\d+))?(/(;[^;=/]+=[^;/]*)*;?)?$"
)


def checked_engine(engine: str) -> str:
    """Return an engine as it is written, if it is one.

    Raises
    ------
    ValueError
        It is neither `embedded` nor the address of a server.
    """
    found = _SERVER.match(engine)
    if engine != EMBEDDED and (found is None or int(found["port"] or 15002) > 65535):
        raise ValueError(
            f"{without_secrets(engine)!r} is no engine. Write 'embedded', or the address of a "
            "Spark Connect server: sc://host:15002"
        )
    return engine


Engine = Annotated[str, AfterValidator(checked_engine)]


def without_secrets(engine: str) -> str:
    """Return an engine's address without its parameters, of which one may be a token.

    Examples
    --------
    >>> without_secrets("sc://lake.example.com:443/;use_ssl=true;token=abc")
    'sc://lake.example.com:443'
    """
    scheme, separator, rest = engine.partition("://")
    return scheme + separator + re.split(r"[/;]", rest, maxsplit=1)[0]
