"""Which step may begin next, and how many of them at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from sololakehouse.pipelines.plan import Step

STEP_BYTES = 2 * 2**30
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


class Schedule:
    """Gives the steps of a run one by one, each when all that it reads has ended.

    Of several steps, one that has nothing to do comes first, then the one with the longest chain
    of steps behind it, then the first in the order of the plan.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = {step.name: step for step in steps}
        reads = {step.name: [n for n in step.node.reads if n in self._steps] for step in steps}
        behind = _chains(steps, reads)
        self._rank = {
            step.name: (works(step), -behind[step.name], place) for place, step in enumerate(steps)
        }
        self._reads = reads
        self._sorter = TopologicalSorter(reads)
        self._sorter.prepare()
        self._ready: list[str] = []
        self._causes: dict[str, tuple[str, ...]] = {}

    @property
    def is_active(self) -> bool:
        """Whether a step has not ended."""
        return self._sorter.is_active()

    def next(self) -> Step | None:
        """Return the step that should begin now; None if all others wait for running ones."""
        self._ready = sorted([*self._ready, *self._sorter.get_ready()], key=self._rank.__getitem__)
        return self._steps[self._ready[0]] if self._ready else None

    def begun(self, step: Step) -> None:
        """Take a step out of those that may begin."""
        self._ready.remove(step.name)

    def ended(self, step: Step) -> None:
        """Let what reads the step begin."""
        self._sorter.done(step.name)

    def failed(self, step: Step, causes: tuple[str, ...] = ()) -> None:
        """Let what reads the step be skipped; `causes` are the steps that failed, or this one."""
        self._causes[step.name] = causes or (step.name,)
        self._sorter.done(step.name)

    def causes(self, step: Step) -> tuple[str, ...]:
        """Return the failed steps because of which a step cannot be computed, sorted."""
        if not works(step):
            return ()
        found = {cause for read in self._reads[step.name] for cause in self._causes.get(read, ())}
        return tuple(sorted(found))


def works(step: Step) -> bool:
    """Whether a step has something to do."""
    return step.state == "run" or (step.state == "view" and not step.idle)


def _chains(steps: Sequence[Step], reads: dict[str, list[str]]) -> dict[str, int]:
    behind = dict.fromkeys(reads, 0)
    for step in reversed(steps):
        for read in reads[step.name]:
            behind[read] = max(behind[read], behind[step.name] + (step.state == "run"))
    return behind


@dataclass(frozen=True)
class Capacity:
    """How many steps may run side by side.

    Attributes
    ----------
    step_bytes
        Memory that must be free before another step joins running ones; None: it is not asked.
    """

    at_once: int
    step_bytes: int | None = None

    @classmethod
    def of(cls, at_once: int | None) -> Capacity:
        """Take the person's number, or else one step per core while 2 GB of memory are free."""
        return cls(usable_cores(), STEP_BYTES) if at_once is None else cls(at_once)

    def admits(self, running: int) -> bool:
        """Whether one more step may begin beside the running ones; the first one always may."""
        if running == 0:
            return True
        if running >= self.at_once:
            return False
        free = None if self.step_bytes is None else free_memory()
        return free is None or self.step_bytes is None or free >= self.step_bytes


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Return the bytes that this process can still take without swapping; None: not known.

    The limit of a Linux control group (a container) counts where it is tighter than the machine.
    """
    machine = _available(meminfo)
    container = _left_in_group(group)
    known = [free for free in (machine, container) if free is not None]
    return min(known) if known else None


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text("ascii").splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines if ":" in line)
    available = sizes.get("MemAvailable")
    return int(available.split()[0]) * 1024 if available else None


def _left_in_group(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text("ascii").strip()
        used = int((group / "memory.current").read_text("ascii"))
        lines = (group / "memory.stat").read_text("ascii").splitlines()
    except OSError:
        return None
    if limit == "max":
        return None
    cached = dict(line.split() for line in lines).get("inactive_file", "0")
    return max(int(limit) - used + int(cached), 0)
