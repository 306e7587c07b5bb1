"""When rows count: at their own instants, or from the next point of a grid on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from sololakehouse.windows.length import MICROSECOND

if TYPE_CHECKING:
    from pyspark.sql import Column

Closed = Literal["right", "left", "both", "neither"]


@dataclass(frozen=True)
class Clock:
    """Places rows and the ends of windows on a line of whole numbers, their positions.

    A position is an instant in microseconds. On a grid it is the first point that sees the row, and
    with a time zone it is what clocks show there, so that all days have one length.

    Attributes
    ----------
    closed
        Which ends of a window belong to it.
    step
        Distance of the points of a grid; None without a grid.
    timezone
        Where the days of a daily grid begin; None: UTC.
    """

    closed: Closed
    step: timedelta | None
    timezone: str | None

    def frame(self, length: timedelta) -> tuple[int, int]:
        """Return the first and the last position in a window, seen from the one where it ends."""
        return 1 - self.leaving(length), -self.entering

    @property
    def entering(self) -> int:
        """How long after its position a row enters the windows."""
        return int(self._closed in ("left", "neither"))

    def leaving(self, length: timedelta) -> int:
        """Return how long after its position a row has left a window."""
        return length // MICROSECOND + (self._closed in ("left", "both"))

    @property
    def _closed(self) -> Closed:
        # On a grid, a row counts from its point on, whichever end is closed.
        return self.closed if self.step is None else "right"

    def position(self, timestamp: str) -> Column:
        """Return the position of a row."""
        from pyspark.sql import functions as F

        instant = F.unix_micros(timestamp)
        if self.step is None:
            return instant
        step = F.lit(self.step // MICROSECOND)
        before = instant - F.lit(1 if self.closed == "right" else 0)
        if self.timezone is None:
            return before - F.pmod(before, step) + step
        local = F.from_utc_timestamp(F.timestamp_micros(before), F.lit(self.timezone))
        shown = F.unix_micros(local)
        point = shown - F.pmod(shown, step) + step
        # Clocks that are put back over midnight show the end of a day once more after its end.
        is_over = F.unix_micros(self.moment(point)) <= before
        return F.when(is_over, point + step).otherwise(point)

    def moment(self, position: Column) -> Column:
        """Return the instant of a position."""
        from pyspark.sql import functions as F

        instant = F.timestamp_micros(position)
        if self.timezone is None:
            return instant
        return F.to_utc_timestamp(instant, F.lit(self.timezone))
