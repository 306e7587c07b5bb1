"""What happens in a run, as events.

One stream of events feeds whoever wants to know: the tree in the terminal, plain lines, `--json`,
the run log and OpenLineage. Listeners are called one after the other, in one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sololakehouse.errors import SoloLakehouseError
from sololakehouse.lake import Snapshot
from sololakehouse.pipelines.plan import Step
from sololakehouse.provenance import ExpectationResult

StepState = Literal[
    "computed",
    "up to date",
    "view",
    "not selected",
    "failed",
    "skipped",
    "stopped",
    "not begun",
]
RunState = Literal["completed", "failed", "stopped"]


@dataclass(frozen=True)
class StepResult:
    """What became of a step.

    Attributes
    ----------
    state
        `skipped`: something that it reads failed. `stopped`: it was at work when the person
        stopped the run. `not begun`: it was not yet.
    snapshot
        The step's table as it is now; None if the step failed, or makes none.
    seconds
        Wall-clock time.
    causes
        The failed steps because of which this one was skipped.
    """

    step: Step
    state: StepState
    snapshot: Snapshot | None = None
    seconds: float = 0.0
    expectations: tuple[ExpectationResult, ...] = ()
    error: SoloLakehouseError | None = None
    causes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The table or view that the step makes."""
        return self.step.name

    @property
    def violations(self) -> int:
        """Violations of all expectations together."""
        return sum(found.violations for found in self.expectations)

    @property
    def reason(self) -> str:
        """Why the step was computed or not, or why it failed."""
        if self.error is not None:
            return str(self.error)
        if self.state == "skipped":
            return f"{', '.join(self.causes)} failed"
        if self.state == "stopped":
            return "Stopped by the person."
        return self.step.reason


@dataclass(frozen=True)
class RunStarted:
    """The plan is made, and steps are about to begin; `at_once` of them at most side by side."""

    at: datetime
    run_id: str
    steps: tuple[Step, ...]
    at_once: int


@dataclass(frozen=True)
class StepStarted:
    """A table or view is being computed."""

    at: datetime
    step: Step


@dataclass(frozen=True)
class StepEnded:
    """A step has come to its end; one that had nothing to do ends without having started."""

    at: datetime
    result: StepResult


@dataclass(frozen=True)
class RunEnded:
    """Nothing is at work any more; the results are in the order of the plan."""

    at: datetime
    state: RunState
    results: tuple[StepResult, ...]


Event = RunStarted | StepStarted | StepEnded | RunEnded
Listener = Callable[[Event], None]


def unheard(_: Event) -> None:
    """Listen to nothing."""
