"""What a run of training keeps so that building its model again can be held against it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.models.model_content import model_content
from sololakehouse.models.part import AnyPart
from sololakehouse.provenance import order_digest

if TYPE_CHECKING:
    import numpy as np

    from sololakehouse.lake import Lakehouse, Snapshot

DATA = "data"
PREDICTIONS = "predictions"
MODEL_CONTENT = "model_content"


def data_evidence(lake: Lakehouse, training_set: Snapshot) -> dict[str, Any]:
    """Return what identifies the data that a run learns from.

    Returns
    -------
    dict
        `data`: the training set and each table that it was made from, by `schema.table@v3`, with
        the table's identifier and the digest of its content; `row_order` is that of the training
        set's rows.
    """
    record = training_set.record
    sources = [lake.read(one.table, one.version) for one in (record.inputs if record else ())]
    tables = {
        str(table.table_version): {
            "table_id": table.table_id,
            "digest": table.record.manifest.digest if table.record else None,
        }
        for table in (training_set, *sources)
    }
    return {DATA: {"tables": tables, "row_order": order_digest(training_set.scan())}}


def model_evidence(model: Any, parts: Mapping[str, AnyPart]) -> dict[str, Any]:
    """Return what identifies a fitted model: `predictions` by part, and `model_content`."""
    return {
        PREDICTIONS: {name: digest(predict(model, part)) for name, part in parts.items()},
        MODEL_CONTENT: model_content(model),
    }


def predict(model: Any, part: AnyPart) -> np.ndarray:
    """Return the probability of class 1 for each row of a part, shape (n,)."""
    import numpy as np

    found = [model.predict_proba(inputs)[:, 1] for inputs in part.frames()]
    return np.concatenate(found)


def digest(predictions: np.ndarray) -> str:
    """Return the SHA-256 of predictions as little-endian float64, in the order of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> digest(np.array([0.5, 0.25], "f4")) == digest(np.array([0.5, 0.25]))
    True
    """
    return hashlib.sha256(predictions.astype("<f8").tobytes()).hexdigest()
