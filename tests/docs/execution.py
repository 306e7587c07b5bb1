"""Executing a page: its blocks in their order, in one folder, as a reader would type them."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.docs.outputs import difference, lines_of, matches, without_exit_code
from tests.docs.pages import ROOT, Block, Page

LONGEST_SECONDS = 180
TRACEBACK = "Traceback (most recent call last):"
_PYTHON_SESSION = Path(__file__).with_name("python_session.py")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SETTINGS = {
    "COLUMNS": "100",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_PAGER": "cat",
    "LANG": "C.UTF-8",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "TERM": "dumb",
    "TZ": "UTC",
}


@dataclass(frozen=True)
class Shown:
    """One command or block that was executed: what the page shows of it, and what it printed.

    `first` and `last` are the lines of the page that hold the shown output, counted from 1; none
    if `last` is before `first`.
    """

    page: Page
    block: Block
    command: str
    line: int
    first: int
    last: int
    expected: str
    got: str
    ended_well: bool
    seconds: float

    @property
    def is_right(self) -> bool:
        expected, wanted_code = without_exit_code(self.expected)
        got, code = without_exit_code(self.got)
        if code != wanted_code or not matches(expected, got):
            return False
        return self.ended_well or self.shows_the_failure

    @property
    def shows_the_failure(self) -> bool:
        """Whether the page itself says that the command or the block fails."""
        if self.block.language == "python":
            return lines_of(self.expected)[:1] == [TRACEBACK]
        return without_exit_code(self.expected)[1] != 0

    def __str__(self) -> str:
        told = difference(self.expected, self.got)
        command = self.command.rstrip().replace("\n", "\n    ")
        if not told:
            told = f"The page must begin what fails with {TRACEBACK!r} or end it with '[exit N]'."
        return f"{self.page.name}:{self.line}\n    {command}\n{told}"


def execute(page: Page, folder: Path, longest: float = LONGEST_SECONDS) -> list[Shown]:
    """Execute all blocks of a page in a folder.

    Raises
    ------
    TimeoutError
        A command or block took longer than `longest` seconds; it was stopped.
    """
    with _session(page, folder, longest) as session:
        return [shown for block in page.blocks for shown in session.execute(block)]


@contextmanager
def _session(page: Page, folder: Path, longest: float) -> Iterator[_Session]:
    with tempfile.TemporaryDirectory() as beside:
        session = _Session(page, folder, Path(beside), longest)
        try:
            yield session
        finally:
            session.close()


class _Session:
    """The shell and the Python process of one page; both are in the same folder."""

    def __init__(self, page: Page, folder: Path, beside: Path, longest: float) -> None:
        self._page = page
        self._folder = folder
        self._beside = beside
        self._longest = longest
        self._python: _Python | None = None
        self._left: list[int] = []
        (beside / "exports").touch()

    def close(self) -> None:
        """Stop the Python process and what commands left running."""
        if self._python is not None:
            self._python.close()
        for group in self._left:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def execute(self, block: Block) -> Iterator[Shown]:
        if block.marker in ("file", "append"):
            self._write(block)
        elif not block.is_executed:
            return
        elif block.language == "console":
            yield from self._console(block)
        elif block.language == "sql":
            command = f"slh query {shlex.quote(block.content.strip())}"
            yield self._shown(block, block.content, *self._timed_shell(command))
        else:
            yield self._shown(block, block.content, *self._timed_python(block))

    def _write(self, block: Block) -> None:
        target = self._folder / block.argument
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a" if block.marker == "append" else "w", encoding="utf-8") as file:
            file.write(block.content)

    def _console(self, block: Block) -> Iterator[Shown]:
        for line, command, first, last, expected in console_parts(block):
            got, ended_well, seconds = self._timed_shell(command)
            yield Shown(
                self._page,
                block,
                f"$ {command}",
                line,
                first,
                last,
                expected,
                got,
                ended_well,
                seconds,
            )

    def _shown(
        self, block: Block, command: str, got: str, ended_well: bool, seconds: float
    ) -> Shown:
        output = block.output
        first, last = (output.line + 1, output.end - 1) if output else (0, -1)
        expected = output.content if output else ""
        return Shown(
            self._page,
            block,
            command,
            block.line,
            first,
            last,
            expected,
            got,
            ended_well,
            seconds,
        )

    def _timed_shell(self, command: str) -> tuple[str, bool, float]:
        began = time.perf_counter()
        output, code = self._shell(command)
        text = _COLOURS.sub("", output)
        if code:
            text = f"{text.rstrip()}\n[exit {code}]".lstrip("\n")
        return text, code == 0, time.perf_counter() - began

    def _shell(self, command: str) -> tuple[str, int]:
        exports, place = self._beside / "exports", self._beside / "folder"
        before = f"source {exports}; trap 'pwd > {place}; export -p > {exports}' EXIT"
        with (self._beside / "output").open("w+b") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"{before}\n{command}\n"],
                cwd=self._folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(self._longest)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise TimeoutError(f"{self._page.name}: {command!r} did not end.") from error
            self._remember_what_runs_on(process.pid)
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
        self._folder = Path(place.read_text("utf-8").rstrip("\n"))
        return said, code

    def _remember_what_runs_on(self, group: int) -> None:
        # As long as a group lives, its number is given to nobody else.
        with suppress(ProcessLookupError):
            os.killpg(group, 0)
            self._left.append(group)

    def _timed_python(self, block: Block) -> tuple[str, bool, float]:
        began = time.perf_counter()
        if self._python is None:
            self._python = _Python(self._folder, self._beside / "python")
        request = {
            "page": str(self._page.path.resolve()),
            "line": block.line,
            "code": block.content,
            "folder": str(self._folder),
        }
        try:
            got, ended_well = self._python.run(request, self._longest)
        except TimeoutError as error:
            raise TimeoutError(f"{self._page.name}:{block.line}: {error}") from error
        return _COLOURS.sub("", got), ended_well, time.perf_counter() - began


class _Python:
    """The Python process of a page."""

    def __init__(self, folder: Path, output: Path) -> None:
        answers, told = os.pipe()
        self._answers = os.fdopen(answers)
        self._output = output.open("w+b")
        self._read = 0
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(_PYTHON_SESSION), str(told)],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[told],
            start_new_session=True,
            text=True,
        )
        os.close(told)

    def run(self, request: dict[str, object], longest: float) -> tuple[str, bool]:
        """Run one block; returns what it printed, and whether it ended well."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        if not select.select([self._answers], [], [], longest)[0]:
            raise TimeoutError("the block did not end.")
        answer = self._answers.readline()
        self._output.seek(self._read)
        said = self._output.read()
        self._read += len(said)
        return said.decode("utf-8", "replace"), answer == "true\n"

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._answers.close()
        self._output.close()


def console_parts(block: Block) -> Iterator[tuple[int, str, int, int, str]]:
    """Give the commands of a console block.

    For each its line, the command, the first and the last line of its output, and the output.
    """
    lines = block.content.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        more = start + 1
        while more < end and (lines[more].startswith("> ") or lines[more] == ">"):
            more += 1
        command = "\n".join([lines[start][2:], *(line[2:] for line in lines[start + 1 : more])])
        line = block.line + 1
        yield line + start, command, line + more, line + end - 1, "\n".join(lines[more:end])


def environment() -> dict[str, str]:
    """Return the environment of a page: `slh` and `python` of these tests, and no colours."""
    ours = ("SOLOLAKEHOUSE_", "MLFLOW_", "GIT_", "PYTEST_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", "")])
    return inherited | _SETTINGS | {"PATH": path, "PYTHONPATH": str(ROOT / "src")}
