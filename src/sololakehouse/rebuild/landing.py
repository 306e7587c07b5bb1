"""The landing files that a model goes back to, and whether they are still what was taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.pipelines.ingested import TakenFile, ingested_files
from sololakehouse.pipelines.landing import identify
from sololakehouse.rebuild.links import Finding

_DIGITS = 12
_SHOWN = 3


def taken_files(lake: Lakehouse, tables: Iterable[Snapshot]) -> dict[str, list[TakenFile]]:
    """Return the files that versions of bronze tables took, each path with its contents in order.

    Of a path whose rows were replaced by a newer content, that alone is needed.
    """
    taken: dict[str, list[TakenFile]] = {}
    for table in tables:
        for path, contents in ingested_files(lake, table).items():
            newest = contents[-1]
            replaced = newest.about.get("action") == "replace"
            taken[path] = [newest] if replaced else list(contents)
    return taken


def landing_finding(project: Path, taken: Mapping[str, Sequence[TakenFile]]) -> Finding:
    """Say whether each file is there with the content that was taken."""
    wrong = [
        said
        for path, contents in sorted(taken.items())
        if (said := _wrong(project, path, contents))
    ]
    if not wrong:
        said = f"{len(taken)} files have the SHA-256 with which they were taken."
        return Finding("landing file", "same", said)
    more = f" {len(wrong) - _SHOWN} more files differ." if len(wrong) > _SHOWN else ""
    figures = {"files": len(taken), "differing": wrong}
    return Finding("landing file", "differs", " ".join(wrong[:_SHOWN]) + more, figures)


def _wrong(project: Path, path: str, contents: Sequence[TakenFile]) -> str:
    file = project / path
    if not file.is_file():
        return f"{path} is gone."
    if len({one.sha256 for one in contents}) > 1:
        return (
            f"{path} was taken with {len(contents)} contents, of which only the last can be here."
        )
    recorded, now = contents[-1].sha256, identify(project, file).sha256
    if now == recorded:
        return ""
    return f"{path} has SHA-256 {now[:_DIGITS]}, and was taken with {recorded[:_DIGITS]}."


def lay_out(project: Path, paths: Iterable[str], patterns: Iterable[str], target: Path) -> None:
    """Link files of a project into another folder, which then has no other files of the sources.

    Parameters
    ----------
    patterns
        The paths of the sources, as in `lakehouse.yml`.
    """
    for pattern in patterns:
        for file in list(target.glob(pattern)):
            if file.is_file():
                file.unlink()
    for path in paths:
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((project / path).resolve())


def linked_copy(project: Path, without: Iterable[str], target: Path) -> None:
    """Make a tree of folders with links to a project's files.

    Left out are hidden folders, compiled files, and what `without` names, relative to the project.
    """
    skipped = {(project / name).resolve() for name in without}
    target.mkdir(parents=True)
    waiting = [(project, target)]
    while waiting:
        source, place = waiting.pop()
        for entry in sorted(source.iterdir()):
            hidden = entry.name.startswith(".") or entry.name == "__pycache__"
            if hidden or entry.resolve() in skipped:
                continue
            if entry.is_dir():
                (place / entry.name).mkdir()
                waiting.append((entry, place / entry.name))
            else:
                (place / entry.name).symlink_to(entry.resolve())
