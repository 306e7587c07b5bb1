"""The execution of a planned pipeline: steps in threads, events to the listeners."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from threading import Thread

from sololakehouse.engine import Engine, engine_message
from sololakehouse.errors import RunFailedError, SoloLakehouseError, StepError, shortened
from sololakehouse.lake import LakeWriter
from sololakehouse.pipelines.checks import check_again
from sololakehouse.pipelines.compute import append, materialize
from sololakehouse.pipelines.delivery import deliver
from sololakehouse.pipelines.events import (
    Event,
    Listener,
    RunEnded,
    RunStarted,
    RunState,
    StepEnded,
    StepResult,
    StepStarted,
    StepState,
)
from sololakehouse.pipelines.plan import Step
from sololakehouse.pipelines.schedule import Capacity, Schedule, works

# A signal that another thread happens to take does not end the wait of this one.
_LISTENING_SECONDS = 0.1
_NEEDED_LATER = ("polars", "pyarrow.parquet")
# A step may have been between two queries.
_INTERRUPTING_SECONDS = 1


@dataclass(frozen=True)
class PreparedPipeline:
    """A planned pipeline with the engine session that its DataFrames belong to."""

    engine: Engine
    steps: tuple[Step, ...]
    name: str


class Execution:
    """One execution of a pipeline's steps.

    The calling thread decides what begins and tells the listeners; the steps are computed in
    threads of their own, so that it can be interrupted at any moment.
    """

    def __init__(
        self,
        pipeline: PreparedPipeline,
        writer: LakeWriter,
        listeners: Sequence[Listener],
        capacity: Capacity,
    ) -> None:
        self._pipeline = pipeline
        self._writer = writer
        self._listeners = listeners
        self._capacity = capacity
        self._schedule = Schedule(pipeline.steps)
        self._running: dict[Future[StepResult], Step] = {}
        self._results: dict[str, StepResult] = {}

    def run(self) -> list[StepResult]:
        """Execute all steps; see `pipelines.run.execute`."""
        engine, at_once = self._pipeline.engine, self._capacity.at_once
        with ThreadPoolExecutor(at_once, "step", initializer=engine.activate) as pool:
            import_beside(self._pipeline.steps)
            try:
                run_id, steps = self._writer.run.run_id, self._pipeline.steps
                self._tell(RunStarted(_now(), run_id, steps, at_once))
                while self._schedule.is_active:
                    self._begin_steps(pool)
                    self._gather()
            except KeyboardInterrupt as stop:
                self._stop()
                stop.add_note(self._left())
                raise
        results = self._ordered()
        failed = [result for result in results if result.state == "failed"]
        self._tell_end("failed" if failed else "completed")
        if failed:
            raise _failure(results, failed)
        return results

    def _begin_steps(self, pool: ThreadPoolExecutor) -> None:
        while (step := self._schedule.next()) is not None:
            causes = self._schedule.causes(step)
            if causes:
                self._schedule.begun(step)
                self._end(StepResult(step, "skipped", causes=causes))
            elif not works(step):
                self._schedule.begun(step)
                self._end(self._left_alone(step))
            elif self._capacity.admits(len(self._running)):
                self._schedule.begun(step)
                self._tell(StepStarted(_now(), step))
                self._running[pool.submit(self._attempted, step)] = step
            else:
                return

    def _gather(self) -> None:
        done: set[Future[StepResult]] = set()
        while self._running and not done:
            done, _ = wait(self._running, _LISTENING_SECONDS, FIRST_COMPLETED)
        for future in sorted(done, key=lambda future: self._running[future].name):
            del self._running[future]
            self._end(future.result())

    def _end(self, result: StepResult) -> None:
        self._results[result.name] = result
        if result.state in ("failed", "skipped"):
            self._schedule.failed(result.step, result.causes)
        else:
            self._schedule.ended(result.step)
        self._tell(StepEnded(_now(), result))

    def _left_alone(self, step: Step) -> StepResult:
        if step.state == "view":
            return StepResult(step, "view")
        newest = None if step.node.is_sink else self._writer.lake.newest(step.name)
        if step.state != "up to date":
            return StepResult(step, "not selected", newest)
        try:
            found = check_again(step, newest, self._writer.run.started_at) if newest else ()
        except SoloLakehouseError as error:
            return StepResult(step, "failed", error=error)
        return StepResult(step, "up to date", newest, expectations=tuple(found))

    def _attempted(self, step: Step) -> StepResult:
        began = time.perf_counter()
        try:
            result = self._computed(step)
        except SoloLakehouseError as error:
            result = StepResult(step, "failed", error=error)
        except BaseException as error:  # noqa: BLE001  (libraries in Rust panic past `Exception`)
            result = StepResult(step, "failed", error=_step_error(step, error))
        seconds = time.perf_counter() - began
        return replace(result, seconds=seconds)

    def _computed(self, step: Step) -> StepResult:
        engine = self._pipeline.engine
        for table in step.tables:
            engine.pin(self._writer.lake.read(table))
        if step.state == "view":
            engine.view(step.name, step.node.frame)
            return StepResult(step, "view")
        sink = step.node.declaration.sink
        if sink is not None:
            delivered = deliver(step, sink, engine, self._writer)
            return StepResult(step, "computed", expectations=tuple(delivered))
        make = append if step.node.is_stream else materialize
        snapshot, expectations = make(step, engine, self._writer)
        return StepResult(step, "computed", snapshot, expectations=tuple(expectations))

    def _stop(self) -> None:
        """End the queries that are at work, and wait until each step has left its table whole."""
        working = set(self._running)
        while working:
            self._pipeline.engine.interrupt()
            working = wait(working, _INTERRUPTING_SECONDS).not_done
        committed = {snapshot.name: snapshot for snapshot in self._writer.committed}
        for future, step in self._running.items():
            result = future.result()
            if result.state == "failed":
                made = committed.get(step.name)
                state: StepState = "computed" if made else "stopped"
                result = StepResult(step, state, made, result.seconds)
            self._results[step.name] = result
            self._tell(StepEnded(_now(), result))
        for step in self._pipeline.steps:
            self._results.setdefault(step.name, StepResult(step, "not begun"))
        self._tell_end("stopped")

    def _left(self) -> str:
        tables = [result for result in self._ordered() if result.step.state == "run"]
        whole = [
            str(r.snapshot.table_version) for r in tables if r.state == "computed" and r.snapshot
        ]
        named = f" ({shortened(whole)})" if whole else ""
        counted = f"{len(whole)} of {len(tables)} tables were computed{named}"
        return f"{counted}; the others are as they were. 'slh run' goes on from there."

    def _ordered(self) -> list[StepResult]:
        return [self._results[step.name] for step in self._pipeline.steps]

    def _tell_end(self, state: RunState) -> None:
        self._tell(RunEnded(_now(), state, tuple(self._ordered())))

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)


def import_beside(steps: Sequence[Step]) -> None:
    """Import what checks and commits need while the engine is at work, if any table is computed."""
    if any(step.state == "run" for step in steps):
        for module in _NEEDED_LATER:
            if module not in sys.modules:
                Thread(target=import_module, args=(module,), name=f"import {module}").start()


def _failure(results: Sequence[StepResult], failed: Sequence[StepResult]) -> SoloLakehouseError:
    """Return the error of the only failed step, or one for all; a note tells of the others."""
    errors = {f"{r.name} ({r.step.node.declaration.place})": r.error for r in failed if r.error}
    (where, error), *others = errors.items()
    found = RunFailedError.of(errors) if others else error
    if not others and where not in str(error):
        found.add_note(f"{failed[0].name} is defined at {failed[0].step.node.declaration.place}.")
    skipped = [result.name for result in results if result.state == "skipped"]
    if skipped:
        found.add_note(f"Skipped, because they depend on it: {shortened(skipped)}.")
    made = sum(result.state == "computed" for result in results)
    found.add_note(
        f"{made} other {'table was' if made == 1 else 'tables were'} computed and committed. "
        "Once this is mended, 'slh run' goes on from there."
    )
    return found


def _now() -> datetime:
    return datetime.now(UTC)


def _step_error(step: Step, error: BaseException) -> StepError:
    said = f"{step.name} ({step.node.declaration.place}): {engine_message(error).rstrip('.')}."
    found = StepError(f"{said} The table is as it was.")
    found.__cause__ = error
    return found
