"""All checks of a lesson over one scratch project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sololakehouse.errors import SoloLakehouseError
from sololakehouse.lake import Lakehouse
from sololakehouse.lessons.lesson import Check, Finding, Lesson, Seen
from sololakehouse.lessons.scratch import lesson_of, remember
from sololakehouse.lessons.work import Work


@dataclass(frozen=True)
class Checked:
    """What was found in a scratch project.

    Attributes
    ----------
    findings
        One for each check of the lesson, in their order.
    seen
        What the lesson ends in; None while something is missing.
    """

    lesson: Lesson
    findings: Sequence[Finding]
    seen: Seen | None

    @property
    def passed(self) -> bool:
        """Whether nothing is missing."""
        return all(finding.passed for finding in self.findings)

    @property
    def missing(self) -> Check | None:
        """The first check that did not pass; None if all did."""
        for check, finding in zip(self.lesson.checks, self.findings, strict=True):
            if not finding.passed:
                return check
        return None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "lesson": self.lesson.number,
            "passed": self.passed,
            "checks": [
                {
                    "check": check.title,
                    "passed": finding.passed,
                    "looked_at": finding.looked_at,
                    "found": finding.found,
                    "next_step": finding.next_step,
                }
                for check, finding in zip(self.lesson.checks, self.findings, strict=True)
            ],
            "seen": list(self.seen.rows) if self.seen else None,
        }


def check_lesson(lake: Lakehouse) -> Checked:
    """Look at a scratch project, and keep how far it is for the list of lessons.

    Raises
    ------
    UsageError
        The project is not one of a lesson.
    """
    folder: Path = lake.project.folder
    lesson = lesson_of(folder)
    work = Work(lake, lesson)
    findings = [_looked(check, work) for check in lesson.checks]
    remember(folder, lesson, findings)
    passed = all(finding.passed for finding in findings)
    return Checked(lesson, findings, _seen(lesson, work) if passed else None)


def _seen(lesson: Lesson, work: Work) -> Seen:
    """Give what the lesson ends in, or say that tables of other columns do not show it."""
    from polars.exceptions import PolarsError

    try:
        return lesson.seen(work)
    except PolarsError as error:
        said = str(error).splitlines()[0]
        return Seen(f"What the lesson ends in needs the columns of its start: {said}.", [], [])


def _looked(check: Check, work: Work) -> Finding:
    """Look; what cannot be read is what is missing, and no reason to stop."""
    from polars.exceptions import PolarsError

    try:
        return check.of(work)
    except PolarsError as error:
        said = str(error).splitlines()[0]
        return Finding(
            "the columns of the tables",
            f"They are not those that the task asks for: {said}.",
            "Hold the columns and their types against LESSON.md: slh describe TABLE.",
        )
    except SoloLakehouseError as error:
        return Finding("the lake", str(error), "Put it right first: slh doctor may help.")
