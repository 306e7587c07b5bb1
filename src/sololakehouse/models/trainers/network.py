"""A network for tables as a scikit-learn classifier, whose state is numbers and text only.

Imports scikit-learn: import this module where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

if TYPE_CHECKING:
    import torch

    from sololakehouse.models.trainers.trainer import Batches

_CHUNK = 256
_LARGEST_EMBEDDING = 50
_NETWORK = "_network"


class TabularClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Embeddings for text, a batch or layer normalization, hidden layers, mini-batches.

    Inputs are columns of scaled numbers, then one column of codes for each text: 0, 1, ... and -1
    for what was never seen. It is fitted with AdamW on the logarithmic loss. The weights of
    the epoch that is best on the validation rows are kept; without validation those of the last.

    Fitted with the same rows, seed, threads and device, it is the same. A row's probability does
    not depend on the rows beside it.

    Parameters
    ----------
    hidden
        Width of each hidden layer.
    normalization
        Before each activation: `batch`, `layer` or None.
    dropout
        Share of each hidden layer that is left out while training.
    epochs, batch_size
        How often all rows are seen, and how many at once.
    learning_rate, weight_decay
        Of AdamW.
    patience
        Epochs without progress on the validation rows after which training stops; None: never.
    random_state
        Seed of weights, dropout and the order of rows.
    threads
        Threads on the CPU while training.
    device
        `cpu` or `cuda`, for training. Predictions are made on the CPU.

    Attributes
    ----------
    layout_
        Widths of the network: numbers, categories, hidden, normalization, dropout.
    weights_
        The state_dict as safetensors.
    history_
        The validation loss after each epoch; empty without validation.

    References
    ----------
    Guo and Berkhahn, Entity Embeddings of Categorical Variables, 2016.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128, 64),
        normalization: str | None = "batch",
        dropout: float = 0.1,
        epochs: int = 30,
        batch_size: int = 1024,
        learning_rate: float = 0.001,
        weight_decay: float = 0.0001,
        patience: int | None = None,
        random_state: int = 0,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        self.hidden = hidden
        self.normalization = normalization
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.random_state = random_state
        self.threads = threads
        self.device = device

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        *,
        categories: Sequence[int] = (),
        validation: tuple[Any, Any, Any] | None = None,
    ) -> TabularClassifier:
        """Fit the network.

        Parameters
        ----------
        X
            Shape (n, numbers + texts), no NaN.
        y
            0 or 1, shape (n,).
        categories
            How many codes each of the last columns has.
        validation
            Inputs, labels and weights (or None) of the rows that tell when to stop.

        Raises
        ------
        ValueError
            A parameter has no valid value.
        """
        self._begin(int(X.shape[1]), categories)
        with _deterministic(self.random_state, self.threads, self.device):
            rows = _tensors(X, y, sample_weight, self.device)
            held_out = [_tensors(*validation, self.device)] if validation else None
            self._learn(partial(_batches, rows, self.batch_size), held_out)
        return self

    def fit_batches(
        self, rows: Batches, *, categories: Sequence[int] = (), validation: Batches | None = None
    ) -> TabularClassifier:
        """Fit the network as `fit` does, reading one block of rows after the other.

        In each epoch the blocks are taken in another order, and so are the rows within each; a
        mini-batch has rows of one block.
        """
        self._begin(int(rows.sample(0).inputs.shape[1]), categories)
        with _deterministic(self.random_state, self.threads, self.device):
            held_out = None if validation is None else _Blocks(validation, self.device)
            self._learn(_Blocks(rows, self.device, self.batch_size).shuffled, held_out)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probabilities of 0 and 1, shape (n, 2)."""
        import torch

        inputs = torch.as_tensor(np.asarray(X, dtype=np.float32))
        with torch.inference_mode():
            found = [self._chances(chunk).numpy() for chunk in inputs.split(_CHUNK)]
        one = np.concatenate(found) if found else np.zeros(0)
        return np.column_stack([1 - one, one])

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return 1 where its probability is at least 0.5, else 0; shape (n,)."""
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(int)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != _NETWORK}

    def _begin(self, columns: int, categories: Sequence[int]) -> None:
        self._check()
        self.classes_ = np.array([0, 1])
        self.layout_ = {
            "numbers": columns - len(categories),
            "categories": list(categories),
            "hidden": list(self.hidden),
            "normalization": self.normalization,
            "dropout": float(self.dropout),
        }

    def _check(self) -> None:
        if self.normalization not in ("batch", "layer", None):
            raise ValueError(f"normalization {self.normalization!r} is not batch, layer or null")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout} is not from 0 to below 1")
        sizes = (*self.hidden, self.epochs, self.batch_size)
        if not all(isinstance(one, int) and one > 0 for one in sizes):
            raise ValueError("hidden, epochs and batch_size must be positive integers")

    def _learn(
        self,
        epoch: Callable[[torch.Generator], Iterable[Rows]],
        held_out: Iterable[Rows] | None,
    ) -> None:
        import torch

        network = _network(self.layout_).to(self.device)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        order = torch.Generator().manual_seed(self.random_state)
        best: tuple[float, dict[str, torch.Tensor]] | None = None
        self.history_: list[float] = []
        for _ in range(self.epochs):
            network.train()
            for batch in epoch(order):
                optimizer.zero_grad()
                _loss(network, batch).backward()
                optimizer.step()
            if held_out is None:
                continue
            network.eval()
            self.history_.append(_mean_loss(network, held_out))
            if best is None or self.history_[-1] < best[0]:
                best = (self.history_[-1], _copied(network))
            since = len(self.history_) - 1 - self.history_.index(best[0])
            if self.patience is not None and since >= self.patience:
                break
        weights = best[1] if best else _copied(network)
        if not all(bool(torch.isfinite(one).all()) for one in weights.values()):
            raise ValueError("the weights grew beyond all bounds; lower learning_rate")
        self.weights_ = _saved(weights)
        self.__dict__.pop(_NETWORK, None)

    def _chances(self, chunk: torch.Tensor) -> torch.Tensor:
        """Compute a chunk that is filled up: another shape adds up, and rounds, in another way."""
        import torch

        filled = torch.nn.functional.pad(chunk, (0, 0, 0, _CHUNK - len(chunk)))
        found: torch.Tensor = torch.sigmoid(self._loaded()(filled).double())[: len(chunk)]
        return found

    def _loaded(self) -> torch.nn.Module:
        if _NETWORK not in self.__dict__:
            import torch
            from safetensors.torch import load

            # Without memory of its own, and without drawing weights that are replaced at once.
            with torch.device("meta"):
                network = _network(self.layout_)
            network.load_state_dict(load(self.weights_), assign=True)
            network.eval()
            self.__dict__[_NETWORK] = network
        found: torch.nn.Module = self.__dict__[_NETWORK]
        return found


Rows = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


def _network(layout: Mapping[str, Any]) -> torch.nn.Module:
    import torch
    from torch import nn

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            sizes = [(count + 1, _embedding_width(count)) for count in layout["categories"]]
            self.embeddings = nn.ModuleList(nn.Embedding(*size) for size in sizes)
            width = layout["numbers"] + sum(wide for _, wide in sizes)
            layers: list[nn.Module] = []
            for wide in layout["hidden"]:
                layers += [nn.Linear(width, wide), _normalization(layout["normalization"], wide)]
                layers += [nn.ReLU(), nn.Dropout(layout["dropout"])]
                width = wide
            self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            numbers, codes = inputs.tensor_split([layout["numbers"]], dim=1)
            known = codes.long() + 1
            parts = [embed(known[:, place]) for place, embed in enumerate(self.embeddings)]
            found: torch.Tensor = self.layers(torch.cat([numbers, *parts], dim=1)).squeeze(1)
            return found

    return Network()


def _normalization(name: str | None, width: int) -> Any:
    from torch import nn

    kinds = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
    return kinds[name](width) if name else nn.Identity()


def _embedding_width(categories: int) -> int:
    return min(_LARGEST_EMBEDDING, (categories + 2) // 2)


def _tensors(inputs: Any, labels: Any, weights: Any, device: str) -> Rows:
    import torch

    given = (inputs, labels, np.ones(len(labels)) if weights is None else weights)
    one, two, three = (torch.as_tensor(np.asarray(part, dtype=np.float32)) for part in given)
    return one.to(device), two.to(device), three.to(device)


def _batches(rows: Rows, size: int, order: torch.Generator) -> Iterator[Rows]:
    import torch

    inputs, labels, weights = rows
    for batch in torch.randperm(len(labels), generator=order).split(size):
        # The spread of one row, by which a batch is normalized, does not exist.
        if len(batch) > 1 or len(labels) == 1:
            chosen = batch.to(labels.device)
            yield inputs[chosen], labels[chosen], weights[chosen]


@dataclass(frozen=True)
class _Blocks:
    """Blocks of rows as tensors, in their order or shuffled."""

    rows: Batches
    device: str
    size: int = 1

    def __iter__(self) -> Iterator[Rows]:
        return map(self._block, range(len(self.rows)))

    def shuffled(self, order: torch.Generator) -> Iterator[Rows]:
        """Give mini-batches: blocks in another order each time, and rows within each."""
        import torch

        for number in torch.randperm(len(self.rows), generator=order).tolist():
            yield from _batches(self._block(number), self.size, order)

    def _block(self, number: int) -> Rows:
        sample = self.rows.sample(number)
        return _tensors(sample.inputs, sample.labels, sample.weights, self.device)


def _loss(network: torch.nn.Module, rows: Rows) -> torch.Tensor:
    from torch.nn.functional import binary_cross_entropy_with_logits

    inputs, labels, weights = rows
    return binary_cross_entropy_with_logits(network(inputs), labels, weights)


def _mean_loss(network: torch.nn.Module, blocks: Iterable[Rows]) -> float:
    import torch

    mean, seen = 0.0, 0
    with torch.inference_mode():
        for rows in blocks:
            seen += len(rows[1])
            mean += (float(_loss(network, rows)) - mean) * (len(rows[1]) / seen)
    return mean


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _saved(weights: dict[str, torch.Tensor]) -> bytes:
    from safetensors.torch import save

    return bytes(save(weights))


@contextmanager
def _deterministic(seed: int, threads: int, device: str) -> Iterator[None]:
    """Fix all that decides the weights, and leave PyTorch as it was."""
    # cuBLAS reads this when CUDA is first used; without it PyTorch refuses to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        try:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(True)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
