"""What change data means, in a few lines: all events of all runs at once, sorted."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, pairwise
from typing import NamedTuple


class Event(NamedTuple):
    """A change of one key; `a` and `b` do not matter for a delete."""

    key: int
    sequence: int
    deleted: bool
    a: int | None
    b: int | None


def newest(events: Iterable[Event]) -> set[tuple]:
    last = {event.key: event for event in sorted(events, key=lambda e: e[:2])}
    return {(e.key, e.a, e.b) for e in last.values() if not e.deleted}


def history(events: Iterable[Event], tracked: str) -> set[tuple]:
    rows = set()
    for key, group in groupby(sorted(set(events), key=lambda e: e[:2]), key=lambda e: e.key):
        state: list[list] = []
        for event in group:
            content = None if event.deleted else [getattr(event, name) for name in tracked]
            if not state or state[-1][1] != content or event.deleted:
                state.append([event.sequence, content, event])
            state[-1][2] = event
        for (start, content, event), (end, *_) in pairwise([*state, (None, None, None)]):
            if content is not None:
                rows.add((key, event.a, event.b, start, end))
    return rows
