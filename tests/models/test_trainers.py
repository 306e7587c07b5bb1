from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from sololakehouse.errors import ConfigError, NotFoundError
from sololakehouse.models.experiment import ModelSettings
from sololakehouse.models.inputs import model_input
from sololakehouse.models.metrics import compute_metrics
from sololakehouse.models.model_settings import Search, ThresholdByCost
from sololakehouse.models.split import split_by_time
from sololakehouse.models.trainers import (
    check_settings,
    decisive_libraries,
    fit,
    importances,
    trainer_of,
)
from sololakehouse.models.trainers.decision import best_threshold, innermost, threshold_of
from sololakehouse.models.trainers.trainer import require
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
    one = fit(KINDS[kind], parts["train"], parts["validation"], seed=1)
    np.random.rand()
    torch.rand(1)
    two = fit(KINDS[kind], parts["train"], parts["validation"], seed=1)
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_decides_nothing_unless_the_trainer_says_so(parts, kind):
    one, two = (fit(KINDS[kind], *_two(parts), seed=1, threads=threads) for threads in (1, 2))
    inputs = parts["test"].inputs
    same = np.array_equal(one.predict_proba(inputs), two.predict_proba(inputs))
    assert same or "cpu" in trainer_of(KINDS[kind]).threads_matter_on


def test_a_forest_adds_up_its_votes_in_one_order(parts):
    assert innermost(fit(KINDS["random_forest"], *_two(parts), seed=1)).n_jobs == 1


def test_which_trainers_depend_on_threads():
    depending = {kind for kind in KINDS if trainer_of(KINDS[kind]).threads_matter_on}
    assert depending == {"xgboost", "torch", "python", "calibrated", "calibrated network"}
    free = ModelSettings(kind="lightgbm", params={"deterministic": False})
    assert trainer_of(free).threads_matter_on == {"cpu"}


STOPPING = {
    "xgboost": ({"n_estimators": 500}, lambda model: model.best_iteration),
    "lightgbm": ({"n_estimators": 500}, lambda model: model.best_iteration_),
    "torch": ({"epochs": 200, "learning_rate": 0.05}, lambda model: len(model.history_)),
    "sklearn": ({"max_iter": 500}, lambda model: model.n_iter_),
}


@pytest.mark.parametrize("kind", STOPPING)
def test_training_stops_when_the_validation_part_gets_no_better(parts, kind):
    params, rounds = STOPPING[kind]
    estimator = "hist_gradient_boosting" if kind == "sklearn" else None
    settings = ModelSettings(kind=kind, estimator=estimator, params=params, early_stopping_rounds=5)
    stopped = innermost(fit(settings, *_two(parts), seed=1))
    assert rounds(stopped) < 150
    shuffled = np.random.default_rng(1).permutation(parts["validation"].labels)
    noise = replace(parts["validation"], labels=shuffled)
    assert rounds(innermost(fit(settings, parts["train"], noise, seed=1))) < rounds(stopped)


def test_the_network_keeps_its_best_epoch(parts):
    settings = ModelSettings(
        kind="torch", params={"epochs": 60, "learning_rate": 0.05}, early_stopping_rounds=60
    )
    model = fit(settings, *_two(parts), seed=1)
    history = innermost(model).history_
    assert len(history) == 60
    held_out = parts["validation"]
    loss = compute_metrics(
        ["log_loss"], held_out.labels, model.predict_proba(held_out.inputs)[:, 1]
    )
    assert loss["log_loss"] == pytest.approx(min(history), abs=1e-6)
    assert min(history) < history[-1]


@pytest.mark.parametrize("kind", ["logistic_regression", "lightgbm", "xgboost", "torch"])
def test_balanced_weights_are_half_of_all_rows_for_each_class(parts, kind):
    rare = rarer(parts["train"])
    counts = np.bincount(rare.labels)
    numbers = {label: len(rare.labels) / 2 / count for label, count in enumerate(counts)}
    chances = [
        fit(KINDS[kind].model_copy(update={"class_weight": weights}), rare, held_out, seed=1)
        .predict_proba(parts["test"].inputs)[:, 1]
        .mean()
        for weights in (None, "balanced", numbers)
        for held_out in [rarer(parts["validation"])]
    ]
    assert chances[1] == chances[2]
    assert chances[1] > chances[0] + 0.1


def rarer(part):
    """Keep one of six rows of the label 1."""
    chosen = (part.labels == 0) | (np.cumsum(part.labels) % 6 == 0)
    return replace(part, inputs=part.inputs[chosen], labels=part.labels[chosen])


