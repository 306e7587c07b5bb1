"""Pipelines of every trainer give the same numbers from arrays as from frames."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sololakehouse.errors import RunError
from sololakehouse.models.experiment import ModelSettings
from sololakehouse.models.inputs import model_input
from sololakehouse.models.split import Part
from sololakehouse.models.trainers import fit
from sololakehouse.serving.array_model import ArrayModel
from tests.rain import labels

COLUMNS = ("humid", "cloud", "wind", "place", "windy")
SETTINGS = (
    ModelSettings(kind="sklearn", estimator="logistic_regression"),
    ModelSettings(kind="sklearn", estimator="hist_gradient_boosting", params={"max_iter": 10}),
    ModelSettings(kind="sklearn", estimator="random_forest", params={"n_estimators": 10}),
    ModelSettings(kind="xgboost", params={"n_estimators": 10}),
)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return labels().with_columns(windy=pl.col("wind") > 0.5).head(600)


def fitted(settings: ModelSettings, rows: pl.DataFrame):
    part = Part("train", model_input(rows, COLUMNS), rows["wet"].to_numpy())
    return fit(settings, part, part, 1)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.estimator or s.kind)
def test_the_same_numbers_to_the_bit(rows, settings):
    model = fitted(settings, rows)
    odd = rows.with_columns(cloud=pl.lit("hail"), wind=None).cast({"wind": pl.Float64})
    both = pl.concat([rows, rows.clear(1), odd]).select(COLUMNS)
    fast = ArrayModel.of(model, COLUMNS, rows.select(COLUMNS).head(20))
    assert fast is not None
    expected = model.predict_proba(model_input(both, COLUMNS))
    assert np.array_equal(fast.predict_proba(fast.as_input(both, COLUMNS)), expected)
    one_by_one = [fast.predict_proba(fast.as_input(both[n], COLUMNS))[0] for n in (0, 5, 600, 601)]
    assert np.array_equal(one_by_one, expected[[0, 5, 600, 601]])
    assert fast.classes_.tolist() == [0, 1]


def test_infinite_numbers_are_refused_as_in_batch_inference(rows):
    fast = ArrayModel.of(fitted(SETTINGS[-1], rows), COLUMNS, rows.select(COLUMNS).head(20))
    endless = rows.head(1).select(COLUMNS).with_columns(humid=pl.lit(float("inf")))
    with pytest.raises(RunError, match="'humid' must be finite"):
        fast.as_input(endless, COLUMNS)


def test_a_pipeline_that_would_answer_otherwise_stays_as_it_is(rows):
    model = fitted(SETTINGS[-1], rows)
    honest = model.named_steps["preprocessing"].transform
    model.named_steps["preprocessing"].transform = lambda frame: honest(frame) * 0.5
    assert ArrayModel.of(model, COLUMNS, rows.select(COLUMNS).head(20)) is None


def test_other_models_stay_as_they_are(rows):
    from sklearn.linear_model import LogisticRegression

    assert ArrayModel.of(LogisticRegression(), COLUMNS, rows.select(COLUMNS)) is None
