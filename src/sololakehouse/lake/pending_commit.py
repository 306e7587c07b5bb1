"""A commit whose rows are checked and staged, and that only has to be made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from deltalake import Transaction

from sololakehouse.errors import RunError
from sololakehouse.lake.replace import Replacement
from sololakehouse.lake.staged_rows import StagedRows
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import Change, Manifest, content_manifest

APPEND_SECONDS = 60


@dataclass(frozen=True)
class PendingCommit:
    """What becomes one version of a table.

    Attributes
    ----------
    transaction
        Delta's identifier of what the commit does; None if it has none.
    replaced
        How rows of the table are taken out in the same commit; None if all stay.
    """

    table: str
    change: Change
    mode: Literal["append", "overwrite"]
    transaction: Transaction | None
    rows: StagedRows
    replaced: Replacement | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it adds."""
        return self.rows.files + (self.replaced.kept if self.replaced else ())

    @property
    def seconds_to_try(self) -> float:
        """How long it is tried again, if others commit meanwhile; what was read binds it to one."""
        is_bound = self.replaced or self.rows.features
        return APPEND_SECONDS if self.mode == "append" and not is_bound else 0

    @property
    def described_change(self) -> Change:
        """The change, with the statistics of a feature table where they were computed."""
        features = self.rows.features
        if features is None or features.statistics is None:
            return self.change
        details = {**self.change.details, **features.statistics.details}
        return replace(self.change, details=details)

    def manifest_after(self, before: Snapshot | None, version: int) -> Manifest:
        """Return the manifest of the whole table.

        Parameters
        ----------
        before
            The version that rows are appended to; None if they take the place of all others.
        version
            The version that the commit follows.

        Raises
        ------
        CommitFailedError
            The commit was made for another version.
        """
        manifest = self.rows.manifest
        if before is not None:
            if self.rows.features:
                self.rows.features.refuse_other_version(before)
            manifest = _manifest_of(before, manifest) + manifest
        if self.replaced is not None:
            self.replaced.check_version(version)
            manifest -= self.replaced.removed
        return manifest


def _manifest_of(before: Snapshot, written: Manifest) -> Manifest:
    if before.rows == 0:
        nothing = dict.fromkeys(written.columns, 0)
        return Manifest(rows=0, row_sum=0, columns=nothing, algorithm=written.algorithm)
    known = before.record.manifest if before.record else None
    if known is None or not known.is_current:
        known = content_manifest(before.scan(), written.left_out)
    if not known.can_add(written):
        raise RunError(
            f"{before.name} has the columns {', '.join(known.columns)}; rows with the columns "
            f"{', '.join(written.columns)} cannot be appended to it."
        )
    return known
