from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sololakehouse.errors import ConfigError, NotFoundError
from sololakehouse.models.experiment import ModelSettings
from sololakehouse.models.inputs import model_input
from sololakehouse.models.metrics import compute_metrics
from sololakehouse.models.split import split_by_time
from sololakehouse.models.trainers import fit, importances
from tests.rain import labels

COLUMNS = ("humid", "wind", "cloud", "place")
MODULE = """
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def make(max_depth, seed):
    text = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("text", text, ["cloud", "place"])], remainder="passthrough")
    return make_pipeline(columns, ExtraTreesClassifier(max_depth=max_depth, random_state=seed))
"""
KINDS = {
    "logistic_regression": ModelSettings(kind="sklearn", estimator="logistic_regression"),
    "hist_gradient_boosting": ModelSettings(kind="sklearn", estimator="hist_gradient_boosting"),
    "random_forest": ModelSettings(
        kind="sklearn", estimator="random_forest", params={"n_estimators": 20}
    ),
    "hist_gradient_boosting that stops": ModelSettings(
        kind="sklearn", estimator="hist_gradient_boosting", early_stopping_rounds=5
    ),
    "xgboost": ModelSettings(kind="xgboost", params={"n_estimators": 30}, early_stopping_rounds=5),
    "lightgbm": ModelSettings(
        kind="lightgbm", params={"n_estimators": 30}, early_stopping_rounds=5
    ),
    "torch": ModelSettings(
        kind="torch",
        params={"hidden": [32], "epochs": 40, "batch_size": 128, "learning_rate": 0.01},
        early_stopping_rounds=10,
    ),
    "python": ModelSettings(
        kind="python",
        function="models:make",
        source=MODULE,
        params={"max_depth": 5},
    ),
    "calibrated": ModelSettings(
        kind="xgboost", params={"n_estimators": 30}, calibration="isotonic", threshold="f1"
    ),
    "calibrated network": ModelSettings(
        kind="torch", params={"hidden": [8], "epochs": 2}, calibration="sigmoid", threshold=0.3
    ),
}


@pytest.fixture
def parts(project):
    return split_by_time(labels(), project.experiment(), COLUMNS)


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_predictions(parts, kind):
    one, two = (fit(KINDS[kind], parts["train"], parts["validation"], seed=1) for _ in range(2))
    inputs = parts["test"].inputs
    assert np.array_equal(one.predict_proba(inputs), two.predict_proba(inputs))


@pytest.mark.parametrize(
    "kind", ["xgboost", "random_forest", "hist_gradient_boosting", "lightgbm", "torch", "python"]
)
def test_trees_find_what_interacts_and_a_line_does_not(parts, kind):
    line = fit(KINDS["logistic_regression"], parts["train"], parts["validation"], seed=1)
    trees = fit(KINDS[kind], parts["train"], parts["validation"], seed=1)
    scores = [
        compute_metrics(
            ["roc_auc"], parts["test"].labels, model.predict_proba(parts["test"].inputs)[:, 1]
        )["roc_auc"]
        for model in (line, trees)
    ]
    assert scores[0] < 0.65 < 0.8 < scores[1]


@pytest.mark.parametrize("kind", KINDS)
def test_values_never_seen_and_missing_ones_are_predicted(parts, kind):
    model = fit(KINDS[kind], parts["train"], parts["validation"], seed=1)
    strange = pl.DataFrame(
        {"humid": [None], "wind": [None], "cloud": ["purple"], "place": [None]},
        schema={"humid": pl.Float64, "wind": pl.Float64, "cloud": pl.String, "place": pl.String},
    )
    probability = model.predict_proba(model_input(strange, COLUMNS))
    assert probability.shape == (1, 2)
    assert np.isfinite(probability).all()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_training_part_is_fitted(parts, kind):
    model = fit(KINDS[kind], parts["train"], parts["validation"], seed=1)
    spoiled = parts["validation"].inputs.assign(humid=1e9, cloud="spoiled")
    fitted = model.named_steps["preprocessing"]
    again = fit(
        KINDS[kind].model_copy(update={"early_stopping_rounds": None}),
        parts["train"],
        type(parts["validation"])("validation", spoiled, parts["validation"].labels),
        seed=1,
    ).named_steps["preprocessing"]
    inputs = parts["test"].inputs
    one, two = (pd.DataFrame(step.transform(inputs)) for step in (fitted, again))
    pd.testing.assert_frame_equal(one, two)


def test_importances_name_the_columns(parts):
    model = fit(KINDS["xgboost"], parts["train"], parts["validation"], seed=1)
    weights = importances(model)
    assert set(weights) == set(COLUMNS)
    assert weights["humid"] > weights["place"]
    assert importances(fit(KINDS["hist_gradient_boosting"], *_two(parts), seed=1)) == {}


def _two(parts):
    return parts["train"], parts["validation"]


def test_inputs_are_doubles_and_text():
    frame = pl.DataFrame({"n": [1, None], "b": [True, None], "s": ["x", None]})
    inputs = model_input(frame, ["s", "b", "n"])
    assert list(inputs.columns) == ["s", "b", "n"]
    assert [str(kind) for kind in inputs.dtypes] == ["object", "float64", "float64"]
    with pytest.raises(NotFoundError, match="No column 'm'"):
        model_input(frame, ["m"])


def test_a_value_that_an_estimator_refuses_is_said(parts):
    wrong = ModelSettings(kind="sklearn", estimator="logistic_regression", params={"C": -1})
    with pytest.raises(ConfigError, match=r"logistic_regression with \{'C': -1\}: "):
        fit(wrong, *_two(parts), seed=1)
