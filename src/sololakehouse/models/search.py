"""The search for parameters: draws of Optuna, the same ones each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sololakehouse.models.metrics import Metric
from sololakehouse.models.model_settings import Search, Space

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True)
class Trialed:
    """What a search found.

    Attributes
    ----------
    params
        The best parameters; the first of equal ones.
    trials
        Each draw with its `value`, in order.
    """

    params: Mapping[str, Any]
    trials: tuple[Mapping[str, Any], ...]


def search(
    settings: Search, metric: Metric, seed: int, score: Callable[[Mapping[str, Any]], float]
) -> Trialed:
    """Draw parameters, score each draw, and return the best.

    The draws are those of Optuna's tree-structured Parzen estimator: later ones depend on the
    scores of the earlier ones, one after the other, so the same scores give the same draws.

    Parameters
    ----------
    score
        Gives the value of `metric` for parameters.

    References
    ----------
    Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011.
    """
    import optuna

    trials: list[Mapping[str, Any]] = []

    def objective(trial: Trial) -> float:
        params = {name: _drawn(trial, name, space) for name, space in settings.params.items()}
        value = score(params)
        trials.append({"params": params, "value": value})
        return value

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            direction="maximize" if metric.greater_is_better else "minimize",
            sampler=optuna.samplers.TPESampler(seed=seed),
        )
        study.optimize(objective, n_trials=settings.trials)
    finally:
        optuna.logging.set_verbosity(before)
    best = trials[0]
    for trial in trials[1:]:
        best = trial if metric.better(trial["value"], best["value"]) else best
    return Trialed(best["params"], tuple(trials))


def _drawn(trial: Trial, name: str, space: Space) -> Any:
    if space.choices is not None:
        # Optuna takes numbers and text for choices; ours may be lists.
        return space.choices[trial.suggest_categorical(name, range(len(space.choices)))]
    low, high = space.low, space.high
    if isinstance(low, int) and isinstance(high, int) and not isinstance(space.step, float):
        return trial.suggest_int(name, low, high, step=space.step or 1, log=space.log)
    return trial.suggest_float(name, low, high, step=space.step, log=space.log)
