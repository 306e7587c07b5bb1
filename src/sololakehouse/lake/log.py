"""A table's Delta log as files: the versions that it can give, and the data files of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from sololakehouse.errors import RunError
from sololakehouse.lake.damage import LOG, damaged_entry, log_actions, log_damage
from sololakehouse.lake.failures import one_line

_NAME = re.compile(r"^(\d{20})\.(?:(\d{20})\.)?(json|crc|compacted\.json|checkpoint\..*)$")


@dataclass(frozen=True)
class LogFile:
    """One file of the log folder.

    Attributes
    ----------
    version
        The version that it stands for; the last one, if it compacts several.
    kind
        `json` for a commit, `checkpoint`, or what else a writer puts beside them.
    """

    path: Path
    version: int
    kind: str


@dataclass(frozen=True)
class LogEntry:
    """One commit; `timestamp` is in UTC, paths of data files are relative to the table."""

    version: int
    timestamp: datetime
    added: tuple[str, ...]
    removed: tuple[str, ...]
    info: dict[str, Any]


@dataclass(frozen=True)
class TableLog:
    """The part of a table's log that can be read, up to the newest version.

    Attributes
    ----------
    first
        The oldest version that the log can give: 0, or that of a checkpoint.
    entries
        All commits whose entry is there, oldest first; some may be older than `first`.
    files
        Everything in the log folder that belongs to a version.
    base
        The data files of the version `first`, if it comes from a checkpoint.
    """

    folder: Path
    first: int
    entries: tuple[LogEntry, ...]
    files: tuple[LogFile, ...]
    base: frozenset[str]

    @property
    def newest(self) -> int:
        """The newest version."""
        return max(entry.version for entry in self.files)

    @property
    def versions(self) -> range:
        """The versions that the log can give, whether or not their data files are there."""
        return range(self.first, self.newest + 1)

    @property
    def checkpoints(self) -> set[int]:
        """The versions that have a checkpoint."""
        return {file.version for file in self.files if file.kind == "checkpoint"}

    @cached_property
    def replaced_at(self) -> dict[int, datetime]:
        """When each version but the newest was replaced by the next one, in UTC."""
        return {entry.version - 1: entry.timestamp for entry in self.entries}

    @cached_property
    def _lives(self) -> dict[str, list[tuple[int, int]]]:
        """For each data file the versions that it is part of, as first and last."""
        began = dict.fromkeys(self.base, self.first)
        lives: dict[str, list[tuple[int, int]]] = {}
        for entry in self.entries:
            if entry.version <= self.first and self.first:
                continue
            for path in entry.removed:
                if path in began:
                    lives.setdefault(path, []).append((began.pop(path), entry.version - 1))
            for path in entry.added:
                began.setdefault(path, entry.version)
        for path, since in began.items():
            lives.setdefault(path, []).append((since, self.newest))
        return lives

    @property
    def known_files(self) -> set[str]:
        """The data files of all versions that the log can give."""
        return set(self._lives)

    def files_of(self, versions: Collection[int]) -> set[str]:
        """Return the data files of some versions, relative to the table's folder."""
        wanted = sorted(versions)
        return {
            path
            for path, lives in self._lives.items()
            if any(_any_between(wanted, first, last) for first, last in lives)
        }

    def readable(self) -> list[int]:
        """Return the versions whose log and data files are all there, oldest first."""
        gone = [lives for path, lives in self._lives.items() if not (self.folder / path).is_file()]
        lost = {
            version for lives in gone for first, last in lives for version in range(first, last + 1)
        }
        return [version for version in self.versions if version not in lost]


def read_log(folder: Path, table: str) -> TableLog:
    """Read the whole log of the table in `folder`.

    Raises
    ------
    RunError
        An entry or checkpoint is damaged, or one is missing: names the file.
    """
    files = log_files(folder)
    damage = log_damage(folder, table)
    if damage is not None:
        raise damage
    entries = tuple(_entry(file, table) for file in files if file.kind == "json")
    if not files:
        raise RunError(f"{table} has no Delta log in {folder / LOG}.")
    first = _first(files, table)
    base = _base(folder, first, table) if first else frozenset()
    return TableLog(folder, first, entries, files, base)


def log_files(folder: Path) -> tuple[LogFile, ...]:
    """Return the files of the log that belong to a version, oldest first."""
    log = folder / LOG
    found = ((_NAME.match(path.name), path) for path in log.iterdir()) if log.is_dir() else ()
    files = [
        LogFile(path, int(match[2] or match[1]), match[3].partition(".")[0])
        for match, path in found
        if match
    ]
    return tuple(sorted(files, key=lambda file: (file.version, file.path.name)))


def _first(files: Iterable[LogFile], table: str) -> int:
    entries = {file.version: file.path for file in files if file.kind == "json"}
    checkpoints = {file.version for file in files if file.kind == "checkpoint"}
    newest = max([*entries, *checkpoints])
    oldest = newest + 1
    while oldest - 1 in entries:
        oldest -= 1
    if oldest == 0:
        return 0
    usable = [version for version in checkpoints if version >= oldest - 1]
    if not usable:
        gone = next(iter(entries.values())).with_name(f"{oldest - 1:020}.json")
        raise damaged_entry(table, oldest - 1, gone, "is missing")
    return min(usable)


def _base(folder: Path, version: int, table: str) -> frozenset[str]:
    try:
        uris = DeltaTable(folder, version=version).file_uris()
    except (DeltaError, OSError) as error:
        raise RunError(f"{table}@v{version} cannot be read: {one_line(error)}.") from error
    inside = (Path(uri) for uri in uris)
    return frozenset(
        path.relative_to(folder).as_posix() for path in inside if path.is_relative_to(folder)
    )


def _entry(file: LogFile, table: str) -> LogEntry:
    info: dict[str, Any] = {}
    added, removed = [], []
    try:
        for action in log_actions(file.path):
            info = action.get("commitInfo", info)
            if "add" in action:
                added.append(action["add"]["path"])
            if "remove" in action:
                removed.append(action["remove"]["path"])
        moment = info.get("inCommitTimestamp", info.get("timestamp"))
        milliseconds = file.path.stat().st_mtime * 1000 if moment is None else moment
        timestamp = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged_entry(table, file.version, file.path, "is cut short or no JSON") from error
    return LogEntry(file.version, timestamp, _inside(added), _inside(removed), info)


def _inside(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(unquote(path) for path in paths if not urlparse(path).scheme)


def _any_between(wanted: list[int], first: int, last: int) -> bool:
    from bisect import bisect_left

    index = bisect_left(wanted, first)
    return index < len(wanted) and wanted[index] <= last
