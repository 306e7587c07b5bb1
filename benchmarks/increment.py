"""What one month more costs, beside computing the whole year: `slh run` of the reference project.

`python benchmarks/increment.py [ROUNDS]`. Eleven months are ingested and computed, then December is
ingested, then `slh run` computes what December changes. Beside it: the whole year from nothing, and
a run with nothing to do. Each is a process of its own, start-up included; seconds on the clock and
of CPU, medians of ROUNDS (5).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Measured, measured
from pipeline import EXAMPLE, SLH, WRITTEN

LAST = "*/*2013-12.csv"


def call(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def eleven_months(folder: Path) -> None:
    """Make a project of which eleven months are computed, and the twelfth is only ingested."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*WRITTEN))
    call(folder, sys.executable, "provider.py")
    late = folder.parent / "late"
    for file in (folder / "landing").glob(LAST):
        (late / file.parent.name).mkdir(parents=True, exist_ok=True)
        file.rename(late / file.parent.name / file.name)
    call(folder, SLH, "ingest", "--json")
    call(folder, SLH, "run", "--json")
    for file in late.glob("*/*"):
        shutil.copy(file, folder / "landing" / file.parent.name)
    call(folder, SLH, "ingest", "--json")


def runs(folder: Path, rounds: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {"one month more": [], "nothing to do": [], "the year": []}
    for number in range(rounds):
        copy = folder.parent / f"copy{number}"
        shutil.copytree(folder, copy, copy_function=os.link)
        for name in ("one month more", "nothing to do"):
            found[name].append(measured([SLH, "run", "--json"], copy))
        for schema in ("silver", "gold", "features"):
            shutil.rmtree(copy / "warehouse" / schema)
        found["the year"].append(measured([SLH, "run", "--json"], copy))
        shutil.rmtree(copy)
    return found


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "project"
        eleven_months(folder)
        found = runs(folder, rounds)
    for name, measures in found.items():
        seconds = statistics.median(one.seconds for one in measures)
        busy = statistics.median(one.cpu_seconds for one in measures)
        print(f"{name:<16}{seconds:>7.2f} s{busy:>8.2f} s CPU")
    pairs = list(zip(found["one month more"], found["the year"], strict=True))
    print(f"by time: {statistics.median(a.seconds / b.seconds for a, b in pairs):.0%}")
    print(f"by CPU:  {statistics.median(a.cpu_seconds / b.cpu_seconds for a, b in pairs):.0%}")


if __name__ == "__main__":
    main()
