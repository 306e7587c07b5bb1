"""A person at a scratch project: commands, edits, and what the check says."""

from __future__ import annotations

import io
import json
import shlex
import shutil
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sololakehouse.cli import slh
from sololakehouse.errors import SoloLakehouseError
from tests.rain import STORE, empty_store


@dataclass(frozen=True)
class Desk:
    """A scratch project, and what a person does with it."""

    folder: Path

    @classmethod
    def start(cls, lesson: int | str, folder: Path) -> Desk:
        desk = cls(folder)
        desk.folder.mkdir()
        desk.slh(f"lesson start {lesson} .")
        (folder / STORE).write_bytes(empty_store())
        return desk

    def slh(self, *lines: str, code: int = 0) -> str:
        """Run commands as they are typed; each must end with the code."""
        said = ""
        for line in lines:
            ended, said = self._run(shlex.split(line))
            assert ended == code, said
        return said

    def _run(self, arguments: Sequence[str]) -> tuple[int, str]:
        said = io.StringIO()
        with chdir(self.folder), redirect_stdout(said), redirect_stderr(said):
            try:
                code = slh.main(list(arguments), standalone_mode=False)
            except SoloLakehouseError as error:
                return error.exit_code, f"{said.getvalue()}{error}"
        return int(code or 0), said.getvalue()

    def check(self) -> Answer:
        code, said = self._run(["lesson", "check", "--json"])
        answer = Answer(json.loads(said))
        assert code == (0 if answer.passed else 1)
        return answer

    def read(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        """Edit a file; the text must be there."""
        text = self.read(name)
        assert old in text
        self.write(name, text.replace(old, new))

    def copy(self, source: str, target: str) -> None:
        shutil.copy(self.folder / source, self.folder / target)

    def move(self, source: str, target: str) -> None:
        shutil.move(self.folder / source, self.folder / target)


@dataclass(frozen=True)
class Answer:
    """What `slh lesson check --json` said."""

    told: dict[str, Any]

    @property
    def passed(self) -> bool:
        return bool(self.told["passed"])

    @property
    def missing(self) -> list[str]:
        return [one["check"] for one in self.told["checks"] if not one["passed"]]

    @property
    def seen(self) -> list[dict[str, Any]]:
        return list(self.told["seen"])

    def found(self, check: str) -> str:
        """What was found by the check whose title begins so, with its next step."""
        (one,) = [one for one in self.told["checks"] if one["check"].startswith(check)]
        return f"{one['looked_at']}: {one['found']} {one['next_step'] or ''}"
