"""Times without a zone against `zoneinfo`, which knows what clocks show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sololakehouse.errors import FeatureLookupError, UsageError
from sololakehouse.local_time import checked_zone, in_utc, moment_in_utc, naive_columns

BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"
ZONES = [BERLIN, NEW_YORK, KOLKATA, "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
MICROSECOND = timedelta(microseconds=1)
UNITS = ["ms", "us", "ns"]
# Clocks go from the first of these times to the second.
SKIPPED = {
    BERLIN: (datetime(2026, 3, 29, 2), datetime(2026, 3, 29, 3)),
    NEW_YORK: (datetime(2026, 3, 8, 2), datetime(2026, 3, 8, 3)),
}
# Clocks show the times from the first of these to the second once more.
REPEATED = {
    BERLIN: (datetime(2026, 10, 25, 2), datetime(2026, 10, 25, 3)),
    NEW_YORK: (datetime(2026, 11, 1, 1), datetime(2026, 11, 1, 2)),
}


def moments_of(time: datetime, zone: str) -> set[datetime]:
    """Return the moments at which clocks show a time: none, one or two."""
    there = ZoneInfo(zone)
    asked = (time.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1))
    return {one for one in asked if one.astimezone(there).replace(tzinfo=None) == time}


def read(times: list[datetime | None], zone: str, unit: str = "us") -> list[datetime | None]:
    rows = pl.DataFrame({"at": pl.Series(times, dtype=pl.Datetime(unit))})
    found = in_utc(rows.lazy(), ["at"], zone, "the labels").collect()["at"]
    assert found.dtype == pl.Datetime(unit, "UTC")
    return found.to_list()


TIMES = st.datetimes(datetime(1800, 1, 1), datetime(2099, 12, 31, 23, 59, 59, 999999))
EDGES = [edge for edges in (*SKIPPED.values(), *REPEATED.values()) for edge in edges]
HOURS = st.timedeltas(timedelta(hours=-3), timedelta(hours=3))
NEAR = st.tuples(st.sampled_from(EDGES), HOURS).map(lambda both: both[0] + both[1])


@given(st.lists(TIMES | NEAR, min_size=1, max_size=8), st.sampled_from(ZONES))
@example([datetime(1893, 4, 1, 0, 3)], BERLIN)
@example([datetime(2011, 12, 30, 12)], "Pacific/Apia")
@example([datetime(2026, 4, 5, 1, 45)], "Australia/Lord_Howe")
def test_a_time_is_the_moment_that_zoneinfo_says_or_is_refused(times, zone):
    expected = [moments_of(time, zone) for time in times]
    if all(len(one) == 1 for one in expected):
        assert read(times, zone) == [one.pop() for one in expected]
        return
    unclear = sum(len(one) != 1 for one in expected)
    with pytest.raises(FeatureLookupError, match=rf"where {unclear} of its values (is|are) not"):
        read(times, zone)


@pytest.mark.parametrize("zone", SKIPPED)
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_a_time_that_clocks_skip_is_refused_to_the_microsecond(zone, unit):
    begin, end = SKIPPED[zone]
    first, last = read([begin - MICROSECOND, end], zone, unit)
    assert last - first == MICROSECOND
    for time in (begin, end - MICROSECOND):
        with pytest.raises(FeatureLookupError, match=r"\(clocks skip it\)\. Give the"):
            read([time], zone, unit)


@pytest.mark.parametrize("zone", REPEATED)
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_a_time_that_clocks_show_twice_is_refused_to_the_microsecond(zone, unit):
    begin, end = REPEATED[zone]
    first, last = read([begin - MICROSECOND, end], zone, unit)
    assert last - first == timedelta(hours=2) + MICROSECOND
    for time in (begin, end - MICROSECOND):
        with pytest.raises(FeatureLookupError, match=r"\(clocks show it twice\)\. Give the column"):
            read([time], zone, unit)


def test_the_message_says_how_many_and_shows_three():
    times = [
        *(datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 29, 2, 30), None),
        *(datetime(2026, 10, 25, 2, 30), datetime(2026, 7, 1), datetime(9999, 12, 31)),
        datetime(2027, 3, 28, 2, 59, 59, 999999),
    ]
    with pytest.raises(FeatureLookupError) as said:
        read(times, BERLIN)
    assert str(said.value) == (
        "The timestamp 'at' of the labels has no time zone and is read as time of Europe/Berlin, "
        "where 5 of its values are not one moment: 2026-03-29T02:30:00 (clocks skip it), "
        "2026-10-25T02:30:00 (clocks show it twice), 2027-03-28T02:59:59.999999 (clocks skip it). "
        "Give the column in UTC."
    )


@pytest.mark.parametrize("unit", UNITS)
def test_null_stays_null_and_each_unit_stays_as_it_is(unit):
    summer, winter = datetime(2026, 7, 1, 12), datetime(1950, 1, 1)
    expected = [datetime(2026, 7, 1, 10, tzinfo=UTC), None, datetime(1949, 12, 31, 23, tzinfo=UTC)]
    assert read([summer, None, winter], BERLIN, unit) == expected
    assert read([None], BERLIN, unit) == [None]
    assert read([], BERLIN, unit) == []


def test_nanoseconds_are_kept():
    rows = pl.LazyFrame({"at": pl.Series([1], dtype=pl.Int64)}).cast(pl.Datetime("ns"))
    found = in_utc(rows, ["at"], KOLKATA, "the rows").collect()["at"]
    assert found.to_physical().item() == 1 - 19_800 * 10**9


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("zone", [KOLKATA, NEW_YORK])
def test_years_whose_clocks_nobody_knows_are_refused(unit, zone):
    last = datetime(2099, 12, 31, 23, 59, 59)
    assert read([last], zone, unit) == list(moments_of(last, zone))
    beyond = [2**63 - 1, 4102444800 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit], -(2**63) + 1]
    for number in beyond:
        rows = pl.LazyFrame({"at": pl.Series([number, 0], dtype=pl.Int64)}).cast(pl.Datetime(unit))
        with pytest.raises(FeatureLookupError, match=r"1 of its values .* known for the"):
            in_utc(rows, ["at"], zone, "the labels")


@given(TIMES | NEAR, st.sampled_from(ZONES))
def test_one_moment_is_read_as_a_column_is(time, zone):
    expected = moments_of(time, zone)
    if len(expected) == 1:
        assert moment_in_utc(time, zone) == expected.pop()
        return
    why = "clocks show it twice" if expected else "clocks skip it"
    with pytest.raises(UsageError, match=rf"is not one moment in {zone}: {why}\. Write it in UTC"):
        moment_in_utc(time, zone)


@pytest.mark.parametrize("time", [datetime.min, datetime.max, datetime(2100, 1, 1)])
def test_one_moment_far_away_is_refused(time):
    with pytest.raises(UsageError, match="clocks are known for the years 1 to 2099"):
        moment_in_utc(time, BERLIN)


def test_only_timestamps_without_a_zone_are_naive():
    schema = pl.Schema(
        {
            "local": pl.Datetime("ns"),
            "utc": pl.Datetime("us", "UTC"),
            "day": pl.Date(),
            "text": pl.String(),
            "other": pl.Datetime("ms"),
        }
    )
    assert naive_columns(schema) == ("local", "other")
    assert naive_columns(schema, {"other", "utc"}) == ("other",)


def test_without_a_zone_rows_stay_as_they_are():
    rows = pl.LazyFrame({"at": [datetime(2026, 3, 29, 2, 30)]})
    assert in_utc(rows, ["at"], None, "the labels") is rows


@pytest.mark.parametrize("name", [*ZONES, "Etc/GMT+5", "Europe/Kyiv"])
def test_a_zone_of_the_database_is_known(name):
    assert checked_zone(name) == name


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Europe/Bern", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("+01:00", None),
        ("localtime", None),
        ("posix/Europe/Berlin", "Europe/Berlin"),
        ("../Europe/Berlin", "Europe/Berlin"),
        ("", None),
    ],
)
def test_another_name_is_refused_with_the_nearest_zone(name, near):
    with pytest.raises(ValueError, match="is no time zone") as said:
        checked_zone(name)
    assert ("Did you mean" in str(said.value)) == (near is not None)
    assert near is None or f"Did you mean {near!r}?" in str(said.value)
