"""Make the leaky project, or its repair, from the reference project.

`python make.py FOLDER` copies `../nyc_flights` to a new folder and puts the files of `leaky/` on
top; `python make.py FOLDER --repaired` puts those of `repaired/` on top of both.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "nyc_flights"
WRITTEN = ("landing", "warehouse", "mlflow.db", "mlartifacts", "__pycache__")
EXPERIMENT = "experiments/flight_delay.yml"


def make(folder: Path, *, repaired: bool) -> None:
    """Copy the reference project, or what is there already, and put the other sources on top."""
    if not folder.exists():
        shutil.copytree(REFERENCE, folder, ignore=shutil.ignore_patterns(*WRITTEN))
    for layer in ("leaky", "repaired") if repaired else ("leaky",):
        shutil.copytree(HERE / layer, folder, dirs_exist_ok=True)
    config = folder / "lakehouse.yml"
    text = config.read_text("utf-8")
    config.write_text(text.replace(EXPERIMENT, "experiments/leaky.yml"), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repaired", action="store_true")
    asked = parser.parse_args()
    make(asked.folder, repaired=asked.repaired)


if __name__ == "__main__":
    main()
