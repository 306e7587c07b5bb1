"""Rows that wait for a later pass: in memory while they are few, in files from then on."""

from __future__ import annotations

from collections import defaultdict
from errno import EIO
from io import SEEK_END
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import finalize

from sololakehouse.lake.arrow_frames import ArrowFrames
from sololakehouse.lake.records import Records

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

_Held: TypeAlias = "list[tuple[Any, dict[int, slice]]]"
_RANGES_OF_A_FILE = 4
_FILES = 32


class Spill:
    """Rows under each name, of one schema until all are taken, each in a range that is taken once.

    Parameters
    ----------
    folder
        Where files go; None: everything stays in memory. The files have no names: nothing of them
        is left, however the process ends.
    most_bytes
        How much stays in memory: half of it may be on its way to the file while more is added.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = 0) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._waiting: dict[str, _Waiting] = {}
        self._lock = Lock()
        self._writing = Lock()

    def add(
        self,
        name: str,
        rows: pl.DataFrame,
        ranges: Array,
        *,
        at: Array | None = None,
        places: Array | None = None,
    ) -> None:
        """Add rows to what is under a name; any thread may.

        Parameters
        ----------
        ranges
            The number of the range of each row that is added.
        at
            Positions of the rows to add; None: all.
        places
            Where in its range each of them is to be; None: there is no order.

        Raises
        ------
        OSError
            The disk is full, or fails.
        """
        order, parts = by_range(ranges)
        if not parts:
            return
        form = _form(rows.schema, with_places=places is not None)
        packed = form.pack(rows, at, places, order if len(parts) > 1 else None)
        with self._lock:
            waiting = self._waiting.setdefault(name, _Waiting(form))
            waiting.hold(packed, dict(parts))
            full = self._held_bytes() > self._most_bytes // 2
            if self._folder is None or not full:
                return
            self._writing.acquire()
            released = [(one, one.release()) for one in self._waiting.values()]
        try:
            for one, held in released:
                one.write(held, self._folder)
        finally:
            self._writing.release()

    def _held_bytes(self) -> int:
        return sum(one.bytes for one in self._waiting.values())

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of the ranges that wait under a name, in their order."""
        with self._lock, self._writing:
            return self._waiting[name].numbers() if name in self._waiting else []

    def take(self, name: str, number: int) -> pl.DataFrame | None:
        """Return the rows of a range and forget them; None if there are none.

        Those that were added first are first. Any thread may.
        """
        form, parts = self._take(name, number)
        return form.together(parts) if form else None

    def take_in_place(self, name: str, number: int, count: int) -> pl.DataFrame | None:
        """Return the rows of a range at their places, and NULL in the others of `count`."""
        form, parts = self._take(name, number)
        return form.in_place(parts, count) if form else None

    def _take(self, name: str, number: int) -> tuple[Any, list[Any]]:
        with self._lock, self._writing:
            waiting = self._waiting.get(name)
            parts = waiting.take(number) if waiting else []
            if waiting and waiting.is_empty:
                del self._waiting[name]
            return (waiting.form, parts) if waiting and parts else (None, [])


class _Waiting:
    """What waits under one name.

    Attributes
    ----------
    bytes
        How much of it is in memory.
    """

    def __init__(self, form: Records | ArrowFrames) -> None:
        self.form: Any = form
        self.bytes = 0
        self._held: _Held = []
        self._files: dict[int, _RangesFile] = {}

    @property
    def is_empty(self) -> bool:
        """Whether all was taken."""
        return not self._held and not self._files

    def hold(self, packed: Any, parts: dict[int, slice]) -> None:
        """Keep rows in memory, and where those of each range are."""
        self._held.append((packed, parts))
        self.bytes += self.form.size(packed)

    def release(self) -> _Held:
        """Give what is in memory away, to be written."""
        held, self._held, self.bytes = self._held, [], 0
        return held

    def write(self, held: _Held, folder: Path) -> None:
        """Write what was in memory to files."""
        for number in _numbers(held):
            file = self._files.get(_file_of(number)) or _RangesFile(folder)
            self._files[_file_of(number)] = file
            file.append(number, self.form.data(_of(held, number)))

    def numbers(self) -> list[int]:
        """Return the numbers of the ranges, in their order."""
        in_files = (number for file in self._files.values() for number in file.places)
        return sorted({*in_files, *_numbers(self._held)})

    def take(self, number: int) -> list[Any]:
        """Return the parts of a range, and forget them."""
        held = _of(self._held, number)
        for _, parts in self._held:
            parts.pop(number, None)
        self._held = [one for one in self._held if one[1]]
        self.bytes -= sum(self.form.size(part) for part in held)
        return [*self._from_file(number), *held]

    def _from_file(self, number: int) -> list[Any]:
        file = self._files.get(_file_of(number))
        if file is None:
            return []
        found = [self.form.read(data) for data in file.take(number)]
        if not file.places:
            file.close()
            del self._files[_file_of(number)]
        return found


def _file_of(number: int) -> int:
    return number // _RANGES_OF_A_FILE % _FILES


def _form(schema: pl.Schema, *, with_places: bool) -> Records | ArrowFrames:
    fixed = Records.can_hold(schema)
    return Records(schema, with_places=with_places) if fixed else ArrowFrames()


def _numbers(held: _Held) -> list[int]:
    return sorted({number for _, parts in held for number in parts})


def _of(held: _Held, number: int) -> list[Any]:
    return [packed[parts[number]] for packed, parts in held if number in parts]


class _RangesFile:
    """A file without a name, which ends with the process; parts of ranges are appended to it.

    Attributes
    ----------
    places
        Where the parts of each range begin, and their bytes.
    close
        Gives the room on the disk back.
    """

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self.close = finalize(self, self._file.close)
        self.places: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def append(self, number: int, data: bytes | memoryview) -> None:
        """Append a part of a range."""
        left = memoryview(data)
        self.places[number].append((self._file.seek(0, SEEK_END), left.nbytes))
        while left:
            left = left[self._file.write(left) :]

    def take(self, number: int) -> list[Array]:
        """Return the parts of a range, and forget them."""
        return [self._read(*place) for place in self.places.pop(number, [])]

    def _read(self, begin: int, size: int) -> Array:
        import numpy as np

        data = np.empty(size, np.uint8)
        self._file.seek(begin)
        if self._file.readinto(data.data) != size:
            raise OSError(EIO, "a file with rows that wait ends too early")
        return data


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
    small = ranges.astype(np.min_scalar_type(ranges.max()))
    ends = np.cumsum(np.bincount(small)).tolist()
    places = enumerate(pairwise([0, *ends]))
    parts = [(number, slice(low, high)) for number, (low, high) in places if low < high]
    return np.argsort(small, kind="stable"), parts
