"""Kind `xgboost`: boosted trees of XGBoost, on the CPU or with CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from sololakehouse.models.model_settings import ModelSettings
from sololakehouse.models.trainers.preprocessing import for_trees
from sololakehouse.models.trainers.trainer import Batches, BatchTask, Device, Task

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
        extra: dict[str, Any] = {}
        if task.validation is not None:
            held_out = task.validation
            extra = {"eval_set": [(held_out.inputs, held_out.labels)], "verbose": False}
            if held_out.weights is not None:
                extra["sample_weight_eval_set"] = [held_out.weights]
        estimator = self._estimator(task)
        if task.device == "cuda":
            estimator.set_params(device="cuda")
        weights = task.train.weights
        estimator.fit(task.train.inputs, task.train.labels, sample_weight=weights, **extra)
        if task.device == "cuda":
            estimator.set_params(device="cpu")
        return estimator

    def fit_batches(self, task: BatchTask) -> Any:
        """Fit the trees on the CPU from compressed pages on the disk, XGBoost's external memory."""
        from xgboost import train

        estimator = self._estimator(task)
        rows = _pages(task, task.train, estimator)
        held_out = task.validation
        watched = [] if held_out is None else [_pages(task, held_out, estimator, rows)]
        booster = train(
            estimator.get_xgb_params(),
            rows,
            estimator.get_num_boosting_rounds(),
            evals=[(pages, "validation") for pages in watched],
            early_stopping_rounds=self.settings.early_stopping_rounds,
            verbose_eval=False,
        )
        given = estimator.get_params()
        estimator.load_model(bytearray(booster.save_raw("ubj")))
        return estimator.set_params(base_score=given["base_score"], booster=given["booster"])

    def _estimator(self, task: Task | BatchTask) -> Any:
        from xgboost import XGBClassifier

        params = {"tree_method": "hist", "n_jobs": task.threads, **self.settings.params}
        rounds = self.settings.early_stopping_rounds
        return XGBClassifier(**params, random_state=task.seed, early_stopping_rounds=rounds)

    @property
    def threads_matter_on(self) -> frozenset[Device]:
        """On the CPU: threads share out the sums of a histogram."""
        return frozenset({"cpu"})


def _pages(task: BatchTask, batches: Batches, estimator: Any, cuts_of: Any = None) -> Any:
    """Return rows in the bins of their columns' quantiles, or in those of other pages."""
    from xgboost import DataIter, ExtMemQuantileDMatrix

    class Blocks(DataIter):
        def __init__(self) -> None:
            self.following = 0
            super().__init__(cache_prefix=f"{mkdtemp(prefix='pages-', dir=task.folder)}/page")

        def reset(self) -> None:
            self.following = 0

        def next(self, input_data: Any) -> bool:
            if self.following == len(batches):
                return False
            sample = batches.sample(self.following)
            self.following += 1
            input_data(data=sample.inputs, label=sample.labels, weight=sample.weights)
            return True

    return ExtMemQuantileDMatrix(
        Blocks(),
        missing=estimator.missing,
        nthread=task.threads,
        max_bin=estimator.max_bin,
        ref=cuts_of,
    )


def xgboost_distribution() -> str:
    """Return which of XGBoost's two distributions is installed: with CUDA, or without."""
    for name in _DISTRIBUTIONS:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    return _DISTRIBUTIONS[-1]
