"""The functions of a project: Python files in `functions/`, which compute features row by row.

A file stands alone: it imports the standard library and installed packages. So its text is all that
is needed to compute a feature again, and it is kept with every training set and model that uses it.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.config import Project
from sololakehouse.errors import FeatureFunctionError, NotFoundError
from sololakehouse.features.function import FeatureFunction
from sololakehouse.pipelines.function_form import form_of, is_of_project, module_of
from sololakehouse.provenance import fingerprint

if TYPE_CHECKING:
    import polars as pl

FOLDER = "functions"
KINDS: tuple[type, ...] = (bool, int, float, str, bytes, date, datetime)


@dataclass(frozen=True)
class Udf:
    """A function with its declared types.

    Attributes
    ----------
    name
        `file.function`.
    place
        File and line, for messages.
    parameters
        Parameter to type. Any value may be None, whether or not the annotation says so.
    required
        Parameters without a default.
    returns
        Type of the values that it gives; any of them may be None.
    """

    name: str
    function: types.FunctionType
    place: str
    parameters: Mapping[str, type]
    required: frozenset[str]
    returns: type

    @property
    def fingerprint(self) -> str:
        """Hash of what it computes: code, helpers, constants and types, not comments or layout."""
        declared = {name: kind.__name__ for name, kind in self.parameters.items()}
        return fingerprint(form_of(self.function).hex(), declared, self.returns.__name__)

    @property
    def dtype(self) -> pl.DataType:
        """The type of its column."""
        return dtype_of(self.returns)


def dtype_of(kind: type) -> pl.DataType:
    """Return the type of a column for a declared type."""
    import polars as pl

    kinds: Mapping[type, pl.DataType] = {
        bool: pl.Boolean(),
        int: pl.Int64(),
        float: pl.Float64(),
        str: pl.String(),
        bytes: pl.Binary(),
        date: pl.Date(),
        datetime: pl.Datetime("us", "UTC"),
    }
    return kinds[kind]


@dataclass(frozen=True)
class Functions:
    """The functions that a recipe uses.

    Attributes
    ----------
    sources
        The text of each file, by its name without `.py`.
    udfs
        Each function, by its `udf_name`.
    """

    sources: Mapping[str, str]
    udfs: Mapping[str, Udf]

    @classmethod
    def load(
        cls,
        project: Project,
        functions: Iterable[FeatureFunction],
        sources: Mapping[str, str] | None = None,
    ) -> Functions:
        """Execute the files of functions, each once.

        Parameters
        ----------
        sources
            Texts that a commit record keeps; files that are not among them are read from the
            project's folder.

        Raises
        ------
        NotFoundError
            There is no such file, or it has no such function.
        FeatureFunctionError
            A file fails or imports another file of the project, or a function declares no usable
            types.
        """
        wanted = {one.udf_name: one.file for one in functions}
        known = sources or {}
        texts = {
            file: known[file] if file in known else _read(project, file)
            for file in sorted(set(wanted.values()))
        }
        modules = {file: _executed(file, text) for file, text in texts.items()}
        return cls(texts, {name: _udf(name, modules[file]) for name, file in wanted.items()})

    @property
    def fingerprints(self) -> dict[str, str]:
        """What each function computes, as a hash."""
        return {name: udf.fingerprint for name, udf in self.udfs.items()}


def _read(project: Project, name: str) -> str:
    folder = project.folder / FOLDER
    file = folder / f"{name}.py"
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        known = [found.stem for found in folder.glob("*.py")]
        raise NotFoundError.of("file", name, known, where=f"{FOLDER}/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FeatureFunctionError(f"{FOLDER}/{name}.py cannot be read: {error}.") from error


def _executed(name: str, source: str) -> types.ModuleType:
    place = f"{FOLDER}/{name}.py"
    module = types.ModuleType(f"{FOLDER}.{name}")
    try:
        exec(compile(source, place, "exec", dont_inherit=True), vars(module))
    except Exception as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(place, error)
        raise FeatureFunctionError(f"{place}:{line}: {said(error)}.") from error
    for used in filter(None, map(module_of, vars(module).values())):
        if is_of_project(used):
            raise FeatureFunctionError(
                f"{place} imports {used.__name__} ({used.__file__}), which is no installed "
                "package. A file of functions stands alone, because its text is kept with the "
                "models that use it: move what it needs into it."
            )
    return module


def _line_in(place: str, error: BaseException) -> int:
    """Return the last line of the file that the error came through."""
    line, step = 1, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == place:
            line = step.tb_lineno
        step = step.tb_next
    return line


def said(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says.

    Examples
    --------
    >>> said(ZeroDivisionError("division by zero")), said(KeyError())
    ('ZeroDivisionError: division by zero', 'KeyError')
    """
    lines = str(error.msg if isinstance(error, SyntaxError) else error).strip().splitlines()
    return ": ".join([type(error).__name__, *(line.rstrip(".") for line in lines[:1])])


def _udf(name: str, module: types.ModuleType) -> Udf:
    file, wanted = name.split(".")
    place = f"{FOLDER}/{file}.py"
    functions = {
        known: value
        for known, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__
    }
    if wanted not in functions:
        raise NotFoundError.of("function", wanted, functions, where=place)
    function = functions[wanted]
    place = f"{place}:{function.__code__.co_firstlineno}"
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise FeatureFunctionError(
                f"{place}: {name} takes {str(parameter)!r}. Give each parameter a name of its own."
            )
    kinds = _annotated(function, name, place)
    return Udf(
        name=name,
        function=function,
        place=place,
        parameters={one: _kind(one, kinds, name, place) for one in parameters},
        required=frozenset(one for one, p in parameters.items() if p.default is p.empty),
        returns=_kind("return", kinds, name, place),
    )


def _annotated(function: types.FunctionType, name: str, place: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception as error:
        raise FeatureFunctionError(f"{place}: {name}: {said(error)}.") from error


def _kind(parameter: str, annotated: Mapping[str, Any], name: str, place: str) -> type:
    written = annotated.get(parameter)
    options: tuple[Any, ...] = (written,)
    if typing.get_origin(written) in (typing.Union, types.UnionType):
        options = tuple(one for one in typing.get_args(written) if one is not type(None))
    for kind in KINDS:
        if options == (kind,):
            return kind
    what = "its result" if parameter == "return" else f"the parameter {parameter!r}"
    shown = written.__name__ if isinstance(written, type) else written
    declares = "has no type" if parameter not in annotated else f"is of type {shown}"
    raise FeatureFunctionError(
        f"{place}: {name}: {what} {declares}. Annotate it, as in 'def f(miles: float) -> float'. "
        f"Types: {', '.join(one.__name__ for one in KINDS)}; NULL comes as None, whatever the type."
    )
