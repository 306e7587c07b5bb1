"""What was appended to a table since one of its versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sololakehouse.errors import RewrittenError, RunError
from sololakehouse.lake.damage import LOG, located, log_actions
from sololakehouse.lake.table import Snapshot


def appended_files(table: Snapshot, since: int | None) -> list[Path]:
    """Return the data files that hold the rows appended after a version.

    Commits that only arranged files do not count.

    Parameters
    ----------
    since
        Version whose rows were read already; None if no row was.

    Raises
    ------
    RunError
        The files do not say all: the table has partitions, deletion vectors or renamed columns.
    RewrittenError
        Rows were changed or removed meanwhile, or the log or a file is not there any more.
    """
    if not table.is_plain:
        raise RunError(
            f"{table.name} has partitions or Delta features of other writers, and cannot be read "
            "as a stream. Read the table itself, in a materialized view."
        )
    if since is None:
        return table.data_files
    if since > table.version:
        raise RewrittenError(f"{table} is older than version {since}, which was read before")
    files = []
    for version in range(since + 1, table.version + 1):
        for kind, action in _data_actions(table, version):
            if kind == "remove":
                raise RewrittenError(f"{table.name}@v{version} changed or removed rows")
            files.append(located(table.path, action["path"]))
    gone = next((file for file in files if not file.exists()), None)
    if gone is not None:
        raise RewrittenError(f"{gone} was removed after its rows were moved to another file")
    return files


def _data_actions(table: Snapshot, version: int) -> Iterator[tuple[str, dict[str, Any]]]:
    entry = table.path / LOG / f"{version:020}.json"
    try:
        actions = log_actions(entry)
    except FileNotFoundError as error:
        raise RewrittenError(f"the log entry of {table.name}@v{version} was cleaned up") from error
    for entries in actions:
        for kind, action in entries.items():
            if kind in ("add", "remove") and action.get("dataChange", True):
                yield kind, action
