"""Commands that pages name without executing them exist, with their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sololakehouse.cli import slh
from tests.docs.pages import DOCS, ROOT, unexecuted_blocks

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
MENTION = re.compile(r"`(slh [^`]+)`")
WORDS_OF_A_SHELL = ("|", "||", "&&", ">", "<", ";", "&")


def commands_in(page: Path) -> Iterator[str]:
    """Give what a page types after `slh`: in its blocks of commands, and between back-quotes."""
    for block in unexecuted_blocks(page)[1]:
        if block.language in ("sh", "bash", "console"):
            text = block.content.replace("\\\n", " ")
            yield from re.findall(r"\bslh (?!\d)([a-z][^\n]*)", text)
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for mention in MENTION.findall(prose):
        yield mention.removeprefix("slh ").replace("\n", " ")


def mistake_in(typed: str) -> str | None:
    """Say which command or option of what was typed does not exist; None if all do."""
    try:
        words = shlex.split(typed, comments=True)
    except ValueError:
        words = typed.split()
    command: click.Command = slh
    for word in words:
        if word in WORDS_OF_A_SHELL or word.endswith(";"):
            return None
        if word.startswith("-"):
            known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
            if word.partition("=")[0] not in known | {"--help", "-h"}:
                return f"slh {typed}: {command.name} has no option {word}"
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return f"slh {typed}: no command {word!r}"
            command = inner
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_the_commands_of_a_page_exist(page):
    assert [mistake for typed in commands_in(page) if (mistake := mistake_in(typed))] == []


def test_pages_name_many_commands():
    assert sum(1 for page in PAGES for _ in commands_in(page)) > 100


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("tables --all   # a comment", None),
        ("lease add silver.flights@v1 --why 'a report'", None),
        ("drift x --json || mail -s y", None),
        ("tabels", "no command 'tabels'"),
        ("lease put x", "no command 'put'"),
        ("tables --al", "tables has no option --al"),
        ("run --select=x --never", "run has no option --never"),
    ],
)
def test_what_does_not_exist_is_told(typed, said):
    found = mistake_in(typed)
    assert found is None if said is None else said in str(found)
