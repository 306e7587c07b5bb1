"""Where a model was made: libraries, Python, processor, threads, device."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sololakehouse
from sololakehouse.models.device import gpu_name
from sololakehouse.models.trainers.trainer import Device

NOT_INSTALLED = "not installed"
_CPU = Path("/proc/cpuinfo")
_ALWAYS = ("sololakehouse", "pandas", "polars", "pyarrow", "skops", "threadpoolctl")
_DIRTY = "+dirty"


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of distributions, by name; those that are not installed say so."""
    return {name: _version(name) for name in sorted(set(names))}


def environment(libraries: Iterable[str], threads: int, device: Device) -> dict[str, Any]:
    """Return what a model can depend on beside its data and its settings, as JSON-like values.

    Returns
    -------
    `python`, `system`, `cpu` (its model), `cores`, `threads` (that were used), `device`, `gpu` (its
    name, None on the CPU) and `libraries` (version by distribution).
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device,
        "gpu": gpu_name() if device == "cuda" else None,
        "libraries": library_versions([*libraries, *_ALWAYS]),
    }


def code_of(revision: str | None) -> dict[str, Any]:
    """Return `code_revision` (None outside of Git) and whether the tree was `dirty`.

    Examples
    --------
    >>> code_of("8f3a+dirty"), code_of(None)
    ({'code_revision': '8f3a', 'dirty': True}, {'code_revision': None, 'dirty': None})
    """
    if revision is None:
        return {"code_revision": None, "dirty": None}
    return {"code_revision": revision.removesuffix(_DIRTY), "dirty": revision.endswith(_DIRTY)}


def _version(name: str) -> str:
    if name == sololakehouse.__name__:  # from a bundle it runs without being installed
        return sololakehouse.__version__
    try:
        return version(name)
    except PackageNotFoundError:
        return NOT_INSTALLED


def _cpu_model() -> str:
    try:
        lines = _CPU.read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
