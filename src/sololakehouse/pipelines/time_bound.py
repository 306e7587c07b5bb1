"""How far back the rows of a table look, as its definition declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pydantic import Field, field_validator

from sololakehouse.config import TABLE_NAME, Duration, Settings, validate
from sololakehouse.errors import DefinitionError, SoloLakehouseError

PREFIX = "pipelines.incremental."
_TIMESTAMP = "feature.timestamp"


@dataclass(frozen=True)
class TimeBound:
    """The declaration that a row at time t looks back for so long and no further, nor ahead.

    The row at t of the table depends on the rows of `source` whose `source_timestamp` lies in
    [t - lookback, t], both ends included. Rows of the source without a time have no influence.

    Attributes
    ----------
    source
        Table whose new rows are followed.
    source_timestamp
        A column of it, of type timestamp or date.
    timestamp
        The column of the table with t.
    """

    source: str
    source_timestamp: str
    timestamp: str
    lookback: timedelta

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> TimeBound | None:
        """Read `pipelines.incremental.*`; None if there is no such property.

        Raises
        ------
        DefinitionError
            A property is unknown or malformed, or one that is needed is missing.

        Examples
        --------
        >>> bound = TimeBound.from_properties({
        ...     "pipelines.incremental.source": "silver.flights.arrived_at",
        ...     "pipelines.incremental.lookback": "28d",
        ...     "feature.timestamp": "feature_ts",
        ... })
        >>> bound.source, bound.source_timestamp, bound.timestamp, bound.lookback.days
        ('silver.flights', 'arrived_at', 'feature_ts', 28)
        """
        given = {k.removeprefix(PREFIX): v for k, v in properties.items() if k.startswith(PREFIX)}
        if not given:
            return None
        given.setdefault("timestamp", properties.get(_TIMESTAMP, ""))
        try:
            read = validate(dict(given), _Properties, f"The table properties '{PREFIX}*'")
        except SoloLakehouseError as error:
            raise DefinitionError(str(error)) from error
        source, _, column = read.source.rpartition(".")
        return cls(source, column, read.timestamp, read.lookback)

    def seen_from(self, first: date | datetime) -> date | datetime:
        """Return the earliest moment that a row from `first` on depends on."""
        return first - self.lookback


class _Properties(Settings):
    source: str = Field(pattern=rf"{TABLE_NAME[:-1]}\.\w+$")
    lookback: Duration
    timestamp: str = Field(min_length=1)

    @field_validator("lookback")
    @classmethod
    def _not_negative(cls, lookback: timedelta) -> timedelta:
        if lookback < timedelta(0):
            raise ValueError("must not be negative")
        return lookback
