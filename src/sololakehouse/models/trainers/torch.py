"""Kind `torch`: a plain network for tables, on the CPU or with CUDA."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.models.model_settings import ModelSettings
from sololakehouse.models.trainers.preprocessing import category_counts, for_networks
from sololakehouse.models.trainers.trainer import BatchTask, Device, Task, require

if TYPE_CHECKING:
    import pandas as pd

_SET_BY_THE_TASK = frozenset({"patience", "random_state", "threads", "device"})


@dataclass(frozen=True)
class TorchTrainer:
    """A network of `sololakehouse.models.trainers.network`."""

    settings: ModelSettings

    @property
    def libraries(self) -> tuple[str, ...]:
        """PyTorch, what prepares the data for it, and this package: the network is ours."""
        return ("torch", "safetensors", "sololakehouse", "scikit-learn", "numpy")

    def parameters(self) -> frozenset[str]:
        """Return the parameters of TabularClassifier."""
        return frozenset(inspect.signature(_class()).parameters) - _SET_BY_THE_TASK

    def preprocessing(self, inputs: pd.DataFrame, /) -> Any:
        """Scale numbers, and give text as codes for embeddings."""
        return for_networks(inputs)

    def fit(self, task: Task) -> Any:
        """Fit the network; it predicts on the CPU, wherever it was fitted."""
        held_out = task.validation
        return self._estimator(task).fit(
            task.train.inputs,
            task.train.labels,
            sample_weight=task.train.weights,
            categories=category_counts(task.preprocessing),
            validation=(held_out.inputs, held_out.labels, held_out.weights) if held_out else None,
        )

    def fit_batches(self, task: BatchTask) -> Any:
        """Fit the network on mini-batches of each block, in an order that the seed decides."""
        return self._estimator(task).fit_batches(
            task.train, categories=category_counts(task.preprocessing), validation=task.validation
        )

    def _estimator(self, task: Task | BatchTask) -> Any:
        return _class()(
            **self.settings.params,
            patience=self.settings.early_stopping_rounds,
            random_state=task.seed,
            threads=task.threads,
            device=task.device,
        )

    @property
    def threads_matter_on(self) -> frozenset[Device]:
        """On the CPU: threads share out the sums of a matrix product."""
        return frozenset({"cpu"})


def _class() -> Any:
    require("torch", "torch")
    from sololakehouse.models.trainers.network import TabularClassifier

    return TabularClassifier
