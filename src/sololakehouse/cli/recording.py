"""Commands leave a trace in `system.runs` and `system.steps`, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.run_log import RunLog, State
    from sololakehouse.pipelines.events import Event, Listener, StepState

_STATES: Mapping[StepState, State] = {
    "computed": "COMPLETED",
    "up to date": "UP_TO_DATE",
    "failed": "FAILED",
    "stopped": "FAILED",
    "skipped": "SKIPPED",
}


@contextmanager
def recorded(lake: Lakehouse, command: str, *arguments: str) -> Iterator[RunLog]:
    """Begin a run, and write what it did when it ends; a failure to write it only warns.

    The project's lock is held meanwhile.

    Raises
    ------
    BusyError
        Another command is writing to the project.
    """
    from sololakehouse.lake import LakeWriter
    from sololakehouse.lake.lock import project_lock
    from sololakehouse.lake.run_log import RunLog
    from sololakehouse.provenance import Run

    with project_lock(lake.project.warehouse, f"slh {command}"):
        run = Run.start(lake.project.folder, lake.project.settings.engine_name)
        log = RunLog(LakeWriter(lake, run), command, " ".join(arguments))
        try:
            yield log
        except BaseException as error:
            with suppress(Exception):
                log.write(error)
            raise
        _complete(log)


def steps_recorded(log: RunLog) -> Listener:
    """Return a listener that notes in a run's log what became of each table of the pipeline."""
    from sololakehouse.pipelines.events import StepEnded

    def listen(event: Event) -> None:
        if not isinstance(event, StepEnded):
            return
        result = event.result
        state = _STATES.get(result.state)
        if state is not None and (state == "FAILED" or not result.step.node.is_view):
            log.record(result.name, state, result.seconds, result.snapshot, result.reason)

    return listen


def _complete(log: RunLog) -> None:
    try:
        log.write()
    except Exception as problem:  # noqa: BLE001  (the command's own work is done)
        click.echo(
            f"Warning: system.runs and system.steps could not be written: {problem}. "
            "What the run committed is in the tables and in system.table_commits.",
            err=True,
        )
