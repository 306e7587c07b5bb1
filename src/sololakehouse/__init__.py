"""SoloLakehouse: a lakehouse and MLOps platform that one person runs on one machine.

`Lakehouse` reads the tables of a project, `Snapshot` is one of them at one version.
"""

from __future__ import annotations

# Not from `typing`: until that is imported, Ctrl-C would show a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sololakehouse.lake import Lakehouse, Snapshot

__version__ = "0.1.0"
__all__ = ["Lakehouse", "Snapshot", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sololakehouse import lake

    return getattr(lake, name)
