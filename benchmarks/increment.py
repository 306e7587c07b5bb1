"""What one month more costs, beside computing the whole year: `slh run` of the reference project.

`python benchmarks/increment.py [ROUNDS]`. Eleven months are ingested and computed, then December is
ingested, then `slh run` computes what December changes. Beside it: the whole year from nothing, and
a run with nothing to do. Each is a process of its own: seconds on the clock and of CPU, start-up
included, and the seconds of its steps alone, one after the other. Medians of ROUNDS (5).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measuring import Measured, measured
from pipeline import EXAMPLE, SLH, WRITTEN

LAST = "*/*2013-12.csv"
Row = tuple[float, float, float]


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


def work(folder: Path) -> float:
    """Run the pipeline, one step after the other; return the seconds of its steps."""
    command = [SLH, "run", "--json", "--parallel", "1"]
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    events = [json.loads(line) for line in said.splitlines()]
    return sum(event["seconds"] for event in events if event["event"] == "step_finished")


def run_all(folder: Path) -> Measured:
    return measured([SLH, "run", "--json"], folder, memory=False)


def forget(folder: Path) -> None:
    for schema in ("silver", "gold", "features"):
        shutil.rmtree(folder / "warehouse" / schema)


def rounds_of(folder: Path, rounds: int) -> Iterator[tuple[Row, Row, Row]]:
    """Give, for each round, what a month more, nothing and the year cost."""
    for number in range(rounds):
        rows = []
        for copy in (folder.parent / f"clock{number}", folder.parent / f"steps{number}"):
            shutil.copytree(folder, copy, copy_function=os.link)
            costs = []
            for prepared in (None, None, forget):
                if prepared:
                    prepared(copy)
                clock = "clock" in copy.name
                costs.append(run_all(copy) if clock else work(copy))
            rows.append(costs)
            shutil.rmtree(copy)
        yield tuple(
            (clock.seconds, clock.cpu_seconds, steps) for clock, steps in zip(*rows, strict=True)
        )


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "project"
        eleven_months(folder)
        found = list(rounds_of(folder, rounds))
    print(f"{'':<16}{'seconds':>10}{'CPU':>10}{'steps':>10}")
    for index, name in enumerate(("one month more", "nothing to do", "the year")):
        medians = [statistics.median(one[index][kind] for one in found) for kind in range(3)]
        print(f"{name:<16}" + "".join(f"{median:>10.2f}" for median in medians))
    shares = [statistics.median(one[0][kind] / one[2][kind] for one in found) for kind in range(3)]
    print(f"{'share':<16}" + "".join(f"{share:>10.0%}" for share in shares))


if __name__ == "__main__":
    main()
