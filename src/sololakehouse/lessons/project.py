"""The files with which a lesson begins: layers of package data, and the flights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sololakehouse.lessons.flights import month_files
from sololakehouse.lessons.lesson import Lesson

_PROJECTS = Path(__file__).parent / "projects"
_APPEND = ".append"


@cache
def project_files(lesson: Lesson) -> dict[str, str]:
    """Return the files of a lesson's project as `start` writes them, by path.

    A layer's file takes the place of one of the same name below it; `name.append` is added to it.
    """
    files: dict[str, str] = {}
    for layer in (*lesson.layers, f"{lesson.number}_{lesson.slug}"):
        for path, text in _layer(_PROJECTS / layer).items():
            name = path.removesuffix(_APPEND)
            files[name] = files[name] + text if path.endswith(_APPEND) else text
    files[".gitignore"] = files.pop("gitignore")
    files |= month_files("landing/flights", lesson.landed) | month_files("later", lesson.later)
    named = {
        path: text.replace("{{name}}", lesson.folder) if path.endswith(".yml") else text
        for path, text in files.items()
    }
    return lesson.changed(named)


def _layer(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
