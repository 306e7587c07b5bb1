"""Kind `lightgbm`: boosted trees of LightGBM, which is an extra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.models.model_settings import ModelSettings
from sololakehouse.models.trainers.preprocessing import for_trees
from sololakehouse.models.trainers.trainer import Device, Task, require

if TYPE_CHECKING:
    import pandas as pd

# LightGBM promises the same trees for any number of threads with these two.
_THREAD_INDEPENDENT = {"deterministic": True, "force_row_wise": True}


@dataclass(frozen=True)
class LightGBMTrainer:
    """Boosted trees, grown leaf by leaf."""

    settings: ModelSettings

    @property
    def libraries(self) -> tuple[str, ...]:
        """LightGBM and what prepares the data for it."""
        return ("lightgbm", "scikit-learn", "numpy")

    def parameters(self) -> frozenset[str]:
        """Return the parameters of LGBMClassifier."""
        return frozenset(_class()().get_params()) | frozenset(_THREAD_INDEPENDENT)

    def preprocessing(self, inputs: pd.DataFrame, /) -> Any:
        """Give numbers as they are, and text as its rank."""
        return for_trees(inputs)

    def fit(self, task: Task) -> Any:
        """Fit the trees; early stopping goes by the logarithmic loss."""
        from lightgbm import early_stopping

        fixed = {"n_jobs": task.threads, "verbosity": -1, "importance_type": "gain"}
        params = {**fixed, **_THREAD_INDEPENDENT, **self.settings.params}
        extra: dict[str, Any] = {}
        rounds = self.settings.early_stopping_rounds
        if task.validation is not None and rounds is not None:
            held_out = task.validation
            extra = {
                "eval_X": held_out.inputs,
                "eval_y": held_out.labels,
                "eval_sample_weight": [held_out.weights] if held_out.weights is not None else None,
                "callbacks": [early_stopping(rounds, verbose=False)],
            }
        estimator = _class()(**params, random_state=task.seed)
        weights = task.train.weights
        return estimator.fit(task.train.inputs, task.train.labels, sample_weight=weights, **extra)

    @property
    def threads_matter_on(self) -> frozenset[Device]:
        """Nowhere, unless the parameters give up what LightGBM promises."""
        kept = all(self.settings.params.get(name, True) for name in _THREAD_INDEPENDENT)
        return frozenset() if kept else frozenset({"cpu"})


def _class() -> Any:
    require("lightgbm", "lightgbm")
    from lightgbm import LGBMClassifier

    return LGBMClassifier
