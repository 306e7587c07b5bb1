"""Where a model is fitted: on the CPU, or on a GPU with CUDA."""

from __future__ import annotations

import ctypes
from typing import Literal

from sololakehouse.errors import ConfigError
from sololakehouse.models.model_settings import ON_CUDA, ModelSettings
from sololakehouse.models.trainers.trainer import Device
from sololakehouse.models.trainers.xgboost import xgboost_distribution

_NAME_LENGTH = 256


def device_for(asked: Literal["auto", "cpu", "cuda"], settings: ModelSettings) -> Device:
    """Return where a model is fitted.

    `auto` and `cuda` mean CUDA for the kinds that can use it, `auto` only if it is there.

    Raises
    ------
    ConfigError
        `cuda` is asked for, and there is no GPU, or the library is built without CUDA.
    """
    if asked == "cpu" or settings.kind not in ON_CUDA:
        return "cpu"
    lacking = _lacking(settings.kind)
    if lacking is None:
        return "cuda"
    if asked == "cuda":
        raise ConfigError(
            f"device: cuda, but kind {settings.kind} cannot use CUDA here: {lacking}. Write "
            "'device: cpu', or 'auto', which takes CUDA only where it is."
        )
    return "cpu"


def gpu_name() -> str | None:
    """Return the name of the first GPU that CUDA programs see; None if there is none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count, device = ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_LENGTH)
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    if cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if cuda.cuDeviceGetName(name, _NAME_LENGTH, device):
        return None
    return name.value.decode()


def _lacking(kind: str) -> str | None:
    if kind == "torch":
        import torch

        if torch.version.cuda is None:
            return f"torch {torch.__version__} is built without it"
        return None if torch.cuda.is_available() else "there is no GPU"
    import xgboost

    if not xgboost.build_info().get("USE_CUDA"):
        built = f"{xgboost_distribution()} {xgboost.__version__} is built without it"
        return f"{built}, and 'pip install xgboost' in its place brings it"
    return None if gpu_name() else "there is no GPU"
