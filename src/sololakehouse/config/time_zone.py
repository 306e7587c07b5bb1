"""A time zone by its IANA name, such as `Europe/Berlin`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from sololakehouse.local_time import checked_zone

TimeZone = Annotated[str, AfterValidator(checked_zone)]
