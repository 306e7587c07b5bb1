"""`${key}` in SQL text: replaced by the value of a setting, as Apache Spark does."""

from __future__ import annotations

import re
from collections.abc import Callable

_VARIABLE = re.compile(r"\$\{(?:(?P<prefix>\w+?):)?(?P<key>\S+?)\}")
# Other names for a setting; `env` and `system` would read the machine.
_PREFIXES = (None, "spark", "sparkconf", "hivevar", "hiveconf")
_UNKNOWN = "__unknown_variable_{}__"
_MARK = re.compile(_UNKNOWN.format(r"(\d+)"))

Lookup = Callable[[str], str | None]


class VariableError(Exception):
    """A `${variable}` that has no value; whoever catches it knows the place."""

    def __init__(self, name: str, reason: str = "has no value") -> None:
        super().__init__(
            f"the variable ${{{name}}} {reason}. Give it one under 'configuration' in "
            "spark-pipeline.yml. (Apache Spark would read it as empty text.)"
        )
        self.name = name


def substituted(text: str, lookup: Lookup) -> str:
    """Replace each `${key}` by its value, also in values.

    Raises
    ------
    VariableError
        A variable has no value, or its value needs itself.

    Examples
    --------
    >>> substituted("SELECT ${a} AS x, '${hivevar:b}'", {"a": "${b} + 1", "b": "2"}.get)
    "SELECT 2 + 1 AS x, '2'"
    """
    return _replaced(text, lookup, ())


def with_marks(text: str, lookup: Lookup) -> tuple[str, tuple[VariableError, ...]]:
    """Replace variables, and put a mark in place of those without a value.

    Whoever splits the text into tokens finds the marks that are not in comments, see `marked`.
    """
    errors: list[VariableError] = []

    def value(match: re.Match[str]) -> str:
        try:
            return _value(match, lookup, ())
        except VariableError as error:
            errors.append(error)
            return _UNKNOWN.format(len(errors) - 1)

    return _VARIABLE.sub(value, text), tuple(errors)


def marked(text: str) -> int | None:
    """Return the number of the first error whose mark is in a text."""
    found = _MARK.search(text)
    return int(found[1]) if found else None


def _replaced(text: str, lookup: Lookup, within: tuple[str, ...]) -> str:
    return _VARIABLE.sub(lambda match: _value(match, lookup, within), text)


def _value(match: re.Match[str], lookup: Lookup, within: tuple[str, ...]) -> str:
    name = match[0][2:-1]
    if match["prefix"] not in _PREFIXES:
        raise VariableError(name, "would depend on the machine or is of an unknown kind")
    if match["key"] in within:
        raise VariableError(name, "needs its own value")
    value = lookup(match["key"])
    if value is None:
        raise VariableError(name)
    return _replaced(value, lookup, (*within, match["key"]))
