"""One part of a training set, as an estimator takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Part:
    """One part of the data: inputs of shape (n, features) and labels 0 or 1 of shape (n,).

    Attributes
    ----------
    unknown
        How many rows of its period are left out, because their label was not known when the period
        ended.
    embargoed
        How many rows are left out, because they lie within the embargo before the next part.
    moments
        By which the rows are ordered in time, UTC, shape (n,), datetime64[us]; None: not known, and
        the part cannot be cut further.
    known_at
        When each label was known, likewise, NaT if it is not; None: the experiment does not say.
    """

    name: str
    inputs: pd.DataFrame
    labels: np.ndarray
    unknown: int = 0
    embargoed: int = 0
    moments: np.ndarray | None = None
    known_at: np.ndarray | None = None
