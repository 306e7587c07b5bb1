"""The files of a model by their SHA-256: taken at registration, compared when it is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from sololakehouse.errors import RunError

# MLflow puts it beside the files of a registered model when it gives them out.
_ADDED_BY_MLFLOW = "registered_model_meta"


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256, in hex digits, of each file below a folder by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [path for path in files if path != folder / _ADDED_BY_MLFLOW]
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def refuse_changed(folder: Path, registered: Mapping[str, str], model: object) -> None:
    """Refuse files that are not those that were registered.

    Raises
    ------
    RunError
        A file holds other bytes, is missing, or was not there; says which, with both hashes.
    """
    found = file_hashes(folder)
    changed = [
        _said(name, found.get(name), registered.get(name))
        for name in sorted(found.keys() | registered.keys())
        if found.get(name) != registered.get(name)
    ]
    if changed:
        raise RunError(
            f"{model} is refused: {' '.join(changed)} Its files are not those that were "
            "registered. Put them back from a backup, or train again with "
            "'slh train FILE --force'."
        )


def _said(name: str, found: str | None, registered: str | None) -> str:
    if found is None:
        return f"{name} is gone (registered: {registered})."
    if registered is None:
        return f"{name} was not registered (SHA-256 now: {found})."
    return f"{name} has the SHA-256 {found}, and had {registered} when it was registered."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
