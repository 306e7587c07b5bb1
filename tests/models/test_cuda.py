"""Training with CUDA. Needs a GPU, PyTorch, scikit-learn, pandas and pydantic; see CONTRIBUTING.md.

XGBoost is tried where its distribution with CUDA is installed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sololakehouse.models.device import device_for, gpu_name
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.fitting import fit_and_measure
from sololakehouse.models.model_settings import ModelSettings
from sololakehouse.models.part import Part
from sololakehouse.models.trainers import fit

pytestmark = pytest.mark.skipif(gpu_name() is None, reason="there is no GPU with CUDA")

ROWS = 6000
NETWORK = ModelSettings(
    kind="torch",
    params={"hidden": [64, 32], "epochs": 30, "batch_size": 256, "learning_rate": 0.005},
    early_stopping_rounds=5,
    class_weight="balanced",
)
TREES = ModelSettings(
    kind="xgboost", params={"n_estimators": 200, "max_depth": 4}, early_stopping_rounds=10
)


def with_cuda(settings: ModelSettings) -> ModelSettings:
    if settings.kind == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        if not xgboost.build_info().get("USE_CUDA"):
            pytest.skip("XGBoost is built without CUDA")
    return settings


@pytest.fixture(scope="module")
def parts() -> dict[str, Part]:
    draw = np.random.default_rng(1)
    one, two = draw.normal(size=(2, ROWS))
    cloud = draw.choice(np.array(["none", "some", None], dtype=object), ROWS)
    labels = ((one * two > 0) ^ (draw.random(ROWS) < 0.1)).astype(int)
    missing = np.where(draw.random(ROWS) < 0.1, np.nan, two)
    inputs = pd.DataFrame({"one": one, "two": missing, "cloud": pd.Series(cloud, dtype=object)})
    cuts = {"train": (0, 4000), "validation": (4000, 5000), "test": (5000, ROWS)}
    return {
        name: Part(name, inputs[begin:end].reset_index(drop=True), labels[begin:end])
        for name, (begin, end) in cuts.items()
    }


def fitted(settings, parts, device="cuda", threads=2):
    train, validation = parts["train"], parts["validation"]
    return fit(settings, train, validation, 7, threads=threads, device=device)


@pytest.mark.parametrize("settings", [NETWORK, TREES], ids=lambda one: one.kind)
def test_cuda_is_found_and_used(settings, parts):
    with_cuda(settings)
    assert device_for("auto", settings) == device_for("cuda", settings) == "cuda"
    assert gpu_name()


@pytest.mark.parametrize("settings", [NETWORK, TREES], ids=lambda one: one.kind)
def test_the_same_rows_and_seed_give_the_same_predictions_whatever_the_threads(settings, parts):
    with_cuda(settings)
    inputs = parts["test"].inputs
    first, *others = (
        fitted(settings, parts, threads=threads).predict_proba(inputs) for threads in (2, 2, 1)
    )
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("settings", [NETWORK, TREES], ids=lambda one: one.kind)
def test_cuda_learns_what_the_cpu_learns(settings, parts):
    with_cuda(settings)
    test = parts["test"]
    right = [
        (fitted(settings, parts, device).predict(test.inputs) == test.labels).mean()
        for device in ("cpu", "cuda")
    ]
    assert min(right) > 0.8
    assert abs(right[0] - right[1]) < 0.03


def test_pytorch_did_use_the_gpu(parts):
    import torch

    torch.cuda.reset_peak_memory_stats()
    fitted(NETWORK, parts)
    assert torch.cuda.max_memory_allocated() > 4000 * 4 * 4


def test_a_network_from_the_gpu_is_kept_as_numbers_that_the_cpu_takes(parts):
    from safetensors.torch import load

    network = fitted(NETWORK, parts).named_steps["estimator"]
    weights = load(network.weights_)
    assert {str(one.device) for one in weights.values()} == {"cpu"}


def test_the_record_names_the_gpu(parts):
    period = {"from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    following = {"from": "2026-01-02T00:00:00Z", "until": "2026-01-03T00:00:00Z"}
    last = {"from": "2026-01-03T00:00:00Z", "until": "2026-01-04T00:00:00Z"}
    experiment = Experiment.model_validate(
        {
            "name": "gpu",
            "seed": 7,
            "training_set": {"name": "training.x", "label": "y", "timestamp": "at"},
            "split": {"train": period, "validation": following, "test": last},
            "metrics": ["log_loss"],
            "baseline": {"kind": "sklearn", "estimator": "logistic_regression"},
            "model": NETWORK.model_dump(),
            "register_as": "gpu",
        }
    )
    baseline = fit_and_measure("baseline", experiment.baseline, parts, experiment)
    model = fit_and_measure("model", experiment.model, parts, experiment)
    assert baseline.record["environment"]["device"] == "cpu"
    assert model.record["environment"]["device"] == "cuda"
    assert model.record["environment"]["gpu"] == gpu_name()
    assert not model.record["thread_dependent"]
    assert model.metrics["test_log_loss"] < baseline.metrics["test_log_loss"]


def test_many_rows_in_mini_batches(parts):
    many = {
        name: replace(
            part,
            inputs=pd.concat([part.inputs] * 20, ignore_index=True),
            labels=np.tile(part.labels, 20),
        )
        for name, part in parts.items()
    }
    settings = NETWORK.model_copy(update={"params": {"epochs": 3, "batch_size": 4096}})
    model = fitted(settings, many)
    assert np.isfinite(model.predict_proba(many["test"].inputs)).all()
