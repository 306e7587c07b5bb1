"""Sinks: places outside of the lakehouse that get the new rows of streams, and how far each got."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.lake import Lakehouse
from sololakehouse.provenance import fingerprint

if TYPE_CHECKING:
    import polars as pl

SINKS = "system.sinks"
PENDING = "_sinks"
# For each format its options, by the name that the engine knows.
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "console": ("numRows", "truncate"),
    "csv": ("path", "header", "sep", "delimiter", "quote", "nullValue", "compression"),
    "delta": ("path",),
    "json": ("path", "compression"),
    "parquet": ("path", "compression"),
}
_COMPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "csv": ("none", "gzip"),
    "json": ("none", "gzip"),
    "parquet": ("none", "gzip", "snappy", "zstd"),
}
_REASONS: Mapping[str, str] = {
    "tablename": (
        "a table of the lakehouse is filled by a streaming table: declare it with "
        "dp.create_streaming_table, and let the flow append to it"
    ),
    "checkpointlocation": f"how far a sink got is kept in the table {SINKS}",
    "mode": "a sink always appends",
    "outputmode": "a sink always appends",
}


@dataclass(frozen=True)
class Sink:
    """Where rows go. `path` is None for the console; `options` are those of the engine's writer."""

    format: str
    path: Path | None
    options: Mapping[str, str]

    @classmethod
    def of(
        cls, name: str, written: str, options: Mapping[str, str], folder: Path, warehouse: Path
    ) -> Sink:
        """Read the parameters of `dp.create_sink`.

        Parameters
        ----------
        written
            The format, in any case.
        folder
            What a relative path is relative to.

        Raises
        ------
        UsageError
            The format or an option is not known, or the path is missing or in the warehouse.
        """
        kind = written.lower()
        if "." in name:
            raise UsageError(f"the sink {name!r} is no table, so its name has one part.")
        if kind not in _OPTIONS:
            raise NotFoundError.of("sink format", written, _OPTIONS)
        given = {_option(kind, key): str(value) for key, value in options.items()}
        _check_values(kind, given)
        path = given.pop("path", None)
        if kind == "console":
            return cls(kind, None, given)
        if path is None:
            raise UsageError(f"the sink {name!r} has no path. Add options={{'path': ...}}.")
        return cls(kind, _outside(path, folder, warehouse), given)

    @property
    def suffix(self) -> str:
        """How the names of files for this sink end."""
        if self.format not in ("csv", "json"):
            return ".parquet"
        return f".{self.format}{'.gz' if self.options.get('compression') == 'gzip' else ''}"


@dataclass(frozen=True)
class SinkProgress:
    """How far a sink got.

    Attributes
    ----------
    batch
        Number of the last batch that was delivered; -1 if none was.
    offsets
        For each stream of the sink, the source and its version that was read.
    identity
        Tells the sink's files and commits from those of any other sink.
    pending
        A batch that is complete, and perhaps not delivered: rows are in this folder then.
    """

    batch: int
    offsets: Mapping[str, Mapping[str, Any]]
    identity: str
    pending: Path

    @classmethod
    def of(cls, lake: Lakehouse, name: str) -> SinkProgress:
        """Read how far a sink got from `system.sinks`."""
        import polars as pl

        pending = lake.project.warehouse / PENDING / fingerprint(name)[:12]
        known = lake.newest(SINKS)
        last: list[dict[str, Any]] = []
        if known is not None:
            ours = known.scan().filter(pl.col("sink") == name)
            last = ours.sort("batch").tail(1).collect().to_dicts()
        if not last:
            return cls(-1, {}, uuid.uuid4().hex[:12], pending)
        streams = json.loads(last[0]["streams"])
        return cls(last[0]["batch"], streams, last[0]["identity"], pending)

    @property
    def is_interrupted(self) -> bool:
        """Whether a delivery was begun that has to be finished first."""
        return self.pending.is_dir()


@dataclass(frozen=True)
class Batch:
    """What one delivery brings: a row of `system.sinks`."""

    sink: str
    identity: str
    batch: int
    format: str
    path: str | None
    rows: int
    streams: Mapping[str, Mapping[str, Any]]
    run_id: str
    delivered_at: datetime | None = field(default=None)

    def frame(self) -> pl.DataFrame:
        """Return the batch as one row."""
        import polars as pl

        schema = {
            **dict.fromkeys(("sink", "identity"), pl.String()),
            "batch": pl.Int64(),
            **dict.fromkeys(("format", "path"), pl.String()),
            "rows": pl.Int64(),
            **dict.fromkeys(("streams", "run_id"), pl.String()),
            "delivered_at": pl.Datetime("us", "UTC"),
        }
        row = {**vars(self), "streams": json.dumps(self.streams, sort_keys=True)}
        return pl.DataFrame([row], schema=schema)


def _option(kind: str, key: str) -> str:
    known = {option.lower(): option for option in _OPTIONS[kind]}
    if key.lower() in known:
        return known[key.lower()]
    if key.lower() in _REASONS:
        raise UsageError(f"the option {key!r} is not supported: {_REASONS[key.lower()]}.")
    raise NotFoundError.of("option", key, _OPTIONS[kind], where=f"{kind} sink")


def _check_values(kind: str, options: Mapping[str, str]) -> None:
    compression = options.get("compression")
    if compression is not None and compression not in _COMPRESSIONS[kind]:
        raise NotFoundError.of("compression", compression, _COMPRESSIONS[kind], f"{kind} sink")
    if options.get("header", "true").lower() not in ("true", "false"):
        raise UsageError(f"the option 'header' is 'true' or 'false', not {options['header']!r}.")
    if not options.get("numRows", "20").isdigit():
        raise UsageError(f"the option 'numRows' is a number, not {options['numRows']!r}.")
    truncate = options.get("truncate", "true").lower()
    if truncate not in ("true", "false") and not truncate.isdigit():
        raise UsageError(f"the option 'truncate' is true, false or a number, not {truncate!r}.")


def _outside(path: str, folder: Path, warehouse: Path) -> Path:
    uri = urlparse(path)
    if uri.scheme not in ("", "file"):
        raise UsageError(f"the path {path!r} is not on this machine. Write a folder's path.")
    place = (folder / (unquote(uri.path) if uri.scheme else path)).resolve()
    if place.is_relative_to(warehouse.resolve()):
        raise UsageError(f"the path {path!r} is in the warehouse: {_REASONS['tablename']}.")
    return place
