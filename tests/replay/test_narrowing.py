"""Narrowing suspects down, against all subsets of small sets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from sololakehouse.replay.narrowing import Budget, narrowed

CAUSES = st.lists(st.frozensets(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=3)


class Judge:
    """Tells whether some suspects hold one of the sets that change the outcome; counts tests."""

    def __init__(self, causes: Sequence[frozenset[int]], most: int | None = None) -> None:
        self.causes = causes
        self.budget = Budget(10_000 if most is None else most)

    def holds(self, some: Sequence[int]) -> bool:
        return any(cause <= set(some) for cause in self.causes)

    def __call__(self, some: Sequence[int]) -> bool | None:
        return self.holds(some) if self.budget.take() else None


@given(causes=CAUSES)
def test_none_of_those_found_can_be_left_out_and_they_come_first(
    causes: list[frozenset[int]],
) -> None:
    judge = Judge(causes)
    found = narrowed(range(10), judge)
    assert found.is_smallest
    assert judge.holds(found.suspects)
    fewer = combinations(found.suspects, len(found.suspects) - 1)
    assert not any(judge.holds(some) for some in fewer)
    first = min(max(cause) for cause in causes)
    assert max(found.suspects) == first
    assert list(found.suspects) == sorted(found.suspects)
    assert judge.budget.made <= len(found.suspects) * (2 + ceil(log2(10)))


@given(causes=CAUSES, most=st.integers(0, 8))
def test_a_needed_one_is_among_those_left_when_the_tests_are_used_up(
    causes: list[frozenset[int]], most: int
) -> None:
    judge = Judge(causes, most)
    found = narrowed(range(10), judge)
    assert judge.budget.made <= most
    if found.is_smallest:
        assert judge.holds(found.suspects)
    else:
        before = [one for one in range(10) if one < max(found.suspects)]
        assert judge.holds([*before, *found.suspects])
        assert not judge.holds([one for one in range(10) if one < min(found.suspects)])


@given(table=st.lists(st.booleans(), min_size=32, max_size=32))
def test_whatever_the_outcomes_are_those_found_were_seen_to_change_it(table: list[bool]) -> None:
    """More suspects may undo what fewer change: a lookup table of all 32 subsets."""
    table[31], table[0] = True, False

    def changes(some: Sequence[int]) -> bool:
        return table[sum(1 << one for one in some)]

    assert changes(narrowed(range(5), changes).suspects)


def test_no_test_is_made_of_what_is_known() -> None:
    judge = Judge([frozenset({0})])
    assert narrowed(range(10), judge).suspects == (0,)
    assert judge.budget.made == 1
    judge = Judge([frozenset({9})])
    assert narrowed([9], judge).suspects == (9,)
    assert judge.budget.made == 0
