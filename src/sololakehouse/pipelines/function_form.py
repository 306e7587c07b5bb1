"""The normal form of a Python function: what it computes, not where it stands.

cloudpickle keeps file names and line numbers, so its bytes change with a comment, and it keeps what
was imported by name only, so they stay as they are if a helper in another file changes. The form is
made of the bytecode and of the values, functions, classes and project modules that it refers to.
"""

from __future__ import annotations

import ast
import hashlib
import pickle
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes)
_NO_CONTENT = {"__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__"}
_UNREADABLE = (
    pickle.PickleError,
    *(AttributeError, EOFError, ImportError, NotImplementedError, TypeError, ValueError),
)


def function_form(pickled: bytes) -> bytes:
    """Hash what a pickled function computes; comments, layout and docstrings do not count.

    This process has pickled it, so to unpickle it runs nothing that has not run already. Bytes that
    cannot be unpickled stand for themselves.
    """
    try:
        unpickled = pickle.loads(pickled)
    except _UNREADABLE:
        return pickled
    return form_of(unpickled)


def form_of(function: Any) -> bytes:
    """Hash what a function computes; comments, layout and docstrings do not count.

    Examples
    --------
    >>> def one(x): return x + 1  # a comment
    >>> def other(x):
    ...     "A docstring."
    ...     return x + 1
    >>> other.__qualname__ = "one"
    >>> form_of(one) == form_of(other)
    True
    """
    hasher = hashlib.blake2b(digest_size=16)
    for part in _Forms().of(function):
        hasher.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
    return hasher.digest()


class _Forms:
    """Gives objects as text, each once: what comes again is said by its number."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []

    def of(self, value: Any) -> Iterator[str]:
        if isinstance(value, _PLAIN):
            yield f"{type(value).__name__} {value!r}"
            return
        if id(value) in self._numbers:
            yield f"again {self._numbers[id(value)]}"
            return
        self._numbers[id(value)] = len(self._numbers)
        self._kept.append(value)
        yield type(value).__qualname__
        yield from self._content(value)

    def _content(self, value: Any) -> Iterator[str]:
        if isinstance(value, ModuleType):
            yield from self._module(value)
        elif isinstance(value, CodeType):
            yield from self._code(value, doc=None)
        elif isinstance(value, FunctionType | type):
            yield from self._named(value)
        elif isinstance(value, list | tuple):
            yield from self._all(value)
        elif isinstance(value, set | frozenset):
            yield from sorted("".join(_Forms().of(one)) for one in value)
        elif isinstance(value, dict):
            yield from self._all(part for pair in value.items() for part in pair)
        else:
            yield from self._reduced(value)

    def _all(self, values: Iterable[Any]) -> Iterator[str]:
        for count, value in enumerate(values):
            yield str(count)
            yield from self.of(value)

    def _reduced(self, value: Any) -> Iterator[str]:
        try:
            reduced = value.__reduce_ex__(4)
        except _UNREADABLE:
            yield repr(type(value))
            return
        if isinstance(reduced, str):
            yield reduced
            return
        for part in reduced:
            yield from self.of(list(part) if isinstance(part, Iterator) else part)

    def _module(self, module: ModuleType) -> Iterator[str]:
        yield module.__name__
        if not is_of_project(module):
            return
        yield _source_form(str(module.__file__))
        for value in list(vars(module).values()):
            used = module_of(value)
            if used is not None and is_of_project(used):
                yield from self.of(used)
        # What was imported by name may be a plain value, which does not tell where it is from.
        for used in _imported(module):
            if id(used) not in self._numbers and is_of_project(used):
                yield from self.of(used)

    def _named(self, value: Any) -> Iterator[str]:
        yield value.__qualname__
        module = module_of(value)
        if module is not None:
            yield from self.of(module)
        elif isinstance(value, type):
            yield from self._class(value)
        else:
            yield from self._function(value)

    def _function(self, function: FunctionType) -> Iterator[str]:
        yield from self._code(function.__code__, doc=function.__doc__)
        yield from self.of(function.__defaults__)
        yield from self.of(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            yield from self._cell(cell)
        known = function.__globals__
        for name in sorted(names_used(function.__code__) & known.keys()):
            yield name
            yield from self.of(known[name])

    def _cell(self, cell: Any) -> Iterator[str]:
        try:
            yield from self.of(cell.cell_contents)
        except ValueError:
            yield "empty"

    def _class(self, kind: type) -> Iterator[str]:
        yield from self.of(kind.__bases__)
        for name, value in sorted(vars(kind).items()):
            if name not in _NO_CONTENT:
                yield name
                yield from self.of(value)

    def _code(self, code: CodeType, doc: str | None) -> Iterator[str]:
        yield code.co_code.hex()
        yield code.co_exceptiontable.hex()
        yield f"{code.co_flags} {code.co_argcount} {code.co_posonlyargcount}"
        yield f"{code.co_kwonlyargcount} {code.co_names} {code.co_varnames}"
        yield f"{code.co_freevars} {code.co_cellvars}"
        for index, constant in enumerate(code.co_consts):
            is_doc = index == 0 and doc is not None and constant == doc
            yield from self.of(None if is_doc else constant)


def names_used(code: CodeType) -> set[str]:
    """Return the names that a function's code and the functions inside it take from outside."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*(names_used(one) for one in inner))


def module_of(value: Any) -> ModuleType | None:
    """Return the module from which a value can be imported; None if it has to be taken as it is."""
    if isinstance(value, ModuleType):
        return value
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    module = found
    for name in getattr(value, "__qualname__", "<none>").split("."):
        found = getattr(found, name, None)
    return module if found is value else None


def is_of_project(module: ModuleType) -> bool:
    """Whether a module is neither of the standard library nor of an installed package."""
    file = getattr(module, "__file__", None)
    return (
        bool(file)
        and not Path(str(file)).is_relative_to(sys.base_prefix)
        and not any(Path(str(file)).is_relative_to(folder) for folder in _library_folders())
    )


@cache
def _library_folders() -> tuple[str, ...]:
    return tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def _source_form(file: str) -> str:
    tree = _parsed(file)
    return file if tree is None else ast.dump(tree)


def _parsed(file: str) -> ast.Module | None:
    try:
        return ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _imported(module: ModuleType) -> Iterator[ModuleType]:
    """Give the modules from which a module of the project takes names when it is imported."""
    tree = _parsed(str(module.__file__))
    for node in tree.body if tree else ():
        if isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            found = sys.modules.get(resolve_name(name, module.__package__))
            if found is not None:
                yield found
