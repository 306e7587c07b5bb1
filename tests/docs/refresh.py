"""Execute pages and write the outputs that differ into them.

    python -m tests.docs.refresh docs/concepts/medallion.md docs/start.md

Lines with `...` that still match stay as they are. Nothing is written with --check.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.docs.execution import Shown, execute
from tests.docs.outputs import kept
from tests.docs.pages import ROOT, Page, PageError, read_page
from tests.docs.projects import cached_reference, make_folder

_SLOW_SECONDS = 2.0


def refreshed(page: Page, steps: Sequence[Shown]) -> str:
    """Return the text of a page with the outputs that its steps printed.

    What is right already is left alone, to the letter.
    """
    lines = page.path.read_text("utf-8").split("\n")
    for step in reversed(steps):
        if not step.is_right:
            _write(lines, step)
    return "\n".join(lines)


def _write(lines: list[str], step: Shown) -> None:
    fence = lines[step.block.line - 1]
    indent = fence[: len(fence) - len(fence.lstrip())]
    new = [f"{indent}{line}".rstrip() for line in kept(step.expected, step.got).splitlines()]
    if step.block.language == "console" or step.block.output is not None:
        lines[step.first - 1 : step.last] = new
    elif new:
        end = step.block.end
        lines[end:end] = [f"{indent}```text", *new, f"{indent}```"]


def refresh(path: Path, *, check: bool = False) -> bool:
    """Execute one page and write it; returns whether it was right already."""
    page = read_page(path)
    with tempfile.TemporaryDirectory() as parent:
        steps = (
            execute(page, make_folder(page, Path(parent), cached_reference)) if page.blocks else []
        )
    for step in steps:
        _tell(step)
    wrong = [step for step in steps if not step.is_right]
    if wrong and not check:
        path.write_text(refreshed(page, steps), "utf-8")
    seconds = sum(step.seconds for step in steps)
    done = "as shown" if not wrong else "differ" if check else "written"
    print(f"{page.name}: {len(steps)} steps in {seconds:.1f} s, {len(wrong)} outputs {done}")
    return not wrong


def _tell(step: Shown) -> None:
    if not step.is_right:
        print(step)
        if not step.ended_well and not step.shows_the_failure:
            print("    IT FAILED, and the page did not say that it would.")
    if step.seconds > _SLOW_SECONDS:
        first = step.command.strip().splitlines()[0]
        print(f"{step.page.name}:{step.line}: {step.seconds:.1f} s: {first}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Refresh the pages that are named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.refresh", description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="Say what differs, write nothing.")
    asked = parser.parse_args(arguments)
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    try:
        right = [refresh(path, check=asked.check) for path in asked.pages]
    except (PageError, TimeoutError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(right) or not asked.check else 1


if __name__ == "__main__":
    sys.exit(main())
