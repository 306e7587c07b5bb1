"""Damage to a table's files: which file it is, and what can be done."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sololakehouse.errors import RunError
from sololakehouse.provenance import CommitRecord

LOG = "_delta_log"
_ENTRY = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint(\..+)?\.parquet$")
_BACKUP = "Put the file back from a backup."


def log_versions(table_folder: Path) -> list[int]:
    """Return the versions whose log entry is there, ascending; none if this is no table."""
    return sorted(_versions(table_folder, _ENTRY))


def log_actions(entry: Path) -> list[dict[str, Any]]:
    """Return the actions of a log entry, one on each line.

    Only a line feed ends a line: the statistics of text columns may hold other characters that
    Python takes for line ends.

    Raises
    ------
    ValueError
        The entry is cut short or no JSON.
    """
    lines = entry.read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def is_table(table_folder: Path) -> bool:
    """Whether the folder has at least one commit; what a crash left before it does not count."""
    return any(True for _ in _versions(table_folder, _ENTRY, _CHECKPOINT))


def newest_version(table_folder: Path) -> int:
    """Return the newest version that the log names, whether or not it can be read."""
    return max(_versions(table_folder, _ENTRY, _CHECKPOINT))


def log_state(table_folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return what changes with every change of the log's files: names, sizes, times, places."""
    with os.scandir(table_folder / LOG) as files:
        states = ((file.name, file.stat()) for file in files)
        return tuple(sorted((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in states))


def refuse_empty_entries(table_folder: Path, table: str, version: int) -> None:
    """Refuse a log with an entry of no bytes, which Delta readers take for a commit of nothing.

    Entries that a checkpoint covers are not looked at: the version does not depend on them.

    Raises
    ------
    RunError
        Names the entry.
    """
    covered = max((c for c in _matching(table_folder, _CHECKPOINT) if c <= version), default=-1)
    for found, file in _entries(table_folder):
        if covered < found <= version and not file.stat().st_size:
            raise damaged_entry(table, found, file, "is empty")


def damaged_entry(table: str, version: int, file: Path, how: str) -> RunError:
    """Say that a log entry is damaged, and which versions are not touched by it."""
    intact = f" Versions before {version} can still be read." if version > 0 else ""
    return RunError(f"{table}: the log entry {file} {how}. {_BACKUP}{intact}")


def log_damage(table_folder: Path, table: str, version: int | None = None) -> RunError | None:
    """Find the damaged file in the log of a table that cannot be opened; None if there is none."""
    checkpoints = _matching(table_folder, _CHECKPOINT)
    for found, file in checkpoints.items():
        if (version is None or found <= version) and not _is_parquet(file):
            return _damaged_checkpoint(table, file, found, log_versions(table_folder))
    expected: int | None = None
    for found, file in _entries(table_folder):
        if version is not None and found > version:
            break
        if expected is not None and found != expected:
            gone = file.with_name(f"{expected:020}.json")
            return damaged_entry(table, expected, gone, "is missing")
        if not _is_entry(file):
            return damaged_entry(table, found, file, "is cut short or no JSON")
        expected = found + 1
    return _first_entry_missing(table_folder, table, set(checkpoints))


def refuse_damaged_files(files: Any, table_folder: Path, name: str) -> None:
    """Refuse a version one of whose data files is missing, or not as long as when it was written.

    Parameters
    ----------
    files
        The version's files, as `DeltaTable.get_add_actions()` gives them.
    name
        What errors call the version.

    Raises
    ------
    RunError
        Names the first damaged file and how many there are.
    """
    sizes = zip(files["path"].to_pylist(), files["size_bytes"].to_pylist(), strict=True)
    damaged = [
        (file, how)
        for path, size in sizes
        if (how := _file_damage(file := located(table_folder, path), size))
    ]
    if damaged:
        file, how = damaged[0]
        others = f" {len(damaged) - 1} more files are damaged." if len(damaged) > 1 else ""
        raise RunError(
            f"{name}: the data file {file} {how}.{others} {_BACKUP} Versions "
            "that do not use it can still be read ('slh history' lists them)."
        )


def refuse_lost_lines(
    files: Any, table_folder: Path, name: str, record: CommitRecord | None
) -> None:
    """Refuse a version whose log names files of fewer or more rows than its commit wrote.

    An entry that was cut between two lines is still one for every Delta reader. The parameters are
    those of `refuse_damaged_files`.

    Raises
    ------
    RunError
        Names the log.
    """
    rows = files["num_records"].to_pylist()
    if record is None or None in rows:
        return
    if sum(rows) != record.manifest.rows:
        raise RunError(
            f"{name}: the log in {table_folder / LOG} names files of "
            f"{sum(rows):,} rows, the commit wrote {record.manifest.rows:,}: an entry has lost "
            f"lines. {_BACKUP}"
        )


def _first_entry_missing(table_folder: Path, table: str, checkpoints: set[int]) -> RunError | None:
    versions = log_versions(table_folder)
    if versions and versions[0] > 0 and not any(found >= versions[0] - 1 for found in checkpoints):
        gone = table_folder / LOG / f"{versions[0] - 1:020}.json"
        return damaged_entry(table, versions[0] - 1, gone, "is missing")
    hint = table_folder / LOG / "_last_checkpoint"
    if versions[:1] == [0] and hint.is_file() and not checkpoints:
        return RunError(
            f"{table}: {hint} names a checkpoint that is missing. Every log entry is there: "
            f"delete {hint.name}, and the table can be read again."
        )
    return None


def _damaged_checkpoint(table: str, file: Path, version: int, entries: list[int]) -> RunError:
    if entries[: version + 1] == list(range(version + 1)):
        advice = (
            "Every log entry is there: delete the checkpoint and _last_checkpoint beside it, and "
            "the table can be read again."
        )
    else:
        advice = f"{_BACKUP} Log entries from before it were removed, so it is needed."
    return RunError(f"{table}: the checkpoint {file} is cut short or no Parquet. {advice}")


def _file_damage(file: Path, size: int) -> str | None:
    try:
        found = file.stat().st_size
    except OSError:
        return "is missing"
    return f"has {found:,} of {size:,} bytes" if found != size else None


def located(table_folder: Path, path: str) -> Path:
    """Return the file that a path in the log means: relative to the table, percent-encoded."""
    parsed = urlparse(path)
    return Path(unquote(parsed.path)) if parsed.scheme else table_folder / unquote(path)


def _entries(table_folder: Path) -> Iterator[tuple[int, Path]]:
    yield from sorted(_matching(table_folder, _ENTRY).items())


def _versions(table_folder: Path, *names: re.Pattern[str]) -> Iterator[int]:
    log = table_folder / LOG
    for file in os.listdir(log) if log.is_dir() else ():  # noqa: PTH208
        for name in names:
            if match := name.match(file):
                yield int(match[1])


def _matching(table_folder: Path, name: re.Pattern[str]) -> dict[int, Path]:
    log = table_folder / LOG
    if not log.is_dir():
        return {}
    found = ((name.match(file), file) for file in os.listdir(log))  # noqa: PTH208
    return {int(match[1]): log / file for match, file in found if match}


def _is_entry(file: Path) -> bool:
    try:
        actions = log_actions(file)
        return bool(actions) and all(isinstance(action, dict) for action in actions)
    except (OSError, ValueError):
        return False


def _is_parquet(file: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_metadata(file)
    except (OSError, pa.ArrowException):
        return False
    return True
