"""The environment of a training against the one here: libraries, Python, processor, threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sololakehouse.errors import shortened
from sololakehouse.rebuild.links import Finding

# Of the code, not of the machine: the link `code` compares them.
_OF_THE_CODE = frozenset({"code_revision", "dirty"})


@dataclass(frozen=True)
class Difference:
    """A fact that is not as it was recorded; `now` is None for a library that is not here."""

    name: str
    recorded: Any
    now: Any

    def __str__(self) -> str:
        here = "missing" if self.now is None else self.now
        return f"{self.name} {self.recorded} is {here} here"


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Compare what was recorded of an environment with what is there, in the order of the record.

    Facts within facts are compared one by one and named with dots. What only one of both knows at
    the top is left out: another release of this package records other facts. Of a library that
    was recorded, it counts that it is missing.

    Examples
    --------
    >>> was = {"python": "3.11.2", "libraries": {"numpy": "2.3.0", "xgboost": "3.1.0"}}
    >>> here = {"python": "3.11.2", "libraries": {"numpy": "2.3.1"}, "device": "cpu"}
    >>> [str(found) for found in differences(was, here)]
    ['libraries.numpy 2.3.0 is 2.3.1 here', 'libraries.xgboost 3.1.0 is missing here']
    """
    common = [name for name in recorded if name in now and name not in _OF_THE_CODE]
    return [found for name in common for found in _compared(name, recorded[name], now[name])]


def environment_finding(recorded: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Finding:
    """Say whether a model was trained in an environment like this one."""
    if not recorded:
        return Finding("environment", "not compared", "The record names no environment.")
    found = differences(recorded, now)
    if not found:
        return Finding("environment", "same", "Libraries, Python and machine are as recorded.")
    listed = shortened([str(one) for one in found], limit=3)
    figures = {one.name: {"recorded": one.recorded, "now": one.now} for one in found}
    return Finding("environment", "differs", f"{listed}.", figures)


def _compared(name: str, recorded: Any, now: Any) -> Iterator[Difference]:
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for key, value in recorded.items():
            yield from _compared(f"{name}.{key}", value, now.get(key))
    elif recorded != now:
        yield Difference(name, recorded, now)
