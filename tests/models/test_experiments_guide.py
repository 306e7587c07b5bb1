"""The examples of docs/experiments.md are settings that work."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from sololakehouse.models.metrics import METRICS
from sololakehouse.models.model_settings import KINDS, ModelSettings, with_source
from sololakehouse.models.split import split_by_time
from sololakehouse.models.trainers import check_settings, fit
from tests.rain import labels

GUIDE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text("utf-8")
MODELS = [
    content["model"]
    for content in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
]
(MODULE,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("content", MODELS, ids=lambda one: one["kind"])
def test_each_example_is_valid(content, tmp_path):
    (tmp_path / "risk").mkdir()
    (tmp_path / "risk" / "models.py").write_text(MODULE)
    check_settings(ModelSettings.model_validate(with_source(tmp_path, content)))


def test_each_kind_has_an_example_and_each_metric_is_named():
    assert {content["kind"] for content in MODELS} == set(KINDS)
    assert all(f"`{name}`" in GUIDE for name in METRICS)


def test_the_function_makes_a_model_that_can_be_kept(project):
    content = next(content for content in MODELS if content["kind"] == "python")
    params = {**content["params"], "text": ["cloud", "place"]}
    settings = ModelSettings.model_validate({**content, "source": MODULE, "params": params})
    parts = split_by_time(labels(), project.experiment(), ("humid", "wind", "cloud", "place"))
    model = fit(settings, parts["train"], parts["validation"], seed=1)
    assert np.isfinite(model.predict_proba(parts["test"].inputs)).all()
