"""Kind `sklearn`: estimators of scikit-learn."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import NotFoundError
from sololakehouse.models.model_settings import ModelSettings
from sololakehouse.models.trainers.preprocessing import for_lines, for_trees
from sololakehouse.models.trainers.trainer import Device, Task

if TYPE_CHECKING:
    import pandas as pd

_ESTIMATORS: Mapping[str, tuple[str, str]] = {
    "logistic_regression": ("sklearn.linear_model", "LogisticRegression"),
    "hist_gradient_boosting": ("sklearn.ensemble", "HistGradientBoostingClassifier"),
    "random_forest": ("sklearn.ensemble", "RandomForestClassifier"),
}


@dataclass(frozen=True)
class ScikitLearnTrainer:
    """Linear model, forest, and boosted trees."""

    settings: ModelSettings

    @property
    def libraries(self) -> tuple[str, ...]:
        """scikit-learn and what computes for it."""
        return ("scikit-learn", "numpy", "scipy")

    def parameters(self) -> frozenset[str]:
        """Return the parameters of the estimator's class."""
        return frozenset(inspect.signature(_class(self.settings)).parameters)

    def preprocessing(self, inputs: pd.DataFrame, /) -> Any:
        """Scale and encode for the linear model; trees take numbers as they are."""
        return for_lines(inputs) if _is_linear(self.settings) else for_trees(inputs)

    def fit(self, task: Task) -> Any:
        """Fit the estimator; boosted trees stop on the validation part, or not at all."""
        params = dict(self.settings.params)
        extra: dict[str, Any] = {}
        if _is_linear(self.settings):
            params.setdefault("max_iter", 1000)
        elif self.settings.estimator == "random_forest":
            params.setdefault("n_jobs", task.threads)
        elif (held_out := task.validation) is not None:
            rounds = self.settings.early_stopping_rounds
            params |= {"early_stopping": True, "n_iter_no_change": rounds}
            extra = {"X_val": held_out.inputs, "y_val": held_out.labels}
            extra["sample_weight_val"] = held_out.weights
        else:
            params.setdefault("early_stopping", False)
        estimator = _class(self.settings)(**params, random_state=task.seed)
        weights = task.train.weights
        estimator.fit(task.train.inputs, task.train.labels, sample_weight=weights, **extra)
        if self.settings.estimator == "random_forest":
            # Threads add up the trees' votes in the order in which they end.
            estimator.set_params(n_jobs=1)
        return estimator

    @property
    def threads_matter_on(self) -> frozenset[Device]:
        """Nowhere: threads share out trees or features, and BLAS uses one thread."""
        return frozenset()


def _is_linear(settings: ModelSettings) -> bool:
    return settings.estimator == "logistic_regression"


def _class(settings: ModelSettings) -> Any:
    name = str(settings.estimator)
    if name not in _ESTIMATORS:
        raise NotFoundError.of("estimator", name, _ESTIMATORS)
    module, class_name = _ESTIMATORS[name]
    return getattr(importlib.import_module(module), class_name)
