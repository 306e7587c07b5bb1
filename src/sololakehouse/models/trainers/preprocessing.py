"""From columns of numbers and text to what an estimator takes, fitted on the training part alone.

Missing values and text that was never seen are values like others: no row is ever refused. Missing
text is a text of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

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
