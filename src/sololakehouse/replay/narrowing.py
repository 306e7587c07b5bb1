"""Delta debugging: the fewest of some suspects that change an outcome, by bisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Narrowed(Generic[T]):
    """What is left of some suspects.

    Attributes
    ----------
    suspects
        If `is_smallest`: together they change the outcome, and none of them can be left out.
        Otherwise some of them may be innocent.
    """

    suspects: tuple[T, ...]
    is_smallest: bool


class Budget:
    """How many recomputations may be made; threads may take them side by side.

    Attributes
    ----------
    most, made
        How many are allowed, and how many were taken.
    """

    def __init__(self, most: int, tell: Callable[[str], None] | None = None) -> None:
        self.most = most
        self.made = 0
        self._tell = tell
        self._taking = Lock()

    def take(self) -> bool:
        """Take one; False if none is left."""
        with self._taking:
            if self.made >= self.most:
                return False
            self.made += 1
            said = f"causes: recomputation {self.made} of at most {self.most}"
        if self._tell:
            self._tell(said)
        return True


def narrowed(suspects: Sequence[T], changes: Callable[[Sequence[T]], bool | None]) -> Narrowed[T]:
    """Find the fewest suspects that change an outcome, those in front first.

    The shortest beginning that changes it is found by bisection, after its first member was tried
    alone. Its last member is needed. What else is needed is looked for before it in the same way,
    until those that are needed change the outcome by themselves. k needed ones of n suspects take
    at most k (2 + log2 n) tests, rounded up.

    If more suspects never undo what fewer of them change, none of those found can be left out. In
    any case they were seen to change it together.

    Parameters
    ----------
    suspects
        They change the outcome together.
    changes
        Whether some of them change it; None if no test is left.

    Examples
    --------
    >>> narrowed(range(100), lambda some: {17, 60} <= set(some)).suspects
    (17, 60)
    """
    needed: list[T] = []
    rest = list(suspects)
    while rest:
        low, high = 0, len(rest)
        while high - low > 1:
            middle = (low + high) // 2 if low else 1
            found = changes([*rest[:middle], *needed])
            if found is None:
                return Narrowed((*rest[low:high], *needed), is_smallest=False)
            low, high = (low, middle) if found else (middle, high)
        needed.insert(0, rest[high - 1])
        rest = rest[: high - 1]
        found = not rest or changes(needed)
        if found is None:
            return Narrowed((*rest, *needed), is_smallest=False)
        if found:
            break
    return Narrowed(tuple(needed), is_smallest=True)
