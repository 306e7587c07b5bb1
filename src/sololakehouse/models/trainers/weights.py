"""How much each row of a class counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sololakehouse.models.model_settings import ModelSettings

if TYPE_CHECKING:
    import numpy as np


def row_weights(
    settings: ModelSettings, train: np.ndarray, labels: np.ndarray
) -> np.ndarray | None:
    """Return the weight of each row of `labels`, shape (n,); None if all count the same.

    Parameters
    ----------
    train
        The labels of the training part: `balanced` gives each class half of its weight, as
        scikit-learn does, n / (2 x count of the class).
    labels
        0 or 1, of any part.
    """
    if settings.class_weight is None:
        return None
    import numpy as np
    from sklearn.utils.class_weight import compute_class_weight

    both = compute_class_weight(settings.class_weight, classes=np.array([0, 1]), y=train)
    weights: np.ndarray = both[labels]
    return weights
