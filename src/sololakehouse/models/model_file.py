"""The file of a model, skops or UBJSON: neither runs code when it is loaded.

A skops file is an archive of plain values. What a library fitted is in it as the library's own safe
form: XGBoost's UBJSON, LightGBM's text, PyTorch's weights as safetensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

Flavor = Literal["sklearn", "xgboost"]
SKOPS_FILE = "model.skops"
XGBOOST_FILE = "model.ubj"
# What skops does not trust by itself, and our pipelines hold. The trees are there for
# random_forest and hist_gradient_boosting: scikit-learn does not check the bounds of their node
# indices, so a crafted file could crash the process. Load models of your own lakehouse only.
TRUSTED_TYPES = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sololakehouse.models.trainers.network.TabularClassifier",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)


def load_model_file(folder: Path) -> Any:
    """Load the model in a folder that MLflow keeps.

    Only types that skops or this package trusts are loaded, whatever the artifact says of itself.

    Raises
    ------
    OSError, TypeError, ValueError, KeyError, BadZipFile
        There is no file, it is damaged, or it holds other types.
    """
    if (folder / XGBOOST_FILE).is_file():
        return _load_xgboost(folder / XGBOOST_FILE)
    from skops.io import load

    return load(folder / SKOPS_FILE, trusted=list(TRUSTED_TYPES))


def untrusted_types(model: Any) -> list[str]:
    """Return the types in a scikit-learn model that would not be loaded again."""
    from skops.io import dumps, get_untrusted_types

    found: list[str] = get_untrusted_types(data=dumps(model))
    return sorted(set(found) - set(TRUSTED_TYPES))


def _load_xgboost(file: Path) -> Any:
    from xgboost import Booster, XGBClassifier, XGBRegressor
    from xgboost.core import XGBoostError

    try:
        booster = Booster(model_file=file)
    except XGBoostError as error:
        raise ValueError(str(error)) from error
    kind = json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type")
    model = XGBRegressor() if kind == "regressor" else XGBClassifier()
    model.load_model(file)
    return model
