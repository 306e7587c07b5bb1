"""Frames that wait for a later pass: in memory while they are few, in files from then on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa

    Array = np.ndarray[Any, Any]


class Spill:
    """Frames of one schema under each name, to be taken once.

    Parameters
    ----------
    folder
        Where files go; None: everything stays in memory.
    most_bytes
        How much stays in memory.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = 0) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._held: dict[str, list[pl.DataFrame]] = defaultdict(list)
        self._files: dict[str, list[_SpillFile]] = defaultdict(list)
        self._bytes = 0.0
        self._lock = Lock()

    def add(self, parts: Iterable[tuple[str, pl.DataFrame]]) -> None:
        """Add frames to what is under their names; any thread may."""
        with self._lock:
            for name, frame in parts:
                if frame.height:
                    self._held[name].append(frame)
                    self._bytes += frame.estimated_size()
            if self._folder is not None and self._bytes > self._most_bytes:
                self._write(self._folder)

    def take(self, name: str) -> pl.DataFrame | None:
        """Return what was added under a name, in no order, and forget it; None if nothing was.

        Any thread may.
        """
        import polars as pl
        import pyarrow as pa

        with self._lock:
            held, files = self._held.pop(name, []), self._files.pop(name, [])
            self._bytes -= sum(frame.estimated_size() for frame in held)
        if files:
            waited = pa.Table.from_batches([file.take(name) for file in files])
            held = [pl.DataFrame(waited, schema=files[0].schema), *held]
        return pl.concat(held) if held else None

    def _write(self, folder: Path) -> None:
        alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for name, frames in self._held.items():
            alike[tuple(frames[0].schema.items())].append(name)
        for names in alike.values():
            file = _SpillFile(folder, {name: self._held[name] for name in names})
            for name in names:
                self._files[name].append(file)
        self._held.clear()
        self._bytes = 0.0


class _SpillFile:
    """One Arrow file with the frames of several names, of one schema; it goes with the last one.

    A file for each name would be thousands of small ones, which take longer to make, to open and
    to remove than what is in them.
    """

    def __init__(self, folder: Path, held: Mapping[str, Sequence[pl.DataFrame]]) -> None:
        import polars as pl
        import pyarrow as pa

        self._lock = Lock()
        self._places = {name: place for place, name in enumerate(held)}
        self.schema = next(iter(held.values()))[0].schema
        first = _arrow(pl.DataFrame(schema=self.schema))
        with NamedTemporaryFile(dir=folder, suffix=".arrow", delete=False) as file:
            self._path = Path(file.name)
            with pa.ipc.new_file(file, first.schema) as writer:
                for frames in held.values():
                    [batch] = _arrow(pl.concat(frames, rechunk=True)).to_batches()
                    writer.write_batch(batch)
        self._source = pa.OSFile(str(self._path))
        self._reader = pa.ipc.open_file(self._source)

    def take(self, name: str) -> pa.RecordBatch:
        """Return the rows under a name, once."""
        with self._lock:
            batch = self._reader.get_batch(self._places.pop(name))
            if not self._places:
                self._source.close()
                self._path.unlink()
        return batch


def _arrow(rows: pl.DataFrame) -> pa.Table:
    import polars as pl

    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def by_range(ranges: Array) -> tuple[Array, list[tuple[int, slice]]]:
    """Return the order that puts the rows of each range together, and where each range is then.

    Examples
    --------
    >>> import numpy as np
    >>> order, places = by_range(np.array([2, 0, 2]))
    >>> order.tolist(), places
    ([1, 0, 2], [(0, slice(0, 1, None)), (2, slice(1, 3, None))])
    """
    import numpy as np

    if not len(ranges):
        return np.arange(0), []
    # NumPy sorts integers of 16 bits in linear time.
    order = np.argsort(ranges.astype(np.min_scalar_type(ranges.max())), kind="stable")
    numbers = ranges[order]
    begins = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return order, [(int(numbers[low]), slice(low, high)) for low, high in pairwise(begins)]
