"""Trainers: preprocessing and an estimator as one scikit-learn pipeline, fitted deterministically.

Everything is fitted on the training part alone; the validation part only tells XGBoost when to
stop. Thread counts are fixed, because sums of floats depend on them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import ConfigError, NotFoundError, suggestion
from sololakehouse.models.experiment import ModelSettings

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from sololakehouse.models.split import Part

THREADS = 2
_RARE = 0.001
_ESTIMATORS: Mapping[str, tuple[str, str]] = {
    "logistic_regression": ("sklearn.linear_model", "LogisticRegression"),
    "hist_gradient_boosting": ("sklearn.ensemble", "HistGradientBoostingClassifier"),
    "random_forest": ("sklearn.ensemble", "RandomForestClassifier"),
}
_LINEAR = frozenset({"logistic_regression"})
_SET_ELSEWHERE: Mapping[str, str] = {
    "random_state": "The experiment's 'seed' sets it.",
    "early_stopping_rounds": "Write it beside 'params'.",
}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "logistic_regression": {"max_iter": 1000},
    "random_forest": {"n_jobs": THREADS},
    "xgboost": {"tree_method": "hist", "n_jobs": THREADS},
}


def check_settings(settings: ModelSettings) -> None:
    """Check estimator and parameters without training.

    Raises
    ------
    NotFoundError
        The estimator does not exist.
    ConfigError
        It has no such parameter, or the parameter is set by the experiment.
    """
    what = settings.estimator or settings.kind
    known = _parameters(settings) - set(_SET_ELSEWHERE)
    for name in settings.params:
        if name in _SET_ELSEWHERE:
            raise ConfigError(f"{what}: {name!r} does not go into 'params'. {_SET_ELSEWHERE[name]}")
        if name not in known:
            raise ConfigError(
                f"{what} has no parameter {name!r}. {suggestion(name, known, 'parameter')}"
            )


def fit(settings: ModelSettings, train: Part, validation: Part, seed: int) -> Pipeline:
    """Fit preprocessing and estimator; the same data and seed give the same model.

    Raises
    ------
    ConfigError
        The estimator refuses a parameter's value.
    """
    from sklearn.pipeline import Pipeline
    from threadpoolctl import threadpool_limits

    preprocessing = _preprocessing(train.inputs, linear=settings.estimator in _LINEAR)
    estimator = _estimator(settings, seed)
    inputs = preprocessing.fit_transform(train.inputs)
    extra = {}
    if settings.early_stopping_rounds is not None:
        held_out = preprocessing.transform(validation.inputs)
        extra = {"eval_set": [(held_out, validation.labels)], "verbose": False}
    try:
        # For the parts of scikit-learn and BLAS that have no parameter for their threads.
        with threadpool_limits(THREADS):
            estimator.fit(inputs, train.labels, **extra)
    except (TypeError, ValueError) as error:
        what = settings.estimator or settings.kind
        raise ConfigError(f"{what} with {settings.params}: {str(error).splitlines()[0]}") from error
    return Pipeline([("preprocessing", preprocessing), ("estimator", estimator)])


def importances(model: Pipeline) -> dict[str, float]:
    """Return a weight per transformed feature: gain of trees, or size of a linear coefficient."""
    estimator = model.named_steps["estimator"]
    weights = getattr(estimator, "feature_importances_", None)
    if weights is None and hasattr(estimator, "coef_"):
        weights = abs(estimator.coef_[0])
    if weights is None:
        return {}
    names = model.named_steps["preprocessing"].get_feature_names_out()
    return {str(name): float(weight) for name, weight in zip(names, weights, strict=True)}


def _parameters(settings: ModelSettings) -> set[str]:
    if settings.kind == "xgboost":
        from xgboost import XGBClassifier

        return set(XGBClassifier().get_params())
    return set(inspect.signature(_sklearn_class(settings)).parameters)


def _sklearn_class(settings: ModelSettings) -> Any:
    import importlib

    name = str(settings.estimator)
    if name not in _ESTIMATORS:
        raise NotFoundError.of("estimator", name, _ESTIMATORS)
    module, class_name = _ESTIMATORS[name]
    return getattr(importlib.import_module(module), class_name)


def _estimator(settings: ModelSettings, seed: int) -> Any:
    if settings.kind == "xgboost":
        from xgboost import XGBClassifier

        params = {**_DEFAULTS["xgboost"], **settings.params}
        rounds = settings.early_stopping_rounds
        return XGBClassifier(**params, random_state=seed, early_stopping_rounds=rounds)
    params = {**_DEFAULTS.get(str(settings.estimator), {}), **settings.params}
    return _sklearn_class(settings)(**params, random_state=seed)


def _preprocessing(inputs: pd.DataFrame, *, linear: bool) -> Any:
    from sklearn.compose import ColumnTransformer

    text = [name for name in inputs.columns if inputs[name].dtype == object]
    numbers = [name for name in inputs.columns if name not in text]
    steps = [("number", _numbers(linear=linear), numbers), ("text", _texts(linear=linear), text)]
    return ColumnTransformer([step for step in steps if step[2]], verbose_feature_names_out=False)


def _numbers(*, linear: bool) -> Any:
    if not linear:
        return "passthrough"
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )


def _texts(*, linear: bool) -> Any:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    if linear:
        return OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=_RARE)
    nan = float("nan")
    return OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=nan, encoded_missing_value=nan
    )
