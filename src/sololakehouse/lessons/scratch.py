"""The scratch project of a lesson: written when it starts, and what it remembers of the lesson."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sololakehouse.errors import UsageError
from sololakehouse.lessons.catalog import LESSONS
from sololakehouse.lessons.lesson import Finding, Lesson
from sololakehouse.lessons.project import project_files

_STATE = Path(".slh") / "lesson.json"
_HERE = "this folder"


@dataclass(frozen=True)
class Progress:
    """How far a scratch project was when it was checked last; `of` is 0 if it never was."""

    lesson: Lesson
    folder: Path
    passed: int
    of: int

    @property
    def is_done(self) -> bool:
        """Whether every check had passed."""
        return 0 < self.of == self.passed


def start(lesson: Lesson, folder: Path) -> None:
    """Write a lesson's project into a folder that is new or empty.

    Raises
    ------
    UsageError
        There is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        named = _HERE if folder == Path() else str(folder)
        raise UsageError(
            f"{named} is not empty, and a lesson begins with an empty folder. Name another one: "
            f"slh lesson start {lesson.number} FOLDER."
        )
    for name, text in project_files(lesson).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    _write_state(folder, lesson, passed=0, of=0)


def lesson_of(folder: Path) -> Lesson:
    """Return the lesson whose scratch project a folder is.

    Raises
    ------
    UsageError
        It is none.
    """
    progress = progress_in(folder)
    if progress is None:
        raise UsageError(
            f"{folder} is not the project of a lesson. Go to the folder of one, or begin one: "
            f"slh lesson start {LESSONS[0].number}."
        )
    return progress.lesson


def progress_in(folder: Path) -> Progress | None:
    """Read how far a scratch project is; None if the folder is none."""
    try:
        state = json.loads((folder / _STATE).read_text("utf-8"))
        lesson = next(one for one in LESSONS if one.number == state["lesson"])
        return Progress(lesson, folder, int(state["passed"]), int(state["of"]))
    except (OSError, ValueError, TypeError, KeyError, StopIteration):
        return None


def remember(folder: Path, lesson: Lesson, findings: Iterable[Finding]) -> None:
    """Keep how many checks passed, for the list of lessons."""
    passed = [finding.passed for finding in findings]
    _write_state(folder, lesson, passed=sum(passed), of=len(passed))


def _write_state(folder: Path, lesson: Lesson, *, passed: int, of: int) -> None:
    file = folder / _STATE
    file.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    state = {"lesson": lesson.number, "passed": passed, "of": of, "at": now}
    file.write_text(json.dumps(state) + "\n", "utf-8")
