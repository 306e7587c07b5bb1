"""From columns of numbers and text to what an estimator takes, fitted on the training part alone.

Missing values and text that was never seen are values like others: no row is ever refused. Missing
text is a text of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sololakehouse.models.part import BatchedPart

_RARE = 0.001
UNKNOWN_CODE = -1


def for_trees(inputs: pd.DataFrame) -> Any:
    """Numbers as they are, text as its rank among the texts of training, NaN for others."""
    from sklearn.preprocessing import OrdinalEncoder

    nan = float("nan")
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=nan, encoded_missing_value=nan
    )
    return _by_type(inputs, "passthrough", encoder)


def for_lines(inputs: pd.DataFrame) -> Any:
    """Numbers scaled, with the median for missing ones and a column that says so; text as 0/1."""
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=_RARE)
    return _by_type(inputs, _scaled(), encoder)


def for_networks(inputs: pd.DataFrame) -> Any:
    """Numbers as for lines, then text as codes 0, 1, ...; -1 for a text never seen in training."""
    from sklearn.preprocessing import OrdinalEncoder

    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNKNOWN_CODE)
    return _by_type(inputs, _scaled(), encoder)


def fitted_by_column(preprocessing_of: Callable[[pd.DataFrame], Any], part: BatchedPart) -> Any:
    """Fit on a part of any size, one column at a time: what a fit on all its rows gives.

    No transformer learns anything of two columns together. So a few rows with the texts of each
    column and its missing values give the shape, and each column of numbers alone its median, mean
    and variance.

    Parameters
    ----------
    preprocessing_of
        As `Trainer.preprocessing`.
    """
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

    example = part.example
    texts = {n: part.distinct(n) for n in example.columns if example[n].dtype == object}
    height = max(2, *map(len, texts.values())) if texts else 2
    few: dict[str, Any] = {}
    numbers = [name for name in example.columns if name not in texts]
    missing = {name: bool(np.isnan(part.column(name)).any()) for name in numbers}
    for name in example.columns:
        values = texts[name] if name in texts else [0.0, np.nan if missing[name] else 1.0]
        kind: Any = object if name in texts else float
        few[name] = np.resize(np.array(values, dtype=kind), height)
    rows = pd.DataFrame(few)
    preprocessing = preprocessing_of(rows).fit(rows)
    scaled = preprocessing.named_transformers_.get("number")
    if isinstance(scaled, Pipeline):
        _learn_scales(scaled, part, missing)
    return preprocessing


def _learn_scales(scaled: Any, part: BatchedPart, missing: Mapping[str, bool]) -> None:
    """Replace what was learned of a few rows by what each column has; indicators come last."""
    imputer, scaler = (step for _, step in scaled.steps)
    indicators = len(missing)
    for place, (name, is_missing) in enumerate(missing.items()):
        alone = _scaled().fit(part.column(name).reshape(-1, 1))
        own_imputer, own_scaler = (step for _, step in alone.steps)
        imputer.statistics_[place] = own_imputer.statistics_[0]
        places = [place, indicators] if is_missing else [place]
        indicators += is_missing
        for learned in ("mean_", "var_", "scale_"):
            getattr(scaler, learned)[places] = getattr(own_scaler, learned)
        scaler.n_samples_seen_ = own_scaler.n_samples_seen_


def category_counts(fitted: Any) -> tuple[int, ...]:
    """Return how many codes each text has that `for_networks` encodes."""
    encoder = fitted.named_transformers_.get("text")
    if encoder is None:
        return ()
    return tuple(len(known) for known in encoder.categories_)


def _by_type(inputs: pd.DataFrame, numbers: Any, texts: Any) -> Any:
    from sklearn.compose import ColumnTransformer

    text = [name for name in inputs.columns if inputs[name].dtype == object]
    number = [name for name in inputs.columns if name not in text]
    steps: Sequence[tuple[str, Any, list[str]]] = (
        ("number", numbers, number),
        ("text", texts, text),
    )
    return ColumnTransformer([step for step in steps if step[2]], verbose_feature_names_out=False)


def _scaled() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
