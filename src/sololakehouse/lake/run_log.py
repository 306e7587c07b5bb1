"""`system.runs` and `system.steps`: what commands did, appended when they end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import BusyError, UsageError
from sololakehouse.lake.commit import LakeWriter
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    import polars as pl

RUNS = "system.runs"
STEPS = "system.steps"
OPERATION = "RUN LOG"
_NOTHING_RAN = (UsageError, BusyError)
State = Literal["COMPLETED", "UP_TO_DATE", "FAILED", "SKIPPED"]
_LEFT_OUT = ("run_id", "started_at", "ended_at", "seconds")


@dataclass(frozen=True)
class StepRow:
    """One row of `system.steps`; `docs/system_tables.md` says what the columns mean."""

    run_id: str
    step: str
    table_name: str | None
    state: State
    version: int | None
    rows: int | None
    rows_written: int | None
    started_at: datetime
    seconds: float
    reason: str | None


@dataclass(frozen=True)
class _OpenStep:
    name: str
    table: str | None
    started_at: datetime
    began: float
    commits_before: int


class RunLog:
    """Notes the steps of one run, and writes them when it ends.

    A run that committed nothing is written only if it failed; a mistake of use, or another
    command at work, is no run.
    """

    def __init__(self, writer: LakeWriter, command: str, arguments: str = "") -> None:
        self.writer = writer
        self._command = command
        self._arguments = arguments
        self._steps: list[StepRow] = []
        self._open: _OpenStep | None = None

    def record(
        self,
        step: str,
        state: State,
        seconds: float,
        snapshot: Snapshot | None = None,
        reason: str | None = None,
    ) -> None:
        """Note a step of `seconds` that has just ended, and whose table has its name.

        Steps that run side by side are noted in this way, in the order in which they end.
        """
        now = datetime.now(UTC)
        self._add(step, step, state, snapshot, reason, now - timedelta(seconds=seconds), seconds)

    def begin(self, step: str, table: str | None = None) -> None:
        """Begin a step; `table` is what it makes."""
        commits = len(self.writer.committed)
        self._open = _OpenStep(step, table, datetime.now(UTC), time.perf_counter(), commits)

    def end(self, snapshot: Snapshot | None = None, reason: str | None = None) -> None:
        """End the step that was begun; `snapshot` is its table as it is now."""
        if self._open is not None:
            committed = len(self.writer.committed) > self._open.commits_before
            self._note(self._open, "COMPLETED" if committed else "UP_TO_DATE", snapshot, reason)

    def write(self, error: BaseException | None = None) -> None:
        """Append the run and its steps to their tables, if there is something to tell.

        Parameters
        ----------
        error
            What ended the run; None if it was completed. A step that was not ended failed.
        """
        if self._open is not None:
            self._note(self._open, "FAILED" if error else "COMPLETED", None, _message(error))
        failed = error is not None and not isinstance(error, _NOTHING_RAN)
        commits = list(self.writer.committed)
        if not (commits or failed):
            return
        steps, run = [asdict(step) for step in self._steps], self._run_row(error, len(commits))
        with ThreadPoolExecutor(1) as beside:
            told = beside.submit(self._append, STEPS, steps, _step_schema()) if steps else None
            self._append(RUNS, [run], _run_schema())
        if told:
            told.result()

    def _note(
        self, step: _OpenStep, state: State, snapshot: Snapshot | None, reason: str | None
    ) -> None:
        seconds = time.perf_counter() - step.began
        self._add(step.name, step.table, state, snapshot, reason, step.started_at, seconds)
        self._open = None

    def _add(
        self,
        step: str,
        table: str | None,
        state: State,
        snapshot: Snapshot | None,
        reason: str | None,
        started_at: datetime,
        seconds: float,
    ) -> None:
        record = snapshot.record if snapshot and state == "COMPLETED" else None
        self._steps.append(
            StepRow(
                run_id=self.writer.run.run_id,
                step=step,
                table_name=table,
                state=state,
                version=snapshot.version if snapshot else None,
                rows=snapshot.rows if snapshot else None,
                rows_written=record.rows_written if record else None,
                started_at=started_at,
                seconds=round(seconds, 3),
                reason=reason,
            )
        )

    def _run_row(self, error: BaseException | None, commits: int) -> dict[str, Any]:
        run = self.writer.run
        return {
            "run_id": run.run_id,
            "command": self._command,
            "arguments": self._arguments,
            "user": run.user,
            "engine": run.engine,
            "code_revision": run.code_revision,
            "started_at": run.started_at,
            "ended_at": datetime.now(UTC),
            "status": "FAILED" if error else "COMPLETED",
            "error": _message(error),
            "commits": commits,
        }

    def _append(self, table: str, rows: list[dict[str, Any]], schema: dict[str, Any]) -> None:
        import polars as pl

        left_out = [name for name in _LEFT_OUT if name in schema]
        change = Change(OPERATION, fingerprint(table, self.writer.run.run_id), left_out=left_out)
        self.writer.write_frame(table, pl.DataFrame(rows, schema), change, mode="append")


def _message(error: BaseException | None) -> str | None:
    if error is None:
        return None
    if isinstance(error, KeyboardInterrupt):
        return "Stopped by the person."
    return str(error) or type(error).__name__


def _moment() -> pl.DataType:
    import polars as pl

    return pl.Datetime("us", "UTC")


def _run_schema() -> dict[str, Any]:
    import polars as pl

    texts = ("run_id", "command", "arguments", "user", "engine", "code_revision")
    moments = dict.fromkeys(("started_at", "ended_at"), _moment())
    outcome = {"status": pl.String(), "error": pl.String(), "commits": pl.Int64()}
    return dict.fromkeys(texts, pl.String()) | moments | outcome


def _step_schema() -> dict[str, Any]:
    import polars as pl

    text, number = pl.String(), pl.Int64()
    return {
        **dict.fromkeys(("run_id", "step", "table_name", "state"), text),
        **dict.fromkeys(("version", "rows", "rows_written"), number),
        "started_at": _moment(),
        "seconds": pl.Float64(),
        "reason": text,
    }
