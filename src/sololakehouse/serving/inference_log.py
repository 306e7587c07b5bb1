"""The inference table: what was asked and answered, in batches that another process writes."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sololakehouse.lake import Lakehouse
from sololakehouse.provenance import Change, Run, TableVersion, fingerprint
from sololakehouse.serving.log_writer import LogWriter
from sololakehouse.serving.metrics import Metrics

if TYPE_CHECKING:
    import polars as pl

    from sololakehouse.serving.served_model import Answer

OPERATION = "SERVING"
MOST_ROWS = 100_000
AT_ONCE = 20
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """One request that was answered: when it came, and how long that took in milliseconds."""

    request_id: str
    endpoint: str
    at: datetime
    milliseconds: float
    answer: Answer

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.answer.request.height


def inference_table(model: str) -> str:
    """Return the table that takes what a model was asked.

    Examples
    --------
    >>> inference_table("flight-delay")
    'inference.served_flight_delay'
    """
    return f"inference.served_{model.replace('-', '_')}"


@dataclass(frozen=True)
class Packed:
    """Answers as rows of the inference table.

    Attributes
    ----------
    features
        The feature tables in the versions that were read for them.
    versions
        The versions of the model that answered.
    """

    frame: pl.DataFrame
    features: frozenset[TableVersion]
    versions: frozenset[int]

    @classmethod
    def of(cls, batch: Sequence[Served]) -> Packed:
        """Pack some answers, in their order."""
        predictions = [one.answer.prediction for one in batch]
        return cls(
            rows_of(batch),
            frozenset(source for one in predictions for source in one.features),
            frozenset(one.version.version for one in predictions),
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.frame.height


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
            if fresh:
                packed = Packed.of(fresh)
                with self._lock:
                    self._keep(packed)

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
        if batch:
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001  (serving goes on, whatever the disk does)
                self._failed(batch, error)
            else:
                self._succeeded(batch)
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
        import polars as pl

        self._batches += 1
        packed = [Packed.of([one]) if isinstance(one, Served) else one for one in batch]
        versions = frozenset[int]().union(*(one.versions for one in packed))
        change = Change(
            OPERATION,
            fingerprint(OPERATION, self._run.run_id, self._batches),
            sorted(frozenset[TableVersion]().union(*(one.features for one in packed)), key=str),
            details={"model": self._model, "model_versions": sorted(versions)},
        )
        rows = pl.concat([one.frame for one in packed])
        self._writer.append(self.table, rows, change, self._run)

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


def rows_of(batch: Iterable[Served]) -> pl.DataFrame:
    """Return the rows of the inference table for some answers, in their order.

    Answers of one form are put together first: a thousand small frames, one by one, would take the
    interpreter from those who wait for an answer.
    """
    import polars as pl

    return pl.concat([_rows(list(group)) for _, group in groupby(batch, _form)])


def _form(served: Served) -> Any:
    prediction = served.answer.prediction
    request, outputs = served.answer.request, prediction.outputs
    return prediction.version.version, request.columns, prediction.found.columns, outputs.schema


def _rows(batch: Sequence[Served]) -> pl.DataFrame:
    import polars as pl

    predictions = [one.answer.prediction for one in batch]
    outputs = pl.concat([one.outputs for one in predictions])
    version = predictions[0].version
    predicted, nothing = outputs["prediction"], pl.repeat(None, outputs.height, eager=True)
    is_number = predicted.dtype.is_numeric() or predicted.dtype == pl.Boolean
    probability = outputs["probability"] if "probability" in outputs.columns else nothing
    known = {used: _versions(used) for used in {one.features for one in predictions}}

    def each(name: str, of: Callable[[Served], Any], kind: Any) -> pl.Series:
        return pl.Series(name, [of(one) for one in batch for _ in range(one.rows)], kind)

    return pl.DataFrame(
        [
            each("request_id", lambda one: one.request_id, pl.String),
            pl.Series("row", [row for one in batch for row in range(one.rows)], pl.Int32),
            each("requested_at", lambda one: one.at, pl.Datetime("us", "UTC")),
            each("endpoint", lambda one: one.endpoint, pl.String),
            pl.repeat(version.name, outputs.height, eager=True).alias("model_name"),
            each("model_version", lambda _: version.version, pl.Int32),
            each("feature_versions", lambda one: known[one.answer.prediction.features], pl.String),
            _as_json([one.answer.request for one in batch]).alias("request"),
            _as_json([one.found for one in predictions], version.feature_columns).alias("features"),
            (predicted if is_number else nothing).cast(pl.Float64).alias("prediction"),
            (nothing if is_number else predicted).cast(pl.String).alias("predicted_label"),
            probability.cast(pl.Float64).alias("probability"),
            each("milliseconds", lambda one: one.milliseconds, pl.Float64),
        ]
    )


def _versions(used: Sequence[TableVersion]) -> str:
    return json.dumps({source.table: source.version for source in used}, sort_keys=True)


def _as_json(frames: Sequence[pl.DataFrame], columns: Sequence[str] | None = None) -> pl.Series:
    """Return each row as a JSON object; moments in ISO 8601, UTC."""
    import polars as pl

    rows = pl.concat(frames)
    names = columns or rows.columns
    moments = pl.selectors.datetime().dt.convert_time_zone("UTC").dt.to_string("iso:strict")
    shown = rows.select(names).with_columns(moments)
    return shown.select(pl.struct(pl.all()).struct.json_encode()).to_series()
