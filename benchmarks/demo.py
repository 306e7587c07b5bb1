"""The least figures of the demo: its time and memory, start-up times, and the installed size.

Run `make bench`. The demo runs in a copy of the reference project, so nothing in the repository
changes. Start-up times are medians of 9 runs; memory is the highest sum, over the process and its
children, of the proportional set size (PSS), sampled four times a second.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution, requires
from pathlib import Path

from measuring import MEGABYTE, measured
from packaging.requirements import Requirement

EXAMPLE = Path(__file__).parent.parent / "examples" / "nyc_flights"
WRITTEN = ("landing", "warehouse", "mlflow.db", "mlartifacts", "__pycache__")
SLH = str(Path(sys.executable).parent / "slh")
REPEATS = 9


def median_seconds(command: Sequence[str], folder: Path) -> float:
    """Return the median time of a command after one warm-up."""
    times = [measured(command, folder).seconds for _ in range(REPEATS + 1)]
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
        first = measured([SLH, "demo"], folder)
        again = [measured([SLH, "demo"], folder) for _ in range(3)]
        print(f"slh demo, first   {first.seconds:6.1f} s  {first.peak:7,.0f} MB")
        seconds = statistics.median(one.seconds for one in again)
        print(f"slh demo, again   {seconds:6.1f} s  {max(one.peak for one in again):7,.0f} MB")
        for arguments in (["--help"], ["tables"]):
            seconds = median_seconds([SLH, *arguments], folder)
            print(f"slh {arguments[0]:<13} {seconds:6.2f} s")
    print_sizes()


if __name__ == "__main__":
    main()
