"""Trainers: preprocessing and an estimator as one scikit-learn pipeline, fitted deterministically.

Preprocessing and estimator are fitted on the training part alone. The validation part tells when to
stop, corrects probabilities, and chooses the threshold. Thread counts are fixed, because sums of
floats can depend on them; `Trainer.threads_matter_on` says where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import ConfigError, suggestion
from sololakehouse.models.metrics import THRESHOLD
from sololakehouse.models.model_settings import THREADS, Kind, ModelSettings
from sololakehouse.models.trainers.decision import (
    best_threshold,
    calibrated,
    deciding,
    innermost,
    with_threshold,
)
from sololakehouse.models.trainers.lightgbm import LightGBMTrainer
from sololakehouse.models.trainers.preprocessing import fitted_by_column
from sololakehouse.models.trainers.python import PythonTrainer
from sololakehouse.models.trainers.scikit_learn import ScikitLearnTrainer
from sololakehouse.models.trainers.torch import TorchTrainer
from sololakehouse.models.trainers.trainer import (
    Batches,
    BatchTask,
    BatchTrainer,
    Device,
    Sample,
    Task,
    Trainer,
)
from sololakehouse.models.trainers.weights import row_weights
from sololakehouse.models.trainers.xgboost import XGBoostTrainer

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from sololakehouse.models.part import BatchedPart, Part

__all__ = [
    "THREADS",
    "check_settings",
    "decisive_libraries",
    "fit",
    "fit_batches",
    "importances",
    "trainer_of",
    "used_params",
]

_TRAINERS: Mapping[Kind, Callable[[ModelSettings], Trainer]] = {
    "sklearn": ScikitLearnTrainer,
    "xgboost": XGBoostTrainer,
    "lightgbm": LightGBMTrainer,
    "torch": TorchTrainer,
    "python": PythonTrainer,
}
_SEEDS = dict.fromkeys(("random_state", "seed"), "The experiment's 'seed' sets it.")
_SET_ELSEWHERE: Mapping[str, str] = {
    **_SEEDS,
    "device": "The experiment's 'device' sets it.",
    "early_stopping_rounds": "Write it beside 'params'.",
    "class_weight": "Write it beside 'params'.",
}


def trainer_of(settings: ModelSettings) -> Trainer:
    """Return what trains a model of these settings."""
    return _TRAINERS[settings.kind](settings)


def check_settings(settings: ModelSettings) -> None:
    """Check estimator and parameters without training.

    Raises
    ------
    NotFoundError
        The estimator or the function does not exist.
    ConfigError
        It has no such parameter, the parameter is set elsewhere, or the kind's library is not
        installed.
    """
    known = trainer_of(settings).parameters()
    elsewhere = _SEEDS if settings.kind == "python" else _SET_ELSEWHERE
    for name in (*settings.params, *(settings.search.params if settings.search else ())):
        if name in elsewhere:
            raise ConfigError(
                f"{settings.name}: {name!r} does not go into 'params'. {elsewhere[name]}"
            )
        if known is not None and name not in known:
            hint = suggestion(name, known - set(elsewhere), "parameter")
            raise ConfigError(f"{settings.name} has no parameter {name!r}. {hint}")


def decisive_libraries(settings: ModelSettings) -> tuple[str, ...]:
    """Return the distributions whose versions decide a model of these settings."""
    libraries = trainer_of(settings).libraries
    return (*libraries, "optuna") if settings.search else libraries


def fit(
    settings: ModelSettings,
    train: Part,
    validation: Part,
    seed: int,
    *,
    threads: int = THREADS,
    device: Device = "cpu",
) -> Pipeline:
    """Fit preprocessing and estimator; the same data, seed, threads and device give the same model.

    Raises
    ------
    ConfigError
        The estimator refuses a parameter's value, or the validation part is too small for the
        calibration.
    """
    from sklearn.pipeline import Pipeline

    trainer = trainer_of(settings)
    preprocessing = trainer.preprocessing(train.inputs)
    inputs = preprocessing.fit_transform(train.inputs)
    held_out = preprocessing.transform(validation.inputs) if _is_used(settings) else None
    samples = [
        Sample(rows, part.labels, row_weights(settings, train.labels, part.labels))
        for rows, part in ((inputs, train), (held_out, validation))
    ]
    stopping = samples[1] if settings.early_stopping_rounds is not None else None
    task = Task(samples[0], stopping, seed, threads, device, preprocessing)
    with _fixed_threads(threads), _refusals(settings):
        estimator = trainer.fit(task)
        estimator = calibrated(estimator, settings, held_out, validation.labels)
        estimator = with_threshold(estimator, settings, held_out, validation.labels)
    return Pipeline([("preprocessing", preprocessing), ("estimator", estimator)])


def fit_batches(
    settings: ModelSettings,
    train: BatchedPart,
    validation: BatchedPart,
    seed: int,
    *,
    threads: int = THREADS,
    device: Device = "cpu",
) -> Pipeline:
    """Fit as `fit` does, without ever holding all rows; the settings have no calibration.

    The model need not be that of `fit` to the last bit. The same blocks, seed, threads and device
    give the same model.

    Raises
    ------
    ConfigError
        The estimator refuses a parameter's value, or the kind is not trained from batches.
    """
    from sklearn.pipeline import Pipeline

    trainer = trainer_of(settings)
    if not isinstance(trainer, BatchTrainer):
        raise ConfigError(f"{settings.name} is not trained from batches.")
    preprocessing = fitted_by_column(trainer.preprocessing, train)
    rows, held_out = (
        Batches(part, preprocessing, row_weights(settings, train.labels, part.labels))
        for part in (train, validation)
    )
    stopping = held_out if settings.early_stopping_rounds is not None else None
    folder = train.file.parent
    task = BatchTask(rows, stopping, seed, threads, device, preprocessing, folder)
    with _fixed_threads(threads), _refusals(settings):
        estimator = trainer.fit_batches(task)
        if settings.threshold != THRESHOLD:
            first, wanted = rows.sample(0), _threshold(estimator, settings, held_out)
            estimator = deciding(estimator, wanted, first.inputs, first.labels)
    return Pipeline([("preprocessing", preprocessing), ("estimator", estimator)])


def _threshold(estimator: Any, settings: ModelSettings, held_out: Batches) -> float:
    import numpy as np

    wanted = settings.threshold
    if isinstance(wanted, float | int):
        return wanted
    blocks = (held_out.sample(number).inputs for number in range(len(held_out)))
    probability = np.concatenate([estimator.predict_proba(inputs)[:, 1] for inputs in blocks])
    return best_threshold(wanted, held_out.part.labels, probability)


@contextmanager
def _fixed_threads(threads: int) -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    # BLAS adds up in another order with other threads, and gains little from more than one.
    with threadpool_limits({"blas": 1, "openmp": threads}):
        yield


@contextmanager
def _refusals(settings: ModelSettings) -> Iterator[None]:
    """Turn what a library says of its parameters into one sentence."""
    try:
        yield
    except (TypeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"{settings.name} with {settings.params}: {said}") from error


def _is_used(settings: ModelSettings) -> bool:
    """Whether the validation part has a say."""
    return (
        settings.early_stopping_rounds is not None
        or settings.calibration is not None
        or settings.threshold != THRESHOLD
    )


def importances(model: Pipeline) -> dict[str, float]:
    """Return a weight per transformed feature: gain of trees, or size of a linear coefficient."""
    estimator = innermost(model)
    weights = getattr(estimator, "feature_importances_", None)
    if weights is None and hasattr(estimator, "coef_"):
        weights = abs(estimator.coef_[0])
    if weights is None:
        return {}
    names = model.named_steps["preprocessing"].get_feature_names_out()
    if len(names) != len(weights):
        return {}
    return {str(name): float(weight) for name, weight in zip(names, weights, strict=True)}


def used_params(model: Pipeline) -> dict[str, Any]:
    """Return the parameters of the fitted estimator with their defaults, if they are not None."""
    found = innermost(model).get_params(deep=False)
    return {name: value for name, value in found.items() if value is not None}
