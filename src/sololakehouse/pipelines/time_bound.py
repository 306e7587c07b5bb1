"""How far back the rows of a table look, as its definition declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from sololakehouse.config.duration import Duration, parse_duration
from sololakehouse.config.settings import Settings
from sololakehouse.config.table_name import TABLE_NAME
from sololakehouse.config.validation import validate
from sololakehouse.errors import DefinitionError, SoloLakehouseError

PREFIX = "pipelines.incremental."
_TIMESTAMP = "feature.timestamp"
WARM_UP = "pipelines.warm_up"
WARM_UP_OF = "pipelines.warm_up.definition"


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
    lookback
        None: as `slh replay --warm-up` measures it.
    """

    source: str
    source_timestamp: str
    timestamp: str
    lookback: timedelta | None

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
        lookback = None if read.lookback == "measured" else read.lookback
        return cls(source, column, read.timestamp, lookback)

    def lookback_of(self, stored: Mapping[str, str], definition: str) -> timedelta | None:
        """Return the declared lookback, or else the one that was measured; None if none was.

        Parameters
        ----------
        stored
            The properties of the table as it is. What was measured of another definition does not
            count.
        definition
            The hash of the plan, as commits keep it.

        Examples
        --------
        >>> bound = TimeBound("silver.rides", "at", "feature_ts", None)
        >>> bound.lookback_of({WARM_UP: "3h", WARM_UP_OF: "ab"}, "ab")
        datetime.timedelta(seconds=10800)
        >>> bound.lookback_of({WARM_UP: "3h", WARM_UP_OF: "ab"}, "cd")
        """
        if self.lookback is not None:
            return self.lookback
        if stored.get(WARM_UP_OF) != definition or WARM_UP not in stored:
            return None
        measured: timedelta = parse_duration(stored[WARM_UP])
        return measured


class _Properties(Settings):
    source: str = Field(pattern=rf"{TABLE_NAME[:-1]}\.\w+$")
    lookback: Duration | Literal["measured"]
    timestamp: str = Field(min_length=1)

    @field_validator("lookback")
    @classmethod
    def _not_negative(cls, lookback: timedelta | str) -> timedelta | str:
        if isinstance(lookback, timedelta) and lookback < timedelta(0):
            raise ValueError("must not be negative")
        return lookback
