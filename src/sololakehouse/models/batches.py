"""Parts of a training set that memory does not hold: blocks of rows in Parquet files.

Which way is taken depends on the size of the training set and on `memory_limit` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sololakehouse.config.memory_size import written_size
from sololakehouse.errors import TrainingError
from sololakehouse.lake.failures import disk_errors
from sololakehouse.models.experiment import Experiment, ModelSettings
from sololakehouse.models.inputs import model_values
from sololakehouse.models.part import BatchedPart, Part
from sololakehouse.models.split import (
    Cut,
    cut_by_time,
    refuse_empty,
    split_by_time,
    splitting_columns,
)

if TYPE_CHECKING:
    import polars as pl

    from sololakehouse.lake import Snapshot

Parts = Mapping[str, Part] | Mapping[str, BatchedPart]

_BATCHED_KINDS = ("xgboost", "torch")
# A frame, its copy as pandas, what the preprocessing makes of it, and the library's own copy.
_COPIES = 4
_BYTES_OF_A_VALUE = 8
_VALUES_AT_ONCE = 4_000_000
# What is held of each row while batches are read: label, moments, prediction, and a metric's sort.
_BYTES_OF_A_ROW = 80
_ROW = "__slh_row"


def rows_at_once(training_set: Snapshot, experiment: Experiment, limit: int) -> int | None:
    """Return how many rows a batch has; None: all rows may be held, and are trained on at once.

    Parameters
    ----------
    limit
        The `memory_limit`, in bytes.

    Raises
    ------
    TrainingError
        The rows may not be held, and the experiment has a model that is not trained from batches,
        or even what is kept of each row takes more than the limit.
    """
    found = rows_held(training_set, limit)
    if found is None:
        return None
    columns = len(training_set.columns)
    reason = _refusal(experiment)
    if reason is not None:
        raise _too_large(training_set, _needed(training_set), limit, reason)
    batched = training_set.rows * _BYTES_OF_A_ROW + found * columns * _BYTES_OF_A_VALUE * _COPIES
    if batched > limit:
        raise _too_large(training_set, batched, limit, "That is what batches take already. ")
    return found


def rows_held(training_set: Snapshot, limit: int) -> int | None:
    """Return how many rows of a training set may be held at once; None: all of them.

    Parameters
    ----------
    limit
        The `memory_limit`, in bytes.
    """
    if _needed(training_set) <= limit:
        return None
    return max(1, _VALUES_AT_ONCE // len(training_set.columns))


def _needed(training_set: Snapshot) -> int:
    return training_set.rows * len(training_set.columns) * _BYTES_OF_A_VALUE * _COPIES


def _too_large(training_set: Snapshot, needed: int, limit: int, reason: str) -> TrainingError:
    return TrainingError(
        f"{training_set.name} has {training_set.rows:,} rows of {len(training_set.columns)} "
        f"columns. Training on them takes about {written_size(needed)}, more than the "
        f"'memory_limit' of {written_size(limit)}. {reason}Set 'memory_limit: "
        f"{written_size(needed)}' in lakehouse.yml if the machine has that much, or take fewer "
        "rows or columns."
    )


def _refusal(experiment: Experiment) -> str | None:
    """Say what of an experiment needs all rows at once; None: nothing does."""
    if experiment.cross_validation is not None:
        return "'cross_validation' needs all rows at once. "
    for role in ("baseline", "model"):
        settings: ModelSettings = getattr(experiment, role)
        if settings.kind not in _BATCHED_KINDS:
            kinds = " and ".join(_BATCHED_KINDS)
            return f"Only the kinds {kinds} train from batches, and the {role} is {settings.name}. "
        if settings.calibration is not None:
            return f"The 'calibration' of the {role} needs all rows at once. "
        if settings.kind == "xgboost" and experiment.device == "cuda":
            return "XGBoost trains from batches on the CPU, and 'device' is cuda. "
    return None


@contextmanager
def parts_of(
    rows: pl.LazyFrame,
    experiment: Experiment,
    columns: Sequence[str],
    at_once: int | None,
    folder: Path,
) -> Iterator[Parts]:
    """Give the parts of a training set, in memory or as blocks in files that are removed again.

    Parameters
    ----------
    rows
        The training set in its order, the same each time that it is read.
    at_once
        Rows of a block; None: in memory.
    folder
        Where there is room for the files.

    Raises
    ------
    TrainingError, ConfigError, RunError
        As `split_by_time`.
    """
    if at_once is None:
        yield split_by_time(rows.collect(), experiment, tuple(columns))
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="batches-", dir=folder) as name:
        with disk_errors(folder):
            parts = batched_parts(rows, experiment, columns, at_once, Path(name))
        yield parts


def batched_parts(
    rows: pl.LazyFrame,
    experiment: Experiment,
    columns: Sequence[str],
    at_once: int,
    folder: Path,
) -> dict[str, BatchedPart]:
    """Split a training set by time, and write the features of each part to a file, in one pass.

    The blocks are counted from the first row of a part, so they do not depend on how the training
    set is stored.

    Raises
    ------
    TrainingError, ConfigError, RunError
        As `split_by_time`; of an infinite number the first block that has one tells.
    """
    narrow = rows.select(splitting_columns(experiment)).with_row_index(_ROW).collect()
    parts, writers = {}, []
    for cut in cut_by_time(narrow, experiment, columns):
        writers.append(_BlockWriter(folder / f"{cut.name}.parquet", cut, columns, at_once))
        parts[cut.name] = BatchedPart(
            cut.name, writers[-1].file, at_once, cut.labels, cut.unknown, cut.embargoed
        )
    total = narrow.height
    del narrow
    chosen = rows.select(columns)
    # Not `collect_batches`: polars 2.1 reads so far ahead that it held half of the rows.
    for begin in range(0, total, at_once):
        chunk = chosen.slice(begin, at_once).collect()
        for writer in writers:
            writer.add(chunk, begin)
    for writer in writers:
        writer.close()
    known = writers[0].known
    empty = [name for name in columns if not known.get(name, 0)]
    refuse_empty(empty, len(parts["train"].labels))
    return parts


class _BlockWriter:
    """Takes a part's rows out of chunks of the training set, and writes them block by block."""

    def __init__(self, file: Path, cut: Cut, columns: Sequence[str], at_once: int) -> None:

        self.file = file
        self.known: dict[str, int] = {}
        self._numbers = cut.rows[_ROW].to_numpy()
        self._columns = columns
        self._at_once = at_once
        self._waiting: list[pl.DataFrame] = []
        self._writer: Any = None

    def add(self, chunk: pl.DataFrame, begin: int) -> None:
        """Take what is the part's of a chunk whose first row has the number `begin`."""
        import numpy as np

        low, high = np.searchsorted(self._numbers, [begin, begin + chunk.height])
        self._waiting.append(chunk[self._numbers[low:high] - begin])
        while sum(one.height for one in self._waiting) >= self._at_once:
            self._write(self._at_once)

    def close(self) -> None:
        """Write what is left."""
        if any(one.height for one in self._waiting):
            self._write(self._at_once)
        self._writer.close()

    def _write(self, rows: int) -> None:
        import polars as pl
        import polars.selectors as cs
        import pyarrow.parquet as pq

        waiting = pl.concat(self._waiting)
        self._waiting = [waiting[rows:]]
        values = model_values(waiting[:rows], self._columns)
        values = values.with_columns(cs.float().fill_nan(None))
        for name in self._columns:
            known = values.height - values[name].null_count()
            self.known[name] = self.known.get(name, 0) + known
        table = values.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.file, table.schema, compression="zstd")
        self._writer.write_table(table, row_group_size=rows)
