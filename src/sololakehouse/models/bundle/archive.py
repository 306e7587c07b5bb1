"""One file of many, each with its SHA-256: what a bundle and its result are packed in."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from sololakehouse.errors import UsageError

MANIFEST_FILE = "manifest.json"
Kind = Literal["bundle", "result"]
_BEGINNING = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16
_BLOCK = 1 << 20
_WANTED: Mapping[Kind, str] = {
    "bundle": "Name the file that 'slh bundle export' wrote.",
    "result": "Name the file that training from a bundle wrote.",
}
_OTHERWISE: Mapping[Kind, str] = {
    "bundle": "It is trained already: bring it back with 'slh bundle import'.",
    "result": "Train from it with notebooks/gpu_training.ipynb, then import its result.",
}


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    Attributes
    ----------
    about
        What its maker said, as JSON values.
    files
        The SHA-256 of each other member, in hex digits.
    """

    kind: Kind
    about: Mapping[str, Any]
    files: Mapping[str, str]

    @property
    def text(self) -> str:
        """The manifest as it stands in the archive."""
        whole = {"kind": self.kind, "about": self.about, "files": self.files}
        return json.dumps(whole, indent=2, sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which stands for all of the archive."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read a manifest.

        Raises
        ------
        ValueError, KeyError, TypeError
            The text is none.
        """
        found = json.loads(text)
        return cls(found["kind"], found["about"], found["files"])


def pack(folder: Path, target: Path, kind: Kind, about: Mapping[str, Any]) -> Manifest:
    """Write all files below a folder into one archive; the same files give the same bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    manifest = Manifest(kind, about, {name: sha256(path) for name, path in named.items()})
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        archive.writestr(_member(MANIFEST_FILE), manifest.text)
        for name, path in named.items():
            member = _member(name)
            member.file_size = path.stat().st_size
            with path.open("rb") as file, archive.open(member, "w") as place:
                shutil.copyfileobj(file, place, _BLOCK)
    return manifest


def unpack(file: Path, folder: Path, kind: Kind) -> Manifest:
    """Write the members of an archive into a folder, and check each.

    Raises
    ------
    UsageError
        The file is no archive of this kind, or a member is missing, altered or not in the
        manifest: says which.
    """
    try:
        with ZipFile(file) as archive:
            manifest = Manifest.parse(archive.read(MANIFEST_FILE).decode())
            if manifest.kind != kind:
                raise UsageError(f"{file} is a {manifest.kind}, not a {kind}. {_OTHERWISE[kind]}")
            _refuse_altered(file, archive, manifest)
            for name in manifest.files:
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as member, place.open("wb") as target:
                    shutil.copyfileobj(member, target)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror or error}. {_WANTED[kind]}"
        ) from error
    except (BadZipFile, ValueError, KeyError, TypeError, RuntimeError, zlib.error) as error:
        raise UsageError(
            f"{file} is no {kind}: it is damaged, or another kind of file. {_WANTED[kind]}"
        ) from error
    return manifest


def _refuse_altered(file: Path, archive: ZipFile, manifest: Manifest) -> None:
    found = {name: _digest(archive, name) for name in archive.namelist() if name != MANIFEST_FILE}
    wrong = [name for name in manifest.files if found.get(name) != manifest.files[name]]
    wrong += [name for name in found if name not in manifest.files]
    wrong += [name for name in found if name.startswith("/") or ".." in Path(name).parts]
    if wrong:
        raise UsageError(
            f"{file} was altered: {wrong[0]} is not what the {manifest.kind}'s manifest says. Take "
            "the file as it was written."
        )


def _digest(archive: ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while block := member.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _member(name: str) -> ZipInfo:
    member = ZipInfo(name, _BEGINNING)
    member.compress_type = ZIP_DEFLATED
    member.external_attr = _READABLE
    return member


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
