"""The reference project under test: a copy of it, and what a demo made there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sololakehouse.lake import Lakehouse

EXAMPLE = Path(__file__).parent.parent / "examples" / "nyc_flights"
WRITTEN = ("landing", "warehouse", "mlflow.db", "mlartifacts", "__pycache__")
SLH = str(Path(sys.executable).parent / "slh")


@dataclass(frozen=True)
class Demo:
    """A folder in which `slh demo` has run, and its summary."""

    folder: Path
    summary: dict[str, Any]

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse.open(self.folder)


def run_demo(folder: Path) -> Demo:
    """Run `slh demo` in a folder as a person would."""
    done = subprocess.run(
        [SLH, "demo", str(folder), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Demo(folder, json.loads(done.stdout))


def fresh_copy(folder: Path) -> Path:
    """Copy the reference project without what a demo writes."""
    return Path(shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*WRITTEN)))
