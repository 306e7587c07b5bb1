"""What an engine says of a column that is not there, with those that are."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sololakehouse.engine import engine_message
from sololakehouse.errors import suggestion

_IDENTIFIER = re.compile(r'missing from the schema|Identifier\("([^"]+)"\)')
_UNRESOLVED = re.compile(r"\[UNRESOLVED_COLUMN\.\w+\].*? with name (\S+) cannot be resolved")


def explained(error: Exception, known: Iterable[str]) -> str:
    """Return an engine's first line, or if it misses a column, which one, and those that are known.

    Examples
    --------
    >>> said = 'attribute ObjectName([Identifier("prise")]) is missing from the schema'
    >>> explained(ValueError(said), ["price", "shop"])
    "no column 'prise'. Did you mean 'price'? Columns: price, shop."
    """
    message = engine_message(error)
    missing = _IDENTIFIER.findall(message) if "missing from the schema" in message else []
    columns = [found for found in missing if found]
    columns += [found.replace("`", "").rpartition(".")[2] for found in _UNRESOLVED.findall(message)]
    if not columns:
        return message
    return f"no column {columns[-1]!r}. {suggestion(columns[-1], set(known), 'column')}"
