from __future__ import annotations

import pytest
import torch

from sololakehouse.errors import ConfigError
from sololakehouse.models.device import device_for, gpu_name
from sololakehouse.models.model_settings import ModelSettings

LINE = ModelSettings(kind="sklearn", estimator="logistic_regression")
TREES = ModelSettings(kind="xgboost")
NETWORK = ModelSettings(kind="torch")
no_gpu = pytest.mark.skipif(gpu_name() is not None, reason="says what happens without a GPU")


@pytest.mark.parametrize("settings", [LINE, TREES, NETWORK])
def test_the_cpu_is_there_always(settings):
    assert device_for("cpu", settings) == "cpu"


def test_what_cannot_use_cuda_is_fitted_on_the_cpu():
    assert device_for("cuda", LINE) == device_for("auto", LINE) == "cpu"


@no_gpu
@pytest.mark.parametrize("settings", [TREES, NETWORK])
def test_without_a_gpu_auto_is_the_cpu(settings):
    assert device_for("auto", settings) == "cpu"


@no_gpu
def test_without_a_gpu_cuda_is_refused():
    assert gpu_name() is None
    with pytest.raises(ConfigError) as said:
        device_for("cuda", NETWORK)
    assert str(said.value) == (
        f"device: cuda, but kind torch cannot use CUDA here: torch {torch.__version__} is built "
        "without it. Write 'device: cpu', or 'auto', which takes CUDA only where it is."
    )
    with pytest.raises(ConfigError, match=r"xgboost-cpu 3\.\S+ is built without it, and 'pip"):
        device_for("cuda", TREES)
