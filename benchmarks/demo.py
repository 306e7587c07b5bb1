"""The least figures of the demo: its time and memory, start-up times, and the installed size.

Run `make bench`. The demo runs in a copy of the reference project, so nothing in the repository
changes. Start-up times are medians of 9 runs; memory is the highest sum, over the process and its
children, of the proportional set size (PSS), sampled four times a second.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution, requires
from pathlib import Path

import psutil
from packaging.requirements import Requirement

EXAMPLE = Path(__file__).parent.parent / "examples" / "nyc_flights"
WRITTEN = ("landing", "warehouse", "mlflow.db", "mlartifacts", "__pycache__")
SLH = str(Path(sys.executable).parent / "slh")
REPEATS = 9
MEGABYTE = 1e6


def measured(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in MB."""
    began = time.perf_counter()
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    peak = 0.0
    while (status := waited(process)) is None:
        peak = max(peak, memory(process))
    if status:
        sys.exit(f"{' '.join(command)} ended with {status}")
    return time.perf_counter() - began, peak / MEGABYTE


def waited(process: psutil.Popen) -> int | None:
    """Wait a quarter of a second; return the exit status, or `None` while the process runs."""
    try:
        return process.wait(timeout=0.25)
    except psutil.TimeoutExpired:
        return None


def memory(process: psutil.Process) -> float:
    """Return the memory of a process and its children in bytes."""
    total = 0.0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return total
    return total


def median_seconds(command: Sequence[str], folder: Path) -> float:
    """Return the median time of a command after one warm-up."""
    times = [measured(command, folder)[0] for _ in range(REPEATS + 1)]
    return statistics.median(times[1:])


def runtime_distributions(name: str, seen: set[str]) -> Iterator[str]:
    """Give the distributions that a plain installation of `name` brings, itself included."""
    key = name.lower().replace("_", "-").replace(".", "-")
    if key in seen:
        return
    seen.add(key)
    yield name
    for text in requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from runtime_distributions(requirement.name, seen)


def size(name: str) -> float:
    """Return the size of a distribution's files in MB, without bytecode."""
    files = distribution(name).files or []
    paths = (Path(str(file.locate())) for file in files if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file()) / MEGABYTE


def print_sizes() -> None:
    sizes = {name: size(name) for name in runtime_distributions("sololakehouse", set())}
    print(f"\ninstalled, without bytecode: {sum(sizes.values()):,.0f} MB")
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:12]:
        print(f"  {name:<24}{sizes[name]:>6,.0f} MB")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / EXAMPLE.name
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*WRITTEN))
        first, first_peak = measured([SLH, "demo"], folder)
        again = [measured([SLH, "demo"], folder) for _ in range(3)]
        print(f"slh demo, first   {first:6.1f} s  {first_peak:7,.0f} MB")
        again_seconds = statistics.median(seconds for seconds, _ in again)
        print(
            f"slh demo, again   {again_seconds:6.1f} s  {max(peak for _, peak in again):7,.0f} MB"
        )
        for arguments in (["--help"], ["tables"]):
            seconds = median_seconds([SLH, *arguments], folder)
            print(f"slh {arguments[0]:<13} {seconds:6.2f} s")
    print_sizes()


if __name__ == "__main__":
    main()
