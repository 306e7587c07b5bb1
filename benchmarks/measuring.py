"""What all benchmarks measure of a command: seconds, seconds of CPU, peak memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

# Commands are measured as a person has them: with modules that Python has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
MEGABYTE = 1e6
_SAMPLING_SECONDS = 0.25


@dataclass(frozen=True)
class Measured:
    """Seconds on the clock, seconds of CPU of all processes, and peak memory in MB.

    Memory is the highest sum, over the process and its children, of the proportional set size,
    sampled four times a second; 0 if it was not looked at.
    """

    seconds: float
    cpu_seconds: float
    peak: float


def measured(command: Sequence[str], folder: Path, *, memory: bool = True) -> Measured:
    """Run a command in a folder, quietly; a failure ends the benchmark.

    To look at memory stops a process for a moment: a join of three seconds takes half a second
    more.
    """
    began, busy = time.perf_counter(), _cpu_seconds()
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    peak = 0.0
    while (status := _waited(process)) is None:
        peak = max(peak, _memory(process)) if memory else 0.0
    if status:
        sys.exit(f"{' '.join(command)[:200]} ended with {status}")
    return Measured(time.perf_counter() - began, _cpu_seconds() - busy, peak / MEGABYTE)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _waited(process: psutil.Popen) -> int | None:
    try:
        return process.wait(timeout=_SAMPLING_SECONDS)
    except psutil.TimeoutExpired:
        return None


def _memory(process: psutil.Process) -> float:
    try:
        processes = (process, *process.children(recursive=True))
        return float(sum(one.memory_full_info().pss for one in processes))
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0.0
