"""Take rows out of a table in the commit that adds others: files are rewritten without them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake.exceptions import CommitFailedError
from deltalake.transaction import RemoveAction

from sololakehouse.errors import RunError
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import Manifest, content_manifest

if TYPE_CHECKING:
    import polars as pl

_UNSUPPORTED = ("deletionVectors", "columnMapping")


@dataclass(frozen=True)
class Replacement:
    """How rows are taken out of a version.

    Attributes
    ----------
    removals
        The files that hold such rows.
    kept
        New files with the other rows of these files.
    removed
        What the rows held.
    """

    version: int
    removals: tuple[RemoveAction, ...]
    kept: tuple[Path, ...]
    removed: Manifest

    def check_version(self, version: int) -> None:
        """Refuse to commit on top of another version."""
        if version != self.version:
            raise CommitFailedError(f"version {self.version} was replaced by {version}")


def without_rows(
    snapshot: Snapshot,
    removes: pl.Expr,
    left_out: Iterable[str],
    staged: Path,
) -> Replacement:
    """Rewrite the files of a version that hold rows which a predicate names.

    Parameters
    ----------
    snapshot
        The version that the commit is based on.
    removes
        True for a row that goes; NULL and false keep it.
    left_out
        Columns that are not in the manifest.
    staged
        Folder for the rewritten files.

    Raises
    ------
    RunError
        The table has a feature with which a file's rows are not just the rows of its Parquet file.
    """
    import polars as pl

    _check_features(snapshot)
    gone = removes.fill_null(False)
    now = int(time.time() * 1000)
    removals: list[RemoveAction] = []
    files: list[Path] = []
    frames = [pl.scan_parquet(snapshot.path / path) for path in snapshot.file_sizes]
    counts = pl.collect_all([frame.filter(gone).select(pl.len()) for frame in frames])
    for index, (path, size) in enumerate(snapshot.file_sizes.items()):
        frame, going = frames[index], counts[index].item()
        if not going:
            continue
        removals.append(
            RemoveAction(
                path=path,
                data_change=True,
                deletion_timestamp=now,
                size=size,
                partition_values={},
            )
        )
        if going < frame.select(pl.len()).collect().item():
            kept = staged / f"kept-{index:05d}.parquet"
            frame.filter(~gone).sink_parquet(kept, compression="zstd")
            files.append(kept)
    rows = snapshot.scan() if removals else pl.DataFrame(schema=snapshot.schema)
    removed = content_manifest(rows.filter(gone), left_out)
    return Replacement(snapshot.version, tuple(removals), tuple(files), removed)


def _check_features(snapshot: Snapshot) -> None:
    found = [feature for feature in _UNSUPPORTED if feature in snapshot.reader_features]
    if snapshot.partition_columns:
        found.append("partition columns")
    if found:
        raise RunError(
            f"Rows of {snapshot.name} cannot be replaced, because the table has {found[0]}. "
            "Deliver the new content under a new name, or set 'on_change: append'."
        )
