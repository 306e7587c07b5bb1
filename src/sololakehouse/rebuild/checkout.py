"""The definitions of a project as they were at a code revision, in a folder of their own."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from sololakehouse.config.project import CONFIG_FILE

_DIRTY = "+dirty"
_SHORT = 12


@dataclass(frozen=True)
class Checkout:
    """The folder with a project's definitions.

    Attributes
    ----------
    revision
        The Git commit that they are of; None if the folder is the project's own, as it is now.
    dirty
        Whether the project had changes at that revision which no commit keeps.
    why_not
        Why it is not the recorded revision; empty if it is.
    """

    folder: Path
    revision: str | None
    dirty: bool = False
    why_not: str = ""

    @property
    def said(self) -> str:
        """Which definitions these are, in a sentence."""
        if self.revision is None:
            return f"{self.why_not} The project's folder is taken as it is now."
        changes = ", without the changes that no commit keeps" if self.dirty else ""
        return f"The definitions of revision {self.revision[:_SHORT]}{changes}."


def checkout(project: Path, recorded: str | None, target: Path) -> Checkout:
    """Write a project's files, as they were at a recorded revision, into a folder.

    The repository is only read: no branch, index or working tree changes.

    Parameters
    ----------
    recorded
        A Git commit as commit records keep it, `+dirty` if the project had changes; None: the
        project was in no repository.
    target
        A folder that does not exist yet.
    """
    if recorded is None:
        return Checkout(project, None, why_not="The model was trained outside of a Git repository.")
    revision, dirty = recorded.removesuffix(_DIRTY), recorded.endswith(_DIRTY)
    archived = _archived(project, revision)
    if archived is None:
        why_not = f"Revision {revision[:_SHORT]} is not in the repository of {project}."
        return Checkout(project, None, dirty, why_not)
    target.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        archive.extractall(target, filter="data")
    if not (target / CONFIG_FILE).is_file():
        why_not = f"Revision {revision[:_SHORT]} holds no {CONFIG_FILE}."
        return Checkout(project, None, dirty, why_not)
    return Checkout(target, revision, dirty)


def _archived(project: Path, revision: str) -> bytes | None:
    command = ["git", "-C", str(project), "archive", "--format=tar", revision]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