def test_weights_are_those_of_scikit_learn(parts):
    rare = rarer(parts["train"])
    ours = fit(
        KINDS["logistic_regression"].model_copy(update={"class_weight": {0: 1.0, 1: 3.0}}),
        rare,
        rare,
        seed=1,
    )
    inputs = ours.named_steps["preprocessing"].transform(rare.inputs)
    theirs = LogisticRegression(max_iter=1000, class_weight={0: 1, 1: 3}).fit(inputs, rare.labels)
    assert innermost(ours).coef_ == pytest.approx(theirs.coef_, abs=1e-3)


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
@pytest.mark.parametrize("kind", ["random_forest", "torch", "lightgbm"])
def test_calibrated_probabilities_are_as_high_as_the_label_is_frequent(parts, kind, method):
    settings = KINDS[kind].model_copy(update={"calibration": method, "class_weight": {0: 9, 1: 1}})
    model = fit(settings, *_two(parts), seed=1)
    held_out = parts["validation"]
    chances = model.predict_proba(held_out.inputs)[:, 1]
    assert chances.mean() == pytest.approx(held_out.labels.mean(), abs=0.005)
    raw = fit(settings.model_copy(update={"calibration": None}), *_two(parts), seed=1)
    assert raw.predict_proba(held_out.inputs)[:, 1].mean() < held_out.labels.mean() - 0.05


def test_calibration_needs_two_rows_of_each_class(parts):
    labels = np.zeros_like(parts["validation"].labels)
    labels[0] = 1
    settings = KINDS["xgboost"].model_copy(update={"calibration": "isotonic"})
    with pytest.raises(ConfigError, match=r"^xgboost with .* less than 2 examples for at least"):
        fit(settings, parts["train"], replace(parts["validation"], labels=labels), seed=1)


decisions = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=2
).filter(lambda rows: len({label for label, _ in rows}) == 2)


@given(decisions, st.integers(1, 5), st.integers(1, 5))
def test_no_threshold_costs_less(rows, false_positive, false_negative):
    labels, chances = (np.array(column) for column in zip(*rows, strict=True))
    cost = {"false_positive": false_positive, "false_negative": false_negative}
    wanted = ThresholdByCost.model_validate({"cost": cost})

    def costs(threshold):
        predicted = chances >= threshold
        wrong = predicted & (labels == 0), ~predicted & (labels == 1)
        return wrong[0].sum() * false_positive + wrong[1].sum() * false_negative

    chosen = best_threshold(wanted, labels, chances)
    assert costs(chosen) == min(map(costs, [*chances, 2]))


@given(decisions)
def test_no_threshold_has_a_greater_f1(rows):
    labels, chances = (np.array(column) for column in zip(*rows, strict=True))
    scores = [f1_score(labels, chances >= threshold, zero_division=0) for threshold in chances]
    chosen = best_threshold("f1", labels, chances)
    assert f1_score(labels, chances >= chosen) == pytest.approx(max(scores))


def test_the_threshold_is_that_of_predict_and_of_the_metrics(parts):
    cost = {"cost": {"false_positive": 1, "false_negative": 20}}
    settings = ModelSettings(kind="xgboost", params={"n_estimators": 30}, threshold=cost)
    model = fit(settings, *_two(parts), seed=1)
    chosen = threshold_of(model)
    assert chosen < 0.3
    part = parts["test"]
    chances = model.predict_proba(part.inputs)[:, 1]
    predicted = model.predict(part.inputs)
    assert np.array_equal(predicted, chances >= chosen)
    found = compute_metrics(["accuracy"], part.labels, chances, chosen)
    assert found["accuracy"] == (predicted == part.labels).mean()
    assert threshold_of(fit(KINDS["xgboost"], *_two(parts), seed=1)) == 0.5


def test_what_a_network_says_of_a_row_does_not_depend_on_the_rows_beside_it(parts):
    model = fit(KINDS["torch"], *_two(parts), seed=1)
    inputs = parts["test"].inputs
    together = model.predict_proba(inputs)
    order = np.random.default_rng(1).permutation(len(inputs))
    assert np.array_equal(model.predict_proba(inputs.iloc[order]), together[order])
    for row in (0, 100, len(inputs) - 1):
        assert np.array_equal(model.predict_proba(inputs[row : row + 1]), together[row : row + 1])


