"""What every kind of model fulfils, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from sololakehouse.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sololakehouse.models.part import BatchedPart

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Sample:
    """Rows for an estimator.

    Attributes
    ----------
    inputs
        What the preprocessing makes of them, shape (n, columns).
    labels
        0 or 1, shape (n,).
    weights
        How much each row counts, shape (n,); None: all the same.
    """

    inputs: Any
    labels: np.ndarray
    weights: np.ndarray | None


@dataclass(frozen=True)
class Task:
    """What an estimator is fitted on.

    `validation` only tells when to stop; it is None if training does not stop early.
    """

    train: Sample
    validation: Sample | None
    seed: int
    threads: int
    device: Device
    preprocessing: Any


@dataclass(frozen=True)
class Batches:
    """The rows of a part, block by block, as the preprocessing makes them; `weights` of all."""

    part: BatchedPart
    preprocessing: Any
    weights: np.ndarray | None

    def __len__(self) -> int:
        """Return how many blocks there are."""
        return self.part.blocks

    def sample(self, block: int) -> Sample:
        """Read a block."""
        rows = self.part.rows_of(block)
        weights = None if self.weights is None else self.weights[rows]
        inputs = self.preprocessing.transform(self.part.frame(block))
        return Sample(inputs, self.part.labels[rows], weights)


@dataclass(frozen=True)
class BatchTask:
    """What an estimator is fitted on, block by block; see `Task`.

    Attributes
    ----------
    folder
        Where a library may write what it keeps while it trains.
    """

    train: Batches
    validation: Batches | None
    seed: int
    threads: int
    device: Device
    preprocessing: Any
    folder: Path


class Trainer(Protocol):
    """One model of an experiment, by its settings."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The distributions whose versions decide the model."""

    @property
    def threads_matter_on(self) -> frozenset[Device]:
        """Where another number of threads can give another model."""

    def parameters(self) -> frozenset[str] | None:
        """Return the names that `params` may have; None: any.

        Raises
        ------
        NotFoundError
            The estimator does not exist.
        ConfigError
            The library is not installed, or the function cannot be loaded.
        """

    def preprocessing(self, inputs: pd.DataFrame, /) -> Any:
        """Return a transformer for the columns of `inputs`, not fitted."""

    def fit(self, task: Task) -> Any:
        """Return a fitted classifier of the classes 0 and 1; the same task gives the same one.

        Raises
        ------
        TypeError, ValueError
            The estimator refuses a parameter's value.
        ConfigError
            The function gives no classifier that could be kept.
        """


@runtime_checkable
class BatchTrainer(Trainer, Protocol):
    """One that can do without all rows at once."""

    def fit_batches(self, task: BatchTask) -> Any:
        """Return a fitted classifier, as `fit` does; the same blocks give the same one.

        Raises
        ------
        TypeError, ValueError
            The estimator refuses a parameter's value.
        """


def require(distribution: str, extra: str) -> None:
    """Refuse a kind whose library is not installed.

    Raises
    ------
    ConfigError
        It is not: says how to install it.
    """
    try:
        version(distribution)
    except PackageNotFoundError as error:
        raise ConfigError(
            f"kind {extra} needs the library {distribution}: pip install 'sololakehouse[{extra}]'."
        ) from error
