"""What a person or a script sees of a run while it goes on."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from sololakehouse.cli.render import console, print_line

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from sololakehouse.pipelines.events import Event, Listener, RunEnded, StepResult
    from sololakehouse.pipelines.plan import Step

View = Literal["steps", "violations", "json", "nothing"]
_COLOURS = {
    "computed": "green",
    "running": "bold cyan",
    "failed": "bold red",
    "skipped": "yellow",
    "stopped": "yellow",
}
_SAID_AT_THE_END = ("running", "failed", "skipped", "stopped")
_REFRESHES_PER_SECOND = 4
_LINES_BESIDE = 3


@contextmanager
def run_view(view: View) -> Iterator[Listener]:
    """Give a listener that shows a run.

    Parameters
    ----------
    view
        `steps`: a live tree where there is a terminal, otherwise a line per step as it ends, then
        violated expectations and a summary. `violations`: the tree goes away at the end, and only
        violated expectations stay. `json`: one JSON object per line and event.
    """
    from sololakehouse.pipelines.events import unheard

    if view == "nothing":
        yield unheard
    elif view == "json":
        yield _print_event
    elif console().is_terminal:
        with _RunTree(transient=view == "violations") as tree:
            yield tree
        if tree.ended is not None:
            _print_end(tree.ended, summary=view == "steps")
    else:
        yield _Lines(steps=view == "steps")


class _Lines:
    """One line for each step that has ended."""

    def __init__(self, *, steps: bool) -> None:
        self._steps = steps
        self._width = 0

    def __call__(self, event: Event) -> None:
        from sololakehouse.pipelines.events import RunEnded, RunStarted, StepEnded

        if isinstance(event, RunStarted):
            self._width = max((len(step.name) for step in event.steps), default=0)
        elif isinstance(event, StepEnded) and self._steps and _is_shown(event.result):
            click.echo(self._line(event.result))
        elif isinstance(event, RunEnded):
            _print_end(event, summary=self._steps)

    def _line(self, result: StepResult) -> str:
        counted = f"{_rows(result)} rows" if result.snapshot else ""
        note = result.reason.splitlines()[0]
        name = f"{result.name:<{self._width}}"
        return f"{name}  {result.state:<10}  {counted:>16}  {_seconds(result.seconds):>7}  {note}"


class _RunTree:
    """The tables by schema, redrawn in place until the run ends."""

    def __init__(self, *, transient: bool) -> None:
        from rich.live import Live

        self.ended: RunEnded | None = None
        self._steps: tuple[Step, ...] = ()
        self._began: dict[str, float] = {}
        self._results: dict[str, StepResult] = {}
        self._live = Live(
            get_renderable=self._drawn,
            console=console(),
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=transient,
        )

    def __enter__(self) -> _RunTree:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        from sololakehouse.pipelines.events import RunEnded, RunStarted, StepEnded, StepStarted

        if isinstance(event, RunStarted):
            self._steps = tuple(step for step in event.steps if step.state != "not selected")
        elif isinstance(event, StepStarted):
            self._began[event.step.name] = time.perf_counter()
        elif isinstance(event, StepEnded):
            self._results[event.result.name] = event.result
        elif isinstance(event, RunEnded):
            self.ended = event

    def _drawn(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        if not self._steps or self.ended is not None:
            return Group(self._table())
        return Group(self._table(), Text(self._counts(), style="dim"))

    def _table(self) -> Table:
        from rich.table import Table

        table = Table.grid(padding=(0, 2), expand=True)
        for justify in ("left", "left", "right", "right"):
            table.add_column(justify=justify, no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for schema, steps in _by_schema(self._visible()).items():
            table.add_row(f"[bold]{schema}[/]")
            for place, step in enumerate(steps, 1):
                guide = "└─" if place == len(steps) else "├─"
                name = step.name.rpartition(".")[2]
                table.add_row(f"[dim]{guide}[/] {name}", *self._cells(step))
        return table

    def _visible(self) -> list[Step]:
        """Return all tables, or only those that need attention where a terminal is too low."""
        tables = [step for step in self._steps if not step.node.is_view]
        lines = len(tables) + len(_by_schema(tables)) + _LINES_BESIDE
        if self.ended is not None or lines <= console().height:
            return tables
        return [step for step in tables if self._state(step) in _SAID_AT_THE_END]

    def _state(self, step: Step) -> str:
        if step.name in self._results:
            return self._results[step.name].state
        return "running" if step.name in self._began else "waiting"

    def _cells(self, step: Step) -> tuple[str, str, str, str]:
        from rich.markup import escape

        state, result = self._state(step), self._results.get(step.name)
        said = f"[{_COLOURS.get(state, 'dim')}]{state}[/]"
        if result is not None:
            note = escape(result.reason.splitlines()[0])
            return said, _rows(result), _seconds(result.seconds), note
        began = self._began.get(step.name)
        return said, "", _seconds(time.perf_counter() - began) if began else "", escape(step.reason)

    def _counts(self) -> str:
        tables = [step for step in self._steps if not step.node.is_view]
        states = [self._state(step) for step in tables]
        waiting = states.count("waiting") + states.count("running")
        counted = {state: states.count(state) for state in _SAID_AT_THE_END}
        noted = [f"{number} {state}" for state, number in counted.items() if number]
        return ", ".join([f"{len(tables) - waiting} of {len(tables)} done", *noted])


def _by_schema(steps: Sequence[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.name.split(".")[0], []).append(step)
    return found


def _rows(result: StepResult) -> str:
    return f"{result.snapshot.rows:,}" if result.snapshot else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds else ""


def _is_shown(result: StepResult) -> bool:
    if result.step.node.is_view:
        return result.state == "failed"
    return result.state not in ("not selected", "not begun")


def _print_end(event: RunEnded, *, summary: bool) -> None:
    for result in event.results:
        _print_violations(result)
    if summary:
        shown = [result for result in event.results if _is_shown(result)]
        states = [result.state for result in shown]
        counted = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
        tables = "1 table" if len(shown) == 1 else f"{len(shown)} tables"
        print_line(f"{tables}: {counted}.")


def _print_violations(result: StepResult) -> None:
    for found in result.expectations:
        if not found.passed:
            print_line(f"[yellow]{result.name}[/]: {found.violated_text}")


def _print_event(event: Event) -> None:
    from sololakehouse.pipelines.events import StepEnded

    if isinstance(event, StepEnded) and event.result.state == "not selected":
        return
    try:
        click.echo(json.dumps(event_as_json(event)))
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def event_as_json(event: Event) -> dict[str, Any]:
    """Write an event as `docs/pipelines.md` describes it."""
    from sololakehouse.pipelines.events import RunEnded, RunStarted, StepStarted

    at = {"at": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    if isinstance(event, RunStarted):
        about = {"run_id": event.run_id, "at_once": event.at_once}
        return {"event": "run_started", **at, **about, "steps": [step_row(s) for s in event.steps]}
    if isinstance(event, StepStarted):
        return {"event": "step_started", **at, "step": event.step.name}
    if isinstance(event, RunEnded):
        tables = [result_row(result) for result in event.results if _is_shown(result)]
        return {"event": "run_finished", **at, "state": event.state, "tables": tables}
    return _step_ended(event.result, at)


def _step_ended(result: StepResult, at: dict[str, Any]) -> dict[str, Any]:
    seconds = {"seconds": round(result.seconds, 3)}
    if result.state == "failed":
        place = str(result.step.node.declaration.place)
        error = {"error": str(result.error), "place": place}
        return {"event": "step_failed", **at, "step": result.name, **error, **seconds}
    if result.state == "skipped":
        causes = list(result.causes)
        return {"event": "step_skipped", **at, "step": result.name, "causes": causes}
    if result.state == "stopped":
        return {"event": "step_stopped", **at, "step": result.name, **seconds}
    snapshot = result.snapshot
    written = snapshot.record if snapshot and result.state == "computed" else None
    return {
        "event": "step_finished",
        **at,
        "step": result.name,
        "state": result.state,
        "reason": result.reason,
        "version": snapshot.version if snapshot else None,
        "rows": snapshot.rows if snapshot else None,
        "rows_written": written.rows_written if written else None,
        **seconds,
        "expectations": [found.model_dump() for found in result.expectations],
    }


def step_row(step: Step) -> dict[str, Any]:
    """Describe a planned step in one row."""
    row = {
        "table": step.name,
        "state": step.state,
        "reason": step.reason,
        "reads": ", ".join(step.tables),
    }
    return row | ({"redefinition": step.redefinition.as_dict()} if step.redefinition else {})


def result_row(result: StepResult) -> dict[str, Any]:
    """Describe what became of a step in one row."""
    snapshot = result.snapshot
    return {
        "table": result.name,
        "state": result.state,
        "reason": result.reason,
        "version": snapshot.version if snapshot else None,
        "rows": snapshot.rows if snapshot else None,
        "violations": result.violations,
        "seconds": round(result.seconds, 2),
    }
