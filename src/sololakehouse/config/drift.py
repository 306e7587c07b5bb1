"""How the drift of predictions is judged."""

from __future__ import annotations

from pydantic import Field, field_validator

from sololakehouse.config.evaluation import Period
from sololakehouse.config.settings import Settings
from sololakehouse.errors import suggestion


class DriftLimits(Settings):
    """From where on a change counts: as a warning, and as an alarm.

    Attributes
    ----------
    psi_warn
        Population stability index that is a warning.
    psi_alarm
        Population stability index that is an alarm.
    missing
        Change of the share of missing values, from 0 to 1, that counts.
    unseen
        Share of values that the training set did not have, from 0 to 1, that counts.
    """

    psi_warn: float = Field(default=0.1, gt=0)
    psi_alarm: float = Field(default=0.25, gt=0)
    missing: float = Field(default=0.05, gt=0)
    unseen: float = Field(default=0.01, gt=0)


class DriftSettings(DriftLimits):
    """How the drift of predictions is judged; `features` sets other limits for some columns.

    Attributes
    ----------
    period
        What is judged on its own, by the moments of the predictions in UTC.
    significance
        Least share of false discoveries that is accepted: a change that the tests do not call
        significant at this level after their correction never counts.
    least_rows
        A period of fewer rows is shown, and not judged.
    performance
        A fall of ROC AUC that is an alarm, where labels are known.
    features
        Column to limits of its own: `psi_warn`, `psi_alarm`, `missing`, `unseen`.
    """

    period: Period = "month"
    significance: float = Field(default=0.01, gt=0, lt=1)
    least_rows: int = Field(default=200, ge=1)
    performance: float = Field(default=0.05, gt=0)
    features: dict[str, dict[str, float]] = Field(default={})

    def limits_of(self, column: str) -> DriftLimits:
        """Return the limits that hold for a column."""
        own = {name: getattr(self, name) for name in DriftLimits.model_fields}
        return DriftLimits.model_validate(own | self.features.get(column, {}))

    @field_validator("features")
    @classmethod
    def _known_limits(cls, value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for column, limits in value.items():
            for name in limits:
                if name not in DriftLimits.model_fields:
                    known = suggestion(name, DriftLimits.model_fields, "limit")
                    raise ValueError(f"{column}: no limit {name!r}. {known}")
            DriftLimits.model_validate(limits)
        return value
