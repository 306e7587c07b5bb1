"""Pages of the documentation as data: their code blocks, and what each is there for."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXECUTED = ("console", "python", "sql")
MARKERS = ("project", "file", "append", "not run")
_COMMENT = re.compile(r"\A<!--\s*([a-z ]+?)\s*:\s*(.*?)\s*-->\s*\Z", re.DOTALL)
# These bring code into a page where nobody executes it.
_HIDING_DIRECTIVES = ("{code", "{literalinclude", "{eval-rst", "{sourcecode", "{doctest")


class PageError(Exception):
    """A page that does not keep to the format; the message names the line."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    `line` is that of the opening fence, counted from 1, and `end` that of the closing one.
    `marker` is the name of the comment right before it, with its `argument`; empty without one.
    """

    language: str
    content: str
    line: int
    end: int
    marker: str = ""
    argument: str = ""
    output: Block | None = None

    @property
    def is_executed(self) -> bool:
        return not self.marker and self.language in EXECUTED


@dataclass(frozen=True)
class Page:
    """A page, the project that it is executed in, and its blocks in their order.

    A `text` block that shows an output is no block of its own: it is the `output` of the block
    before it.
    """

    path: Path
    project: str | None
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        path = self.path.resolve()
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def read_page(path: Path) -> Page:
    """Read a page whose blocks are executed.

    Raises
    ------
    PageError
        A block that is neither executed nor marked, an unknown marker, no project.
    """
    project, blocks = _comments_and_fences(path)
    page = Page(path, project, tuple(_with_outputs(path, blocks)))
    for block in page.blocks:
        _check(path, block)
    if project is None and any(block.is_executed or block.marker != "not run" for block in blocks):
        raise PageError(f"{page.name}: it has code blocks, and no '<!-- project: ... -->'.")
    return page


def unexecuted_blocks(path: Path) -> tuple[str | None, list[Block]]:
    """Return the project that a page asks for, and its blocks, whatever they hold."""
    return _comments_and_fences(path)


def check_content(path: Path, block: Block) -> None:
    """Parse a block that is not executed, where its language has a parser.

    Raises
    ------
    PageError
        The block is not valid.
    """
    parsers = {"python": ast.parse, "json": json.loads, "toml": tomllib.loads}
    parsers |= {"yaml": lambda text: list(yaml.safe_load_all(text))}
    try:
        parsers.get(block.language, str)(block.content)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        raise PageError(f"{path}:{block.line}: this is no {block.language}: {error}") from error


def _comments_and_fences(path: Path) -> tuple[str | None, list[Block]]:
    tokens = MarkdownIt("commonmark").parse(path.read_text("utf-8"))
    project, blocks = None, []
    for before, token in zip([None, *tokens], tokens, strict=False):
        marker, argument = _marker(path, token)
        if marker == "project":
            if project is not None or blocks:
                raise PageError(f"{_place(path, token)}: the project is said once, at the top.")
            project = argument
        elif marker and not _stands_before_a_fence(tokens, token):
            raise PageError(f"{_place(path, token)}: '{marker}' must stand right before a block.")
        if token.type == "code_block":
            raise PageError(f"{_place(path, token)}: indented code; write it between ``` lines.")
        if token.type == "fence" and not _is_directive(path, token):
            blocks.append(_block(path, token, before))
    return project, blocks


def _stands_before_a_fence(tokens: list[Token], token: Token) -> bool:
    following = tokens[tokens.index(token) + 1 :]
    return bool(following) and following[0].type == "fence"


def _block(path: Path, token: Token, before: Token | None) -> Block:
    marker, argument = _marker(path, before) if before is not None else ("", "")
    assert token.map is not None
    first, last = token.map
    return Block(
        token.info.strip(),
        token.content,
        first + 1,
        last,
        "" if marker == "project" else marker,
        argument,
    )


def _marker(path: Path, token: Token) -> tuple[str, str]:
    found = _COMMENT.match(token.content) if token.type == "html_block" else None
    if found is None:
        return "", ""
    marker, argument = found.groups()
    if marker not in MARKERS:
        known = ", ".join(MARKERS)
        raise PageError(f"{_place(path, token)}: no marker {marker!r}. Markers: {known}.")
    if not argument:
        raise PageError(f"{_place(path, token)}: '{marker}:' says nothing.")
    return marker, argument


def _is_directive(path: Path, token: Token) -> bool:
    info = token.info.strip()
    if info.startswith(_HIDING_DIRECTIVES):
        raise PageError(
            f"{_place(path, token)}: {info} hides code from the tests; write ```python."
        )
    return info.startswith("{")


def _place(path: Path, token: Token) -> str:
    return f"{path}:{token.map[0] + 1 if token.map else 0}"


def _with_outputs(path: Path, blocks: list[Block]) -> list[Block]:
    kept: list[Block] = []
    for block in blocks:
        if block.language != "text" or block.marker:
            kept.append(block)
        elif kept and kept[-1].language in ("python", "sql") and kept[-1].is_executed:
            if kept[-1].output is not None:
                raise PageError(f"{path}:{block.line}: the second output of one block.")
            kept[-1] = replace(kept[-1], output=block)
        else:
            raise PageError(
                f"{path}:{block.line}: a text block is the output of the python or sql block "
                "before it. Mark it '<!-- not run: REASON -->' if it is something else."
            )
    return kept


def _check(path: Path, block: Block) -> None:
    place = f"{path}:{block.line}"
    if not block.marker and block.language not in EXECUTED:
        raise PageError(
            f"{place}: a block of {block.language or 'no language'!r} is not executed. Write "
            "console, python or sql, or mark it: '<!-- file: PATH -->', '<!-- not run: REASON -->'."
        )
    if block.language == "console" and block.is_executed and not block.content.startswith("$ "):
        raise PageError(f"{place}: a console block begins with a command: '$ slh tables'.")
    if block.marker in ("file", "append"):
        target = Path(block.argument)
        if target.is_absolute() or ".." in target.parts:
            raise PageError(f"{place}: {block.argument} is not inside of the project.")
    if block.marker:
        check_content(path, block)
