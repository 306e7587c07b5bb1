"""What is here of what decides numbers: libraries, Python, processor, threads."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = (
    *("numpy", "pandas", "polars", "scikit-learn", "scipy", "skops", "torch", "xgboost"),
    *("xgboost-cpu", "lightgbm", "sololakehouse"),
)
_CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Return `libraries` with their versions, `python`, `platform` and `cpu` of this machine."""
    return {
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    lines = _CPU_INFO.read_text("utf-8").splitlines() if _CPU_INFO.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