def test_the_network_leaves_pytorch_as_it_was(parts):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fit(KINDS["calibrated network"], *_two(parts), seed=1, threads=1)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.rand(1) == expected


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"normalization": "bach"}, "normalization 'bach' is not batch, layer or null"),
        ({"dropout": 1}, "dropout 1 is not from 0 to below 1"),
        ({"hidden": [0]}, "hidden, epochs and batch_size must be positive integers"),
        ({"learning_rate": 1e30}, "the weights grew beyond all bounds; lower learning_rate"),
    ],
)
def test_a_network_that_cannot_be_is_refused(parts, params, message):
    settings = ModelSettings(kind="torch", params={"epochs": 2, **params})
    with pytest.raises(ConfigError, match=re.escape(f"torch with {settings.params}: {message}")):
        fit(settings, *_two(parts), seed=1)


@pytest.mark.parametrize("normalization", ["layer", None])
def test_a_network_normalizes_as_it_is_told(parts, normalization):
    params = {"hidden": [8], "epochs": 1, "normalization": normalization}
    model = fit(ModelSettings(kind="torch", params=params), *_two(parts), seed=1)
    names = set(load(innermost(model).weights_))
    assert not any("running" in name for name in names)
    assert ("layers.1.weight" in names) == (normalization == "layer")


def test_a_kind_whose_library_is_missing_says_how_to_get_it():
    with pytest.raises(ConfigError) as said:
        require("no-such-library", "lightgbm")
    assert str(said.value) == (
        "kind lightgbm needs the library no-such-library: pip install 'sololakehouse[lightgbm]'."
    )


def made_by(source, **more):
    return ModelSettings(kind="python", function="models:make", source=source, **more)


SVC = "from sklearn.svm import LinearSVC\ndef make(): return LinearSVC()\n"
OWN = (
    "from sklearn.base import ClassifierMixin, BaseEstimator\n"
    "class Own(ClassifierMixin, BaseEstimator):\n"
    "    def fit(self, X, y): return self\n"
    "    def predict(self, X): return [0] * len(X)\n"
    "def make(): return Own()\n"
)
FUNCTIONS = {
    "syntax": ("def make(:", ConfigError, r"^models\.py: SyntaxError: "),
    "import": ("import nothing_here", ConfigError, r"^models\.py: ModuleNotFoundError: No module"),
    "absent": ("def mke(): 1", NotFoundError, r"No function 'make'\. Did you mean 'mke'\?"),
    "no model": ("def make(): return 1", ConfigError, "models:make gives int, which has no 'fit'"),
    "unsafe": (OWN, ConfigError, r"models:make gives a model that holds models\.Own, which cannot"),
    "no chances": (SVC, ConfigError, r"LinearSVC, which has no predict_proba: .*sigmoid' makes"),
}


@pytest.mark.parametrize("mistake", FUNCTIONS)
def test_a_function_that_makes_no_usable_model_is_refused(parts, mistake):
    source, error, message = FUNCTIONS[mistake]
    numbers = [replace(part, inputs=part.inputs[["humid"]]) for part in _two(parts)]
    with pytest.raises(error, match=message):
        fit(made_by(source), *numbers, seed=1)


def test_calibration_gives_probabilities_to_what_has_none(parts):
    numbers = [replace(part, inputs=part.inputs[["humid"]]) for part in _two(parts)]
    model = fit(made_by(SVC, calibration="sigmoid"), *numbers, seed=1)
    chances = model.predict_proba(numbers[1].inputs)
    assert ((chances > 0) & (chances < 1)).all()


def test_a_function_takes_its_parameters_and_only_those():
    check_settings(made_by(MODULE, params={"max_depth": 3}))
    with pytest.raises(ConfigError, match=r"models:make has no parameter 'depth'\."):
        check_settings(made_by(MODULE, params={"depth": 3}))
    check_settings(made_by("def make(**params): ...", params={"anything": 3}))


def test_the_libraries_of_a_kind_decide_its_models():
    assert "lightgbm" in decisive_libraries(KINDS["lightgbm"])
    assert "torch" in decisive_libraries(KINDS["torch"])
    assert "torch" not in decisive_libraries(KINDS["xgboost"])
    assert "lightgbm" in decisive_libraries(made_by("from lightgbm import LGBMClassifier"))
    searched = KINDS["xgboost"].model_copy(
        update={"search": Search(trials=1, params={"max_depth": {"low": 1, "high": 2}})}
    )
    assert "optuna" in decisive_libraries(searched)
