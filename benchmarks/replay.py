"""Replay of the reference project: eight cutoffs against one full run.

`python benchmarks/replay.py [--cutoffs 8] [--rounds 3]`. The full run computes all fourteen tables
from bronze, `slh run`; the replay is `slh replay`, with all comparisons. Both are whole commands
from a cold start, in turns. Memory is the highest sum, over all processes, of the proportional set
size (PSS).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Measured, measured

EXAMPLE = Path(__file__).parent.parent / "examples" / "nyc_flights"
WRITTEN = ("landing", "warehouse", "mlflow.db", "mlartifacts", "__pycache__", ".pipeline-storage")
SLH = str(Path(sys.executable).parent / "slh")


def ingested(folder: Path) -> Path:
    """Make a project whose landing files are in bronze, and nothing else is computed."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*WRITTEN))
    for command in ([sys.executable, "provider.py"], [SLH, "ingest", "--json"]):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(folder / "warehouse", folder / "bronze-only", copy_function=os.link)
    return folder


def full_run(folder: Path) -> Measured:
    shutil.rmtree(folder / "warehouse")
    shutil.copytree(folder / "bronze-only", folder / "warehouse", copy_function=os.link)
    return measured([SLH, "run", "--json"], folder)


def replay(folder: Path, cutoffs: int, mode: str) -> Measured:
    return measured([SLH, "replay", "--json", "--cutoffs", str(cutoffs), "--mode", mode], folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cutoffs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", default="truncate")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = ingested(Path(scratch) / "nyc_flights")
        ratios = []
        for _ in range(asked.rounds):
            runs = {
                "slh run": full_run(folder),
                "slh replay": replay(folder, asked.cutoffs, asked.mode),
            }
            for name, one in runs.items():
                said = f"{one.seconds:>8.1f} s{one.cpu_seconds:>8.1f} s CPU{one.peak:>8,.0f} MB"
                print(f"  {name:<12}{said}", flush=True)
            ratios.append(runs["slh replay"].seconds / runs["slh run"].seconds)
        print(f"{asked.cutoffs} cutoffs take {statistics.median(ratios):.1f} full runs")


if __name__ == "__main__":
    main()
