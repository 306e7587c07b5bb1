"""The flights that the lessons are about: a part of those out of New York in 2013."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "flights.csv.gz"
_SCHEDULED_DEPARTURE = 6
_MONTH = 7


def month_files(folder: str, months: Sequence[str]) -> dict[str, str]:
    """Return a CSV file with a header for each month, by its path.

    Parameters
    ----------
    months
        As `2013-09`; a flight belongs to the month of its scheduled departure in UTC.
    """
    header, lines = _lines()
    return {
        f"{folder}/flights_{month}.csv": "".join([header, *lines[month]])
        for month in sorted(months)
    }


@cache
def _lines() -> tuple[str, dict[str, list[str]]]:
    header, *lines = gzip.decompress(_FILE.read_bytes()).decode().splitlines(keepends=True)
    months: dict[str, list[str]] = {}
    for line in lines:
        month = line.split(",")[_SCHEDULED_DEPARTURE][:_MONTH]
        months.setdefault(month, []).append(line)
    return header, months
