"""Kind `python`: a classifier that a function of the project makes."""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import ConfigError, NotFoundError
from sololakehouse.models.model_settings import ModelSettings
from sololakehouse.models.trainers.trainer import Device, Task

if TYPE_CHECKING:
    import pandas as pd

_SEED = "seed"
_PROBABILITIES = "predict_proba"
_MARGINS = "decision_function"


@dataclass(frozen=True)
class PythonTrainer:
    """Whatever keeps to scikit-learn's interface and can be kept without pickle."""

    settings: ModelSettings

    @property
    def libraries(self) -> tuple[str, ...]:
        """scikit-learn, and what else of ours the module imports."""
        imported = set(_imports(str(self.settings.source)))
        others = {"xgboost": "xgboost-cpu", "lightgbm": "lightgbm", "torch": "torch"}
        found = (other for name, other in others.items() if name in imported)
        return ("scikit-learn", "numpy", "scipy", *found)

    def parameters(self) -> frozenset[str] | None:
        """Return the parameters of the function; None if it takes any."""
        parameters = inspect.signature(_function(self.settings)).parameters
        if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            return None
        return frozenset(parameters) - {_SEED}

    def preprocessing(self, _: pd.DataFrame, /) -> Any:
        """Change nothing: what the classifier needs, its own pipeline brings."""
        from sklearn.preprocessing import FunctionTransformer

        return FunctionTransformer(feature_names_out="one-to-one")

    def fit(self, task: Task) -> Any:
        """Make the classifier and fit it."""
        function = _function(self.settings)
        seed = {_SEED: task.seed} if _SEED in inspect.signature(function).parameters else {}
        estimator = function(**self.settings.params, **seed)
        for method in ("fit", "predict"):
            if not hasattr(estimator, method):
                raise ConfigError(
                    f"{self.settings.function} gives {type(estimator).__name__}, which has no "
                    f"{method!r}. Return a classifier of scikit-learn's kind, not fitted."
                )
        _refuse_unsafe(self.settings, estimator)
        fitted = estimator.fit(task.train.inputs, task.train.labels)
        _refuse_unsafe(self.settings, fitted)
        _refuse_without_probabilities(self.settings, fitted)
        return fitted

    @property
    def threads_matter_on(self) -> frozenset[Device]:
        """On the CPU, as nothing is known of it."""
        return frozenset({"cpu"})


def _function(settings: ModelSettings) -> Any:
    from sololakehouse.features.udf import said

    module, _, name = str(settings.function).partition(":")
    place = f"{module.replace('.', '/')}.py"
    loaded = types.ModuleType(module)
    loaded.__file__ = place
    try:
        exec(compile(str(settings.source), place, "exec", dont_inherit=True), vars(loaded))
    except Exception as error:
        raise ConfigError(f"{place}: {said(error)}.") from error
    found = getattr(loaded, name, None)
    if not isinstance(found, types.FunctionType):
        functions = [one for one, value in vars(loaded).items() if inspect.isfunction(value)]
        raise NotFoundError.of("function", name, functions, where=place)
    return found


def _imports(source: str) -> set[str]:
    import ast

    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return set()
    plain = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
    named = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in plain | named}


def _refuse_unsafe(settings: ModelSettings, estimator: Any) -> None:
    from sololakehouse.models.model_file import untrusted_types

    unsafe = untrusted_types(estimator)
    if unsafe:
        raise ConfigError(
            f"{settings.function} gives a model that holds {', '.join(unsafe)}, which cannot be "
            "loaded again without running whatever its file says. Build it from the estimators and "
            "transformers of scikit-learn, XGBoost and LightGBM."
        )


def _refuse_without_probabilities(settings: ModelSettings, estimator: Any) -> None:
    if hasattr(estimator, _PROBABILITIES):
        return
    if settings.calibration is not None and hasattr(estimator, _MARGINS):
        return
    advice = "Return one that has it."
    if hasattr(estimator, _MARGINS):
        advice = "'calibration: sigmoid' makes probabilities of its decision_function."
    raise ConfigError(
        f"{settings.function} gives {type(estimator).__name__}, which has no predict_proba: "
        f"metrics, plots and the threshold need probabilities. {advice}"
    )
