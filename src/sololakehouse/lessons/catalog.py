"""The lessons in their order."""

from __future__ import annotations

from sololakehouse.errors import NotFoundError
from sololakehouse.lessons.baseline import BASELINE
from sololakehouse.lessons.drift import DRIFT
from sololakehouse.lessons.features import FEATURES
from sololakehouse.lessons.leak import LEAK
from sololakehouse.lessons.lesson import Lesson
from sololakehouse.lessons.medallion import MEDALLION
from sololakehouse.lessons.rollback import ROLLBACK
from sololakehouse.lessons.time_travel import TIME_TRAVEL
from sololakehouse.lessons.trace import TRACE

LESSONS: tuple[Lesson, ...] = (
    TIME_TRAVEL,
    MEDALLION,
    FEATURES,
    LEAK,
    BASELINE,
    ROLLBACK,
    DRIFT,
    TRACE,
)


def find_lesson(wanted: str) -> Lesson:
    """Return a lesson by its number or its name.

    Raises
    ------
    NotFoundError
        There is none: says which there are.

    Examples
    --------
    >>> find_lesson("4").slug, find_lesson("leak").number
    ('leak', 4)
    """
    for lesson in LESSONS:
        if wanted in (str(lesson.number), lesson.slug):
            return lesson
    numbers = [f"{lesson.number} ({lesson.slug})" for lesson in LESSONS]
    raise NotFoundError.of("lesson", wanted, numbers)
