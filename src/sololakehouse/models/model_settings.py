"""A model of an experiment: its kind, parameters, search space, and what is done around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from sololakehouse.config.settings import Settings
from sololakehouse.config.validation import validation_mistakes
from sololakehouse.errors import ConfigError, NotFoundError, suggestion
from sololakehouse.models.metrics import THRESHOLD

Kind = Literal["sklearn", "xgboost", "lightgbm", "torch", "python"]
KINDS: tuple[str, ...] = get_args(Kind)
ON_CUDA = frozenset({"xgboost", "torch"})
THREADS = 2
_STOPS_EARLY = frozenset({"xgboost", "lightgbm", "torch", "hist_gradient_boosting"})
_FUNCTION = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")


class Space(Settings):
    """What a search draws one parameter from: `choices`, or a range with both ends included.

    Attributes
    ----------
    low, high
        The ends; two integers make a range of integers.
    log
        Draw evenly from the logarithm.
    step
        Draw only `low`, `low + step`, and so on.
    choices
        The values to draw from.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = Field(default=None, gt=0)
    choices: tuple[Any, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _choices_or_range(self) -> Space:
        ends = (self.low, self.high)
        given = [end for end in ends if end is not None]
        if len(given) == 1 or (self.choices is None) == (not given):
            raise ValueError("write either 'choices', or 'low' and 'high'")
        if self.low is None or self.high is None:
            return self
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("'log' needs a 'low' above 0, and no 'step'")
        return self


class Search(Settings):
    """A search for parameters: so many `trials`, each with a draw for each of `params`.

    Attributes
    ----------
    trials
        How many draws are tried on the validation part.
    params
        What each parameter is drawn from.
    """

    trials: int = Field(ge=1)
    params: dict[str, Space] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _without_a_clock(cls, content: Any) -> Any:
        if isinstance(content, Mapping) and "timeout" in content:
            raise ValueError(
                "'timeout' would end the search elsewhere each time, so the model could not be "
                "made again. Say 'trials'"
            )
        return content


class Costs(Settings):
    """What the two kinds of mistakes cost, in any unit.

    Attributes
    ----------
    false_positive
        What one row costs that is wrongly predicted 1.
    false_negative
        What one row costs that is wrongly predicted 0.
    """

    false_positive: float = Field(gt=0)
    false_negative: float = Field(gt=0)


class ThresholdByCost(Settings):
    """Choose the threshold whose mistakes on the validation part cost least.

    Attributes
    ----------
    cost
        What mistakes cost; the threshold is the one that costs least on the validation part.
    """

    cost: Costs


def _threshold(value: Any) -> Any:
    if isinstance(value, Mapping):
        try:
            return ThresholdByCost.model_validate(value)
        except ValidationError as error:
            raise ValueError(validation_mistakes(error, ThresholdByCost)) from error
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "f1" or isinstance(value, ThresholdByCost) or (number and 0 < value < 1):
        return value
    raise ValueError(
        f"{value!r} is no threshold. Write a number between 0 and 1, f1, or "
        "{cost: {false_positive: 1, false_negative: 5}}"
    )


Threshold = Annotated[float | Literal["f1"] | ThresholdByCost, BeforeValidator(_threshold)]


class ModelSettings(Settings):
    """A kind of model with its parameters.

    Attributes
    ----------
    kind
        The library, or `python` for a function of the project.
    estimator
        One of scikit-learn's; only for kind `sklearn`.
    function
        `module:function` of the project, for kind `python`: `risk.models:make` is `make` in
        `risk/models.py`. It takes `params` and, if it has that parameter, `seed`, and returns a
        classifier that is not fitted.
    source
        The text of that module. Read from the file if it is empty; recorded with the model.
    params
        Parameters of the model, with the names of its library.
    search
        A search for other parameters on the validation part.
    early_stopping_rounds
        Training stops after so many rounds (epochs of kind `torch`) without progress on the
        validation part, and keeps the best one. None: all rounds.
    class_weight
        `balanced`, or how much a row of each class counts, as `{0: 1, 1: 5}`.
    calibration
        How probabilities are corrected, fitted on the validation part.
    threshold
        From which probability on a row is predicted to be 1: a number, or how to choose it on the
        validation part.
    """

    kind: Kind
    estimator: str | None = None
    function: str | None = None
    source: str | None = None
    params: dict[str, Any] = Field(default={})
    search: Search | None = None
    early_stopping_rounds: int | None = Field(default=None, ge=1)
    class_weight: Literal["balanced"] | dict[int, float] | None = None
    calibration: Literal["isotonic", "sigmoid"] | None = None
    threshold: Threshold = THRESHOLD

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, kind: Any) -> Any:
        if kind not in KINDS:
            raise ValueError(f"no kind {kind!r}. {suggestion(str(kind), KINDS, 'kind')[:-1]}")
        return kind

    @field_validator("class_weight", mode="before")
    @classmethod
    def _of_both_classes(cls, weights: Any) -> Any:
        if weights in (None, "balanced"):
            return weights
        numbers = weights.values() if isinstance(weights, Mapping) else ()
        known = {str(name) for name in weights} if numbers else set()
        positive = all(isinstance(one, int | float) and one > 0 for one in numbers)
        if known != {"0", "1"} or not positive:
            raise ValueError("write 'balanced', or positive numbers for both, as in {0: 1, 1: 5}")
        return {int(name): float(one) for name, one in weights.items()}

    @model_validator(mode="after")
    def _fits_its_kind(self) -> ModelSettings:
        if self.kind == "sklearn" and self.estimator is None:
            raise ValueError("kind sklearn needs an 'estimator', such as logistic_regression")
        if self.kind != "sklearn" and self.estimator is not None:
            raise ValueError(f"kind {self.kind} has no 'estimator': leave it out")
        if self.kind == "python" and not _FUNCTION.match(self.function or ""):
            raise ValueError("kind python needs a 'function', such as risk.models:make")
        if self.kind != "python" and (self.function or self.source) is not None:
            raise ValueError(f"kind {self.kind} has no 'function': leave it out")
        if self.kind == "python" and self.class_weight is not None:
            raise ValueError("class_weight is not for kind python: let the function weigh")
        if self.early_stopping_rounds is not None and self.name not in _STOPS_EARLY:
            stopping = ", ".join(sorted(_STOPS_EARLY))
            raise ValueError(f"early_stopping_rounds is only for {stopping}: leave it out")
        twice = sorted(set(self.params) & set(self.search.params if self.search else ()))
        if twice:
            raise ValueError(f"{twice[0]!r} is in 'params' and in 'search': say it once")
        return self

    @property
    def name(self) -> str:
        """What it is called in messages: the estimator, the function, or the kind."""
        return self.estimator or self.function or self.kind

    def with_params(self, params: Mapping[str, Any]) -> ModelSettings:
        """Return these settings with more parameters, and nothing to search."""
        return self.model_copy(update={"params": {**self.params, **params}, "search": None})


def with_source(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `ModelSettings`, with the text of the function's module.

    Parameters
    ----------
    folder
        The project's, where modules are found.

    Raises
    ------
    NotFoundError
        There is no such module.
    ConfigError
        Its file cannot be read.
    """
    function = content.get("function")
    if content.get("kind") != "python" or content.get("source") is not None:
        return content
    if not _FUNCTION.match(str(function)):
        return content
    module = str(function).partition(":")[0]
    file = folder / f"{module.replace('.', '/')}.py"
    try:
        return {**content, "source": file.read_text("utf-8")}
    except FileNotFoundError:
        beside = [one for pattern in ("*.py", "*/*.py") for one in folder.glob(pattern)]
        known = [".".join(one.relative_to(folder).with_suffix("").parts) for one in beside]
        raise NotFoundError.of("module", module, known, where=str(folder)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
