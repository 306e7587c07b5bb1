"""`slh` as a person calls it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sololakehouse.cli import main


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def slh(capsys, monkeypatch) -> Callable[..., Said]:
    """Call `slh` with arguments in a folder, inside this process."""

    def call(*arguments: str, folder: Path) -> Said:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["slh", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def slh_process() -> Callable[..., Said]:
    """Call `slh` with arguments in a folder, as a process of its own."""

    def call(*arguments: str, folder: Path) -> Said:
        command = [str(Path(sys.executable).parent / "slh"), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return Said(done.returncode, done.stdout, done.stderr)

    return call
