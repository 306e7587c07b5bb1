"""Landing files: find them, identify them by content, open them as a stream of plain bytes."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config.source import Source
from sololakehouse.errors import IngestError

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")
REFUSED = (".zip", ".7z", ".rar", ".tar", ".tgz", ".xz", ".lzma", ".br", ".snappy", ".z", ".lzo")


@dataclass(frozen=True)
class LandingFile:
    """A file of a source: its path relative to the project's folder, and its content's SHA-256."""

    path: str
    sha256: str
    bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Malformed:
    """A record that is no row. `line` is where it begins, from 1; None where there are no lines."""

    line: int | None
    raw: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Some of a file's records.

    Attributes
    ----------
    rows
        The accepted rows, with the columns of the contract (and `_rescued_data`), in order.
    lines
        The line on which each row begins, from 1; None where there are no lines.
    malformed
        The other records, in the order of the file.
    position
        How many bytes of the file, as it lies there, have been read.
    """

    rows: pa.Table
    lines: pa.Array | None
    malformed: tuple[Malformed, ...]
    position: int


class LandingStream:
    """The plain bytes of a landing file; compression goes by the suffix."""

    def __init__(self, path: Path, name: str, encoding: str = "utf-8") -> None:
        import pyarrow as pa

        self._name = name
        self._raw = pa.OSFile(str(path))
        self._plain: Any = self._raw
        if path.suffix in COMPRESSIONS:
            self._plain = pa.CompressedInputStream(self._raw, pa.Codec.detect(str(path)).name)
        self._recode = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()

    @property
    def position(self) -> int:
        """How many bytes of the file, as it lies there, have been read."""
        return int(self._raw.tell())

    def read(self, size: int) -> bytes:
        """Read about `size` bytes as UTF-8; nothing at the end.

        Raises
        ------
        IngestError
            The compressed data or the encoding is broken.
        """
        while True:
            try:
                data: bytes = self._plain.read(size)
            except OSError as error:
                raise broken(self._name, error) from error
            if self._recode is None:
                return data
            recoded = self._recoded(data)
            if recoded or not data:
                return recoded

    def close(self) -> None:
        """Close the file."""
        self._plain.close()
        self._raw.close()

    def _recoded(self, data: bytes) -> bytes:
        assert self._recode is not None
        try:
            return self._recode.decode(data, final=not data).encode()
        except UnicodeError as error:
            raise IngestError(
                f"{self._name} is not in the encoding that its source declares: {error}. Correct "
                "options.encoding in lakehouse.yml. Nothing was ingested."
            ) from error


@contextmanager
def open_landing(path: Path, name: str, encoding: str = "utf-8") -> Iterator[LandingStream]:
    """Open a landing file; errors call it `name`.

    Raises
    ------
    IngestError
        It cannot be opened.
    """
    try:
        stream = LandingStream(path, name, encoding)
    except OSError as error:
        raise broken(name, error) from error
    try:
        yield stream
    finally:
        stream.close()


def broken(name: str, error: Exception) -> IngestError:
    """Return the error of a file that cannot be read, or not to its end."""
    what = " ".join(str(error).split()).rstrip(".")
    return IngestError(
        f"{name} cannot be read: {what}. The file may be cut short or damaged. Deliver it again. "
        "Nothing was ingested."
    )


def find(folder: Path, name: str, source: Source) -> list[Path]:
    """Return the files of a source, sorted by path.

    Raises
    ------
    IngestError
        There is none, or one has a suffix of a compression or an archive that is not supported.
    """
    paths = sorted(path for path in folder.glob(source.path) if path.is_file())
    if not paths:
        raise IngestError(
            f"Source {name!r} has no files: nothing matches {source.path} in {folder}. Put a file "
            "there, or correct 'path' in lakehouse.yml."
        )
    refused = REFUSED if source.format != "parquet" else REFUSED + COMPRESSIONS
    for path in paths:
        if path.suffix.lower() in refused:
            known = "Parquet compresses inside of the file"
            if source.format != "parquet":
                known = f"Supported: {', '.join(COMPRESSIONS)}, or no compression"
            raise IngestError(
                f"{path.relative_to(folder).as_posix()}: files ending in {path.suffix} are not "
                f"supported. {known}. Nothing was ingested."
            )
    return paths


def identify(folder: Path, path: Path) -> LandingFile:
    """Read a file once to know its SHA-256."""
    name = path.relative_to(folder).as_posix()
    try:
        with path.open("rb") as file:
            before = path.stat()
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise broken(name, error) from error
    return LandingFile(name, sha256, before.st_size, before.st_mtime_ns)


def check_unchanged(folder: Path, file: LandingFile) -> None:
    """Refuse a file that was written to since it was identified.

    Raises
    ------
    IngestError
        Its size or its time of modification is another one.
    """
    now = (folder / file.path).stat()
    if (now.st_size, now.st_mtime_ns) != (file.bytes, file.modified_ns):
        raise IngestError(
            f"{file.path} was changed while it was read. Put files under landing/ when they are "
            "complete, for example by renaming them. Nothing was ingested; ingest again."
        )
