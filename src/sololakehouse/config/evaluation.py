"""How predictions are evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sololakehouse.config.settings import Settings

Period = Literal["day", "week", "month", "quarter", "year"]


class EvaluationSettings(Settings):
    """How predictions are evaluated once their labels are known.

    Attributes
    ----------
    period
        What is measured on its own, by the moments of the predictions in UTC.
    slices
        Columns of the predictions; each of their values is measured on its own.
    threshold
        From which probability on a row counts as predicted 1.
    cost_false_positive
        What one row costs that is wrongly predicted 1, in any unit.
    cost_false_negative
        What one row costs that is wrongly predicted 0, in the same unit.
    """

    period: Period = "month"
    slices: tuple[str, ...] = ()
    threshold: float = Field(default=0.5, ge=0, le=1)
    cost_false_positive: float = Field(default=1.0, ge=0)
    cost_false_negative: float = Field(default=1.0, ge=0)
