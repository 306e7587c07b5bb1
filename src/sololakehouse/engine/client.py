"""The Spark client, imported without pandas, NumPy and PyArrow.

`pyspark.sql.connect` imports them at its top, for annotations, for frames and arrays that a person
may hand over, and for rows that come back: a third of the time in which a run starts. Most runs
hand over nothing, and ask for rows only once the engine is at work.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

_CLIENT = ("pyspark.sql.connect.session", "pyspark.sql.connect.catalog")
# With the versions that we ask for: the client asks for less.
_LATER = {"pandas": "2.2.0", "pandas.api.types": "2.2.0", "numpy": "2.0.0", "pyarrow": "20.0.0"}
# Classes that the client only looks for among what it is given.
_LOOKED_FOR = frozenset(
    {
        *("generic", "ndarray", "bool_", "str_", "int8", "int16", "int32", "int64", "float32"),
        *("float64", "RecordBatch"),
    }
)
_IMPORTING = Lock()


def import_client() -> None:
    """Import `pyspark.sql.connect`; what it needs seldom follows when it is first used."""
    with _IMPORTING:
        if sys.modules.keys() >= set(_CLIENT):
            return
        later = {name: _Later(name) for name in _LATER.keys() - sys.modules.keys()}
        usual = builtins.__import__

        def importing(name: str, importer: Any = None, *rest: Any) -> ModuleType:
            of_client = importer is not None and importer["__name__"].startswith("pyspark.")
            return later[name] if of_client and name in later else usual(name, importer, *rest)

        builtins.__import__ = importing  # type: ignore[assignment]
        try:
            for name in _CLIENT:
                import_module(name)
        finally:
            builtins.__import__ = usual
            for module in later.values():
                module.is_wanted = True


class _Later(ModuleType):
    """Stands for a module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_wanted = False

    def __getattr__(self, name: str) -> Any:
        if self.is_wanted and name in _LOOKED_FOR and self.__name__ not in sys.modules:
            return _Nothing
        if self.is_wanted:
            return getattr(import_module(self.__name__), name)
        if name == "__version__":
            return _LATER[self.__name__]
        return _called_later(self.__name__, name)


class _Nothing:
    """Stands for a class while its module is not imported, and so nothing is an instance of it."""


def _called_later(module: str, name: str) -> Callable[..., Any]:
    """Stand for a function, or for a class in an annotation, while the client is imported."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module), name)(*args, **kwargs)

    return call
