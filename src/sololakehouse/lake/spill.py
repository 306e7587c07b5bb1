"""Frames that wait for a later pass: in memory while they are few, in files from then on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

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
        self._files: dict[str, list[Path]] = defaultdict(list)
        self._bytes = 0.0
        self._lock = Lock()

    def add(self, parts: Iterable[tuple[str, pl.DataFrame]]) -> None:
        """Add frames to what is under their names; any thread may."""
        with self._lock:
            for name, frame in parts:
                self._held[name].append(frame)
                self._bytes += frame.estimated_size()
            if self._folder is not None and self._bytes > self._most_bytes:
                self._write(self._folder)

    def take(self, name: str) -> pl.DataFrame | None:
        """Return what was added under a name, in no order, and forget it; None if nothing was."""
        import polars as pl

        held, files = self._held.pop(name, []), self._files.pop(name, [])
        self._bytes -= sum(frame.estimated_size() for frame in held)
        frames = [*(pl.read_ipc(file) for file in files), *held]
        for file in files:
            file.unlink()
        return pl.concat(frames) if frames else None

    def _write(self, folder: Path) -> None:
        import polars as pl

        for name, frames in self._held.items():
            files = self._files[name]
            files.append(folder / f"{name}-{len(files)}.arrow")
            pl.concat(frames).write_ipc(files[-1])
        self._held.clear()
        self._bytes = 0.0


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
