"""Judging a join: its answers beside those of the oracle, and the smallest case that differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from sololakehouse.conformance.batches import EVENT, FEATURE_TS, KNOWN_AT, ROW, VALUE, Batch
from sololakehouse.conformance.cases import Answer, Case, instant, plain
from sololakehouse.conformance.contestants import Contestant
from sololakehouse.conformance.oracle import Key
from sololakehouse.conformance.traps import Trap
from sololakehouse.engine import engine_message
from sololakehouse.errors import EngineError
from sololakehouse.features.asof import AsOf
from sololakehouse.features.frames import as_polars

Got: TypeAlias = "list[Answer] | str"
R = TypeVar("R")


@dataclass(frozen=True)
class Difference:
    """A case that a join answers otherwise than the oracle.

    Attributes
    ----------
    zone
        Time zone of the labels.
    got
        What the join answered, or what it raised.
    """

    rule: AsOf
    zone: str
    case: Case
    got: Got

    @property
    def expected(self) -> list[Answer]:
        """The oracle's answer."""
        return self.case.expected(self.rule)

    @property
    def options(self) -> dict[str, Any]:
        """What the rule asks for besides keys and timestamps."""
        rule = self.rule
        options = {
            "allow_exact_match": rule.allow_exact_match,
            "lookback": rule.lookback,
            "known_as_of": rule.known_as_of,
            "labels' time zone": self.zone,
        }
        return {name: value for name, value in options.items() if value is not None}

    @property
    def features(self) -> list[dict[str, Any]]:
        """The feature rows by column; moments are in UTC."""
        times = {FEATURE_TS: self.rule.feature_timestamp, KNOWN_AT: self.rule.known_at}
        return [
            {
                ROW: number,
                **self._key(row.key),
                **{name: instant(getattr(row, name)) for name, used in times.items() if used},
                VALUE: row.value,
            }
            for number, row in enumerate(self.case.features)
        ]

    def rows(self, answers: list[Answer]) -> list[dict[str, Any]]:
        """Return labels with their answers, by column."""
        return [
            {**self._key(one.key), **self._event(one.event), ROW: one.row, VALUE: one.value}
            for one in answers
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            **plain(self.options),
            "features": [plain(row) for row in self.features],
            "expected": [plain(row) for row in self.rows(self.expected)],
            "got": self.got
            if isinstance(self.got, str)
            else [plain(row) for row in self.rows(self.got)],
        }

    def _key(self, key: Key) -> dict[str, Any]:
        return dict(zip(self.rule.keys[1:], key, strict=True))

    def _event(self, event: int | None) -> dict[str, Any]:
        if self.rule.timestamp is None:
            return {}
        return {EVENT: None if event is None else instant(event)}


def differences(contestant: Contestant, batch: Batch, trap: Trap) -> Iterator[Difference]:
    """Give the cases of a batch in which a join steps into the trap."""
    for case, got in zip(batch.cases, _answered(contestant, batch), strict=True):
        if _differs(case.expected(batch.rule), got, trap):
            yield Difference(batch.rule, batch.zone, case, got)


def _answered(contestant: Contestant, batch: Batch) -> Iterator[Got]:
    """Give the answer of each case; where the join fails on some, each of these alone."""
    try:
        found = contestant.join(batch.labels(), batch.features(), batch.rule)
        answers = batch.answers(as_polars(found, "the answer"))
    except EngineError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever a join raises is its answer)
        if len(batch.cases) == 1:
            yield f"{type(error).__name__}: {engine_message(error)}"
            return
    else:
        yield from answers
        return
    half = len(batch.cases) // 2
    yield from _answered(contestant, batch.of(batch.cases[:half]))
    yield from _answered(contestant, batch.of(batch.cases[half:]))


def _differs(expected: list[Answer], got: Got, trap: Trap) -> bool:
    if isinstance(got, str):
        return True
    lost, wrong = Counter(expected) - Counter(got), Counter(got) - Counter(expected)
    if wrong or any(trap.every_label or one.row is not None for one in lost):
        return True
    return trap.in_order and got != [one for one in expected if one in got]


def shrunk(contestant: Contestant, found: Difference, trap: Trap) -> Difference:
    """Leave out labels and feature rows for as long as there is a difference.

    A case that differs only among others is left as it is.
    """
    while smaller := tuple(_smaller(found.case)):
        batch = Batch(found.rule, found.zone, smaller)
        by_itself = (
            again
            for one in differences(contestant, batch, trap)
            for again in differences(contestant, batch.of([one.case]), trap)
        )
        first = next(by_itself, None)
        if first is None:
            break
        found = first
    return found


def _smaller(case: Case) -> Iterator[Case]:
    for labels in _without_some(case.labels):
        yield replace(case, labels=labels)
    for features in _without_some(case.features):
        yield replace(case, features=features)


def _without_some(rows: tuple[R, ...]) -> Iterator[tuple[R, ...]]:
    """Leave out all rows, then each half, each quarter, and so on down to each row."""
    size = len(rows)
    while size:
        for first in range(0, len(rows), size):
            yield rows[:first] + rows[first + size :]
        size //= 2
