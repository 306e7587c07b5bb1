"""The inference table: what was asked and answered, in batches that another process writes."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from sololakehouse.lake import Lakehouse
from sololakehouse.provenance import Change, Run, fingerprint
from sololakehouse.serving.log_writer import LogWriter
from sololakehouse.serving.metrics import Metrics
from sololakehouse.serving.served_rows import Packed, Served

OPERATION = "SERVING"
MOST_ROWS = 100_000
AT_ONCE = 20
_ROWS_OF_A_COMMIT = 20_000
_LOG = logging.getLogger(__name__)


def inference_table(model: str) -> str:
    """Return the table that takes what a model was asked.

    Examples
    --------
    >>> inference_table("flight-delay")
    'inference.served_flight_delay'
    """
    return f"inference.served_{model.replace('-', '_')}"


class InferenceLog:
    """Collects answers and appends them to the inference table.

    What could not be written is tried again with the next batch; beyond `MOST_ROWS` rows the oldest
    are given up and counted. Serving never waits for it.

    Answers are packed a few at a time, by the thread that answers, when it has answered. Another
    thread would take the interpreter from it again and again, and a thousand answers in their
    frames are work for the garbage collector, which stops all threads.

    Parameters
    ----------
    seconds
        A crash loses at most the answers of so many seconds, plus the time of one commit.
    """

    def __init__(self, lake: Lakehouse, model: str, seconds: float, metrics: Metrics) -> None:
        self.table = inference_table(model)
        self._model = model
        self._writer = LogWriter(lake)
        self._run = Run.start(lake.project.folder, lake.project.settings.engine_name)
        self._seconds = seconds
        self._metrics = metrics
        self._fresh: list[Served] = []
        self._waiting: deque[Served | Packed] = deque()
        self._rows = 0
        self._lock, self._packing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self._failing = False
        self._batches = 0
        self._thread = threading.Thread(target=self._work, name="inference log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()
        self._thread.start()

    def put(self, served: Served) -> bool:
        """Take note of an answer, in microseconds; return whether `pack` is due."""
        with self._lock:
            if served.rows > AT_ONCE:
                self._keep(served)
            else:
                self._fresh.append(served)
            return len(self._fresh) >= AT_ONCE

    def pack(self) -> None:
        """Pack the small answers that came since the last time."""
        with self._packing:
            with self._lock:
                fresh, self._fresh = self._fresh, []
            try:
                packed = list(Packed.of(fresh))
            except Exception as error:  # noqa: BLE001  (serving goes on)
                _LOG.error("%s: answers are no rows of it: %s", self.table, error)
                self._metrics.lost.inc(sum(one.rows for one in fresh))
                return
            with self._lock:
                for one in packed:
                    self._keep(one)

    def close(self) -> None:
        """Write what is there, and stop; what cannot be written now is lost and counted."""
        self._stop.set()
        self._thread.join()
        self.flush()
        self._writer.close()
        self._metrics.lost.inc(self._rows)

    def flush(self) -> None:
        """Append all that waits; a failure is logged once, until writing works again."""
        self.pack()
        with self._lock:
            batch, self._waiting, self._rows = list(self._waiting), deque(), 0
        portions = list(_portions(batch))
        for number, portion in enumerate(portions):
            try:
                self._write(portion)
            except Exception as error:  # noqa: BLE001  (serving goes on, whatever the disk does)
                self._failed([one for left in portions[number:] for one in left], error)
                break
            self._succeeded(portion)
        self._metrics.waiting.set(self._rows)

    def _keep(self, one: Served | Packed) -> None:
        self._waiting.append(one)
        self._rows += one.rows
        while self._rows > MOST_ROWS:
            self._rows -= self._waiting[0].rows
            self._metrics.lost.inc(self._waiting.popleft().rows)

    def _work(self) -> None:
        while not self._stop.wait(self._seconds / 2):
            self.flush()

    def _write(self, batch: Sequence[Served | Packed]) -> None:
        self._batches += 1
        packed = list(_all_packed(batch))
        used = {source for one in packed for source in one.features}
        versions = sorted({one.version for one in packed})
        change = Change(
            OPERATION,
            fingerprint(OPERATION, self._run.run_id, self._batches),
            sorted(used, key=str),
            details={"model": self._model, "model_versions": versions},
        )
        self._writer.append(self.table, [one.frame for one in packed], change, self._run)

    def _failed(self, batch: Sequence[Served | Packed], error: Exception) -> None:
        self._metrics.write_failures.inc()
        if not self._failing:
            _LOG.error("%s cannot be written, serving goes on: %s", self.table, error)
        self._failing = True
        with self._lock:
            newer, self._waiting, self._rows = self._waiting, deque(), 0
            for one in (*batch, *newer):
                self._keep(one)

    def _succeeded(self, batch: Sequence[Served | Packed]) -> None:
        self._metrics.written.inc(sum(one.rows for one in batch))
        if self._failing:
            _LOG.warning("%s is written again.", self.table)
        self._failing = False


def _all_packed(batch: Iterable[Served | Packed]) -> Iterator[Packed]:
    """Pack large answers together."""
    for are_packed, some in groupby(batch, lambda one: isinstance(one, Packed)):
        group = list(some)
        if are_packed:
            yield from (one for one in group if isinstance(one, Packed))
        else:
            yield from Packed.of([one for one in group if isinstance(one, Served)])


def _portions(batch: Iterable[Served | Packed]) -> Iterator[list[Served | Packed]]:
    """Divide answers so that no commit has many more rows than `_ROWS_OF_A_COMMIT`."""
    portion: list[Served | Packed] = []
    rows = 0
    for one in batch:
        portion.append(one)
        rows += one.rows
        if rows >= _ROWS_OF_A_COMMIT:
            yield portion
            portion, rows = [], 0
    if portion:
        yield portion
