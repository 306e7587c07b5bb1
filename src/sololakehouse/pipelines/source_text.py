"""The text of a query as it was written, without comments and docstrings.

A Python function's text has with it what it refers to in the project: constants with their values,
helpers, classes and modules, each once and before what uses it.
"""

from __future__ import annotations

import ast
import inspect
import re
import tokenize
from collections.abc import Iterator
from dataclasses import is_dataclass
from io import StringIO
from pathlib import Path
from pprint import pformat
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any

from sololakehouse.pipelines.function_form import is_of_project, module_of, names_used
from sololakehouse.quality import Query

SQL_TEXT = "__sql__"
_QUOTED_OR_COMMENT = re.compile(
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)|--[^\n]*|/\*.*?\*/""", re.DOTALL
)
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_WIDTH, _MOST_LINES = 88, 40


def source_text(query: Query) -> str:
    """Return the text of a flow's query: of SQL, or of a Python function."""
    function = inspect.unwrap(query)
    sql = getattr(function, SQL_TEXT, None)
    lines = _sql_lines(sql) if sql is not None else _Sources().of(function)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _sql_lines(text: str) -> list[str]:
    return _QUOTED_OR_COMMENT.sub(lambda found: found[1] or "", text).split("\n")


class _Sources:
    """Gives the text of functions and of what they refer to, each once."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def of(self, function: Any) -> Iterator[str]:
        """Give a flow's function; what its decorators say is not part of the query."""
        if isinstance(function, FunctionType):
            yield from self._referred(function)
            yield from _lines(function, decorated=False)

    def _of_name(self, name: str, value: Any) -> Iterator[str]:
        used = _wrapped(value)
        if _is_constant(value):
            yield from _written(name, value)
        elif id(used) in self._given:
            return
        elif isinstance(used, ModuleType) and is_of_project(used):
            self._given.add(id(used))
            yield f"module {name}"
            yield from _lines(used)
        elif isinstance(used, FunctionType | type) and _is_of_project(used):
            self._given.add(id(used))
            if isinstance(used, FunctionType):
                yield from self._referred(used)
            yield from _lines(used)

    def _referred(self, function: FunctionType) -> Iterator[str]:
        code, known = function.__code__, function.__globals__
        for name in sorted(names_used(code) & known.keys()):
            yield from self._of_name(name, known[name])
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            yield from self._of_name(name, _content(cell))


def _wrapped(value: Any) -> Any:
    """Return the function inside a decorated one, or inside one that Spark calls."""
    unwrapped = inspect.unwrap(value) if callable(value) else value
    return getattr(unwrapped, "func", unwrapped)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return ...


def _is_of_project(value: Any) -> bool:
    module = module_of(value)
    return module is None or is_of_project(module)


def _is_constant(value: Any) -> bool:
    if is_dataclass(value):
        return not isinstance(value, type)
    if isinstance(value, dict):
        return all(_is_constant(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_constant(part) for part in value)
    return isinstance(value, _PLAIN)


def _written(name: str, value: Any) -> list[str]:
    ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
    first, *others = pformat(ordered, width=_WIDTH, sort_dicts=False).split("\n")
    lines = [f"{name} = {first}", *others]
    return lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], "..."]


def _lines(value: Any, *, decorated: bool = True) -> list[str]:
    source = _source(value)
    lines = source.split("\n")
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError):  # part of a statement, as of a lambda
        return lines
    for token in tokens:
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    for first, last in _docstrings(tree):
        lines[first - 1 : last] = [""] * (last - first + 1)
    return lines if decorated else lines[tree.body[0].lineno - 1 :]


def _source(value: Any) -> str:
    try:
        if isinstance(value, ModuleType):
            return Path(str(value.__file__)).read_text("utf-8")
        return dedent(inspect.getsource(value))
    except (OSError, TypeError, UnicodeDecodeError):
        return f"{getattr(value, '__qualname__', value)}: its source is not there"


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        said = node.body[0] if node.body else None
        begins = getattr(node, "lineno", 0)
        if ast.get_docstring(node) is not None and said is not None and said.lineno > begins:
            yield said.lineno, said.end_lineno or said.lineno
