"""Kind `xgboost`: boosted trees of XGBoost, on the CPU or with CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sololakehouse.models.model_settings import ModelSettings
from sololakehouse.models.trainers.preprocessing import for_trees
from sololakehouse.models.trainers.trainer import Device, Task

if TYPE_CHECKING:
    import pandas as pd

# The one with CUDA, and the small one.
_DISTRIBUTIONS = ("xgboost", "xgboost-cpu")


@dataclass(frozen=True)
class XGBoostTrainer:
    """Boosted trees."""

    settings: ModelSettings

    @property
    def libraries(self) -> tuple[str, ...]:
        """The one of XGBoost's two distributions that is installed."""
        return (xgboost_distribution(), "scikit-learn", "numpy")

    def parameters(self) -> frozenset[str]:
        """Return the parameters of XGBClassifier."""
        from xgboost import XGBClassifier

        return frozenset(XGBClassifier().get_params())

    def preprocessing(self, inputs: pd.DataFrame, /) -> Any:
        """Give numbers as they are, and text as its rank."""
        return for_trees(inputs)

    def fit(self, task: Task) -> Any:
        """Fit the trees; the model predicts on the CPU, wherever it was fitted."""
        from xgboost import XGBClassifier

        params = {"tree_method": "hist", "n_jobs": task.threads, **self.settings.params}
        rounds = self.settings.early_stopping_rounds
        extra: dict[str, Any] = {}
        if task.validation is not None:
            held_out = task.validation
            extra = {"eval_set": [(held_out.inputs, held_out.labels)], "verbose": False}
            if held_out.weights is not None:
                extra["sample_weight_eval_set"] = [held_out.weights]
        if task.device == "cuda":
            params["device"] = "cuda"
        estimator = XGBClassifier(**params, random_state=task.seed, early_stopping_rounds=rounds)
        weights = task.train.weights
        estimator.fit(task.train.inputs, task.train.labels, sample_weight=weights, **extra)
        if task.device == "cuda":
            estimator.set_params(device="cpu")
        return estimator

    @property
    def threads_matter_on(self) -> frozenset[Device]:
        """On the CPU: threads share out the sums of a histogram."""
        return frozenset({"cpu"})


def xgboost_distribution() -> str:
    """Return which of XGBoost's two distributions is installed: with CUDA, or without."""
    for name in _DISTRIBUTIONS:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    return _DISTRIBUTIONS[-1]
