"""A fitted pipeline that takes arrays: the same fitted parts and numbers, without pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.models.inputs import model_input
from sololakehouse.serving.category_codes import CategoryCodes

if TYPE_CHECKING:
    import polars as pl

# Up to so many rows Python lists are sooner at numbers than a query of Polars.
_FEW = 16
_PREPROCESSING, _ESTIMATOR = "preprocessing", "estimator"


@dataclass(frozen=True)
class ArrayModel:
    """Preprocessing and estimator of a pipeline, as `slh train` makes them.

    One row goes through pandas and a ColumnTransformer in milliseconds, and through the fitted
    parts themselves in a fraction of one.

    Attributes
    ----------
    blocks
        Columns that are prepared together, whether they are text, and what prepares them; None:
        they stay as they are.
    sparse
        Whether the estimator was fitted on a sparse matrix.
    """

    blocks: tuple[tuple[tuple[str, ...], bool, Any], ...]
    sparse: bool
    estimator: Any

    @classmethod
    def of(cls, model: Any, columns: Sequence[str], sample: pl.DataFrame) -> ArrayModel | None:
        """Take a pipeline apart; None if it has another form or would answer the sample otherwise.

        Parameters
        ----------
        sample
            Rows with the model's inputs. Every answer must be that of the pipeline, to the bit.
        """
        parts = dict(getattr(model, "steps", ()))
        if list(parts) != [_PREPROCESSING, _ESTIMATOR] or not sample.height:
            return None
        try:
            made = cls._apart(parts[_PREPROCESSING], parts[_ESTIMATOR], sample)
            same = made._answers_as(model, columns, sample)
        except (AttributeError, TypeError, ValueError):
            return None
        return made if same else None

    @classmethod
    def _apart(cls, preprocessing: Any, estimator: Any, sample: pl.DataFrame) -> ArrayModel:
        blocks = tuple(
            (tuple(names), _is_text(sample, names), _on_arrays(transformer))
            for _, transformer, names in preprocessing.transformers_
            if len(names) and not isinstance(transformer, str)
        )
        if hasattr(estimator, "n_jobs"):
            estimator.set_params(n_jobs=1)
        return cls(blocks, bool(preprocessing.sparse_output_), estimator)

    def _answers_as(self, model: Any, columns: Sequence[str], sample: pl.DataFrame) -> bool:
        import numpy as np

        ask = "predict_proba" if hasattr(model, "predict_proba") else "predict"
        expected = getattr(model, ask)(model_input(sample, columns))
        mine = getattr(self, ask)(self.as_input(sample, columns))
        few = getattr(self, ask)(self.as_input(sample.tail(_FEW), columns))
        return np.array_equal(mine, expected) and np.array_equal(few, expected[-_FEW:])

    def __getattr__(self, name: str) -> Any:
        """Have what the estimator has: `classes_`, `predict`, perhaps `predict_proba`."""
        if name in ("classes_", "predict", "predict_proba"):
            return getattr(self.estimator, name)
        raise AttributeError(name)

    def as_input(self, found: pl.DataFrame, columns: Sequence[str]) -> Any:
        """Return the matrix for the estimator.

        Raises
        ------
        NotFoundError, ConfigError, RunError
            As `model_input`.
        """
        import numpy as np

        made = []
        for names, is_text, transformer in self.blocks:
            block = _texts(found, names) if is_text else _numbers(found, names)
            if not is_text and np.isinf(block).any():
                model_input(found, columns)
            made.append(block if transformer is None else transformer.transform(block))
        if self.sparse:
            from scipy.sparse import hstack

            return hstack(made).tocsr()
        return np.hstack([one.toarray() if hasattr(one, "toarray") else one for one in made])


def _is_text(sample: pl.DataFrame, names: Sequence[str]) -> bool:
    kinds = {
        not (
            sample.schema[name].is_numeric()
            or sample.schema[name].base_type().__name__ == "Boolean"
        )
        for name in names
    }
    if len(kinds) > 1:
        raise ValueError("Text and numbers in one block.")
    return kinds.pop()


def _on_arrays(transformer: Any) -> Any:
    """Return what does to arrays what a fitted transformer does to frames; None: nothing."""
    if getattr(transformer, "func", transformer) is None:
        return None
    without_names = _without_names(transformer)
    return CategoryCodes.of(without_names) or without_names


def _without_names(transformer: Any) -> Any:
    """Copy a transformer that was fitted on a frame, so that it takes arrays."""
    copied = deepcopy(transformer)
    for part in (copied, *(step for _, step in getattr(copied, "steps", ()))):
        if "feature_names_in_" in vars(part):
            del part.feature_names_in_
    return copied


def _numbers(found: pl.DataFrame, names: Sequence[str]) -> Any:
    import numpy as np
    import polars as pl

    if found.height <= _FEW:
        return np.array([found[name].to_list() for name in names], float).T
    return found.select(pl.col(names).cast(pl.Float64)).to_numpy()


def _texts(found: pl.DataFrame, names: Sequence[str]) -> Any:
    import numpy as np

    block = np.empty((found.height, len(names)), object)
    for number, name in enumerate(names):
        block[:, number] = found[name].cast(str).to_list()
    return block
