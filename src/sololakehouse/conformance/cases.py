"""Cases: a few labels and feature rows, and what the oracle says of them.

Moments are in microseconds since 1970 UTC. In a plain lookup, without time, all of them are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sololakehouse.conformance.oracle import Key, chosen
from sololakehouse.features.asof import AsOf

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Label(NamedTuple):
    """A label with its key and moment, each of which may be unknown."""

    key: Key
    event: int | None


class Feature(NamedTuple):
    """A feature row; `known_at` means something only if the rule uses it."""

    key: Key
    feature_ts: int
    known_at: int
    value: float | None


class Answer(NamedTuple):
    """A label with what was found for it: the number of the feature row, and its value."""

    key: Key
    event: int | None
    row: int | None
    value: float | None


@dataclass(frozen=True)
class Case:
    """Labels and feature rows that belong together."""

    labels: tuple[Label, ...]
    features: tuple[Feature, ...]

    def expected(self, rule: AsOf) -> list[Answer]:
        """Return the answer of each label, in the order of the labels."""
        rows = [(one.key, one.feature_ts, one.known_at) for one in self.features]
        found = [
            chosen(label.key, label.event, rows, **oracle_options(rule)) for label in self.labels
        ]
        return [
            Answer(*label, row, None if row is None else self.features[row].value)
            for label, row in zip(self.labels, found, strict=True)
        ]


def oracle_options(rule: AsOf) -> dict[str, Any]:
    """Return what a rule asks of the oracle."""
    return {
        "uses_known_at": rule.known_at is not None,
        "known_as_of": microseconds(rule.known_as_of) if rule.known_as_of else None,
        "lookback": None if rule.lookback is None else rule.lookback // MICROSECOND,
        "allow_exact_match": not rule.strict,
    }


def instant(microseconds: int) -> datetime:
    """Return a moment in UTC."""
    return EPOCH + microseconds * MICROSECOND


def microseconds(moment: datetime) -> int:
    """Return a moment with a time zone as a number."""
    return (moment - EPOCH) // MICROSECOND


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for JSON: moments, to the microsecond, and durations as texts."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta) else value
