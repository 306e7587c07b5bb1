"""The Spark client, imported without pandas.

`pyspark.sql.connect` imports pandas at its top, for annotations and for frames that a person may
hand over: a fifth of the time in which a run starts, and most runs never see such a frame.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

_CLIENT = "pyspark.sql.connect.session"
_LATER = ("pandas", "pandas.api.types")
# The client asks for at least this version, and asks pandas itself where it uses it.
_ACCEPTED = "2.2.0"
_IMPORTING = Lock()


def import_client() -> None:
    """Import `pyspark.sql.connect`; pandas follows when the client first uses it."""
    with _IMPORTING:
        if "pandas" in sys.modules or _CLIENT in sys.modules:
            return
        later = {name: _Later(name) for name in _LATER}
        usual = builtins.__import__

        def importing(name: str, importer: Any = None, *rest: Any) -> ModuleType:
            of_client = importer is not None and importer["__name__"].startswith("pyspark.")
            return later[name] if of_client and name in later else usual(name, importer, *rest)

        builtins.__import__ = importing  # type: ignore[assignment]
        try:
            import_module(_CLIENT)
        finally:
            builtins.__import__ = usual
            for module in later.values():
                module.is_wanted = True


class _Later(ModuleType):
    """Stands for a module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__version__ = _ACCEPTED
        self.is_wanted = False

    def __getattr__(self, name: str) -> Any:
        if self.is_wanted:
            return getattr(import_module(self.__name__), name)
        return _called_later(self.__name__, name)


def _called_later(module: str, name: str) -> Callable[..., Any]:
    """Stand for a function, or for a class in an annotation, while the client is imported."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module), name)(*args, **kwargs)

    return call
