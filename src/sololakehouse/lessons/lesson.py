"""What a lesson is: a scratch project, a task, and checks of the lake that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sololakehouse.lessons.work import Work


@dataclass(frozen=True)
class Finding:
    """What a check looked at, what it found there, and what to do if that is not enough.

    Attributes
    ----------
    next_step
        None if the check passed.
    """

    looked_at: str
    found: str
    next_step: str | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing is left to do."""
        return self.next_step is None


class NotYetError(Exception):
    """A check met something that is not there or not right; the finding says what."""

    def __init__(self, looked_at: str, found: str, next_step: str) -> None:
        super().__init__(found)
        self.finding = Finding(looked_at, found, next_step)


@dataclass(frozen=True)
class Check:
    """One thing that the lake must show.

    Attributes
    ----------
    title
        What must be so, as a short sentence.
    look
        Gives the finding, or raises `NotYetError`.
    hint
        More help than the next step, for `slh lesson hint`.
    """

    title: str
    look: Callable[[Work], Finding]
    hint: str

    def of(self, work: Work) -> Finding:
        """Look at a lake."""
        try:
            return self.look(work)
        except NotYetError as problem:
            return problem.finding


@dataclass(frozen=True)
class Seen:
    """What a lesson ends in: a small table, with a sentence that reads it."""

    sentence: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]


Files = dict[str, str]


def _as_it_is(files: Files) -> Files:
    return files


@dataclass(frozen=True)
class Lesson:
    """A lesson of the course.

    Attributes
    ----------
    slug
        Names the folder, and with the number the page in the documentation.
    layers
        Folders of `projects/` that are put on top of each other.
    landed, later
        Months whose files lie in `landing/flights/` and in `later/`, as `2013-09`.
    changed
        What is done to the files of the project, for example damage that the task is about.
    seen
        What is shown when every check has passed.
    """

    number: int
    slug: str
    title: str
    ends_in: str
    layers: tuple[str, ...]
    landed: tuple[str, ...]
    checks: tuple[Check, ...]
    seen: Callable[[Work], Seen]
    later: tuple[str, ...] = ()
    changed: Callable[[Files], Files] = _as_it_is

    @property
    def folder(self) -> str:
        """The folder in which it is started unless another one is said."""
        return f"lesson_{self.number}_{self.slug}"
