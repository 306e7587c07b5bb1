from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.conformance.oracle import chosen
from sololakehouse.errors import FeatureLookupError
from sololakehouse.features.asof import AsOf, chosen_rows, join_as_of

SLOTS = [0, 1, 2, 10, 11]  # microseconds: neighbours, and distances that are lookbacks
ORIGINS = [0, -3_000_000_000_000_000, 1_700_000_000_000_000]
# Pairs that are equal once they are concatenated, with or without a separator.
KEY_PARTS = ["", "a", "ab", "b", "bc", "c", "_", "a_"]
LOOKBACKS = [0, 1, 2, 9, 10, 10**6, timedelta.max // timedelta(microseconds=1)]


def _many(of: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Any]]:
    """Lists of every length alike: those of `st.lists` are mostly too short for ties."""
    return st.integers(0, most).flatmap(lambda size: st.lists(of, min_size=size, max_size=size))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    origin = draw(st.sampled_from(ORIGINS))
    instant = st.sampled_from(SLOTS).map(lambda slot: origin + slot)
    part = st.sampled_from(draw(st.sampled_from([["a"], ["a", "ab"], KEY_PARTS])))
    uses_known_at = draw(st.booleans())
    width = draw(st.sampled_from([1, 2]))
    row = st.tuples(st.tuples(*[part] * width), instant, instant)
    rows = draw(_many(row, 30))
    unique = {r if uses_known_at else r[:2]: r for r in rows}
    key = st.tuples(*[st.one_of(part, part, part, part, st.none())] * width)
    event = st.one_of(instant, instant, instant, instant, st.none())
    labels = draw(_many(st.tuples(key, event), 12))
    again = draw(st.lists(st.sampled_from(labels), max_size=3)) if labels else []
    return {
        "labels": draw(st.permutations(labels + again)),
        "rows": list(unique.values()),
        "width": width,
        "uses_known_at": uses_known_at,
        "known_as_of": draw(st.one_of(st.none(), instant)),
        "lookback": draw(st.one_of(st.none(), st.sampled_from(LOOKBACKS))),
        "allow_exact_match": draw(st.booleans()),
        "zone": draw(st.sampled_from(["UTC", "America/New_York", "Australia/Adelaide"])),
    }


def _frame(keys: list[Any], width: int, times: dict[str, list[int | None]], zone: str) -> Any:
    columns = [pl.Series(f"k{i}", [key[i] for key in keys], pl.String) for i in range(width)]
    kind = pl.Datetime("us", zone)
    return pl.DataFrame(columns + [pl.Series(n, v, pl.Int64).cast(kind) for n, v in times.items()])


def frames_of(
    case: dict[str, Any], rows: list[Any]
) -> tuple[pl.DataFrame, pl.DataFrame, list[Any]]:
    """Return the labels of a case, some feature rows, and which of these the oracle chooses."""
    labels, width = case["labels"], case["width"]
    asked = _frame([k for k, _ in labels], width, {"at": [t for _, t in labels]}, case["zone"])
    times = {"ts": [row[1] for row in rows], "known": [row[2] for row in rows]}
    features = _frame([row[0] for row in rows], width, times, "UTC")
    options = {k: case[k] for k in ("lookback", "known_as_of", "allow_exact_match")}
    expected = [
        chosen(key, event, rows, uses_known_at=case["uses_known_at"], **options)
        for key, event in labels
    ]
    return asked, features, expected


def rule_of(case: dict[str, Any]) -> AsOf:
    moment, oldest = case["known_as_of"], case["lookback"]
    return AsOf(
        keys=[f"k{i}" for i in range(case["width"])],
        timestamp="at",
        feature_timestamp="ts",
        known_at="known" if case["uses_known_at"] else None,
        known_as_of=None if moment is None else _instant(moment),
        lookback=None if oldest is None else timedelta(microseconds=oldest),
        allow_exact_match=case["allow_exact_match"],
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(cases())
def test_the_join_equals_the_oracle(case):
    asked, features, expected = frames_of(case, case["rows"])
    assert chosen_rows(asked, features, rule_of(case)).to_list() == expected


def _instant(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def at(*minutes: int | None) -> pl.Series:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    moments = [None if m is None else start + timedelta(minutes=m) for m in minutes]
    return pl.Series(moments, dtype=pl.Datetime("us", "UTC"))


def values(labels: pl.DataFrame, features: pl.DataFrame, **options: Any) -> list[Any]:
    rule = AsOf(keys=["k"], timestamp="at", feature_timestamp="ts", **options)
    return join_as_of(labels, features, ["v"], rule)["v"].to_list()


ONE_LABEL = pl.DataFrame({"k": ["a"], "at": at(10)})


def test_the_latest_row_that_is_not_after_the_label_is_chosen():
    features = pl.DataFrame({"k": ["a"] * 3, "ts": at(11, 3, 9), "v": [11, 3, 9]})
    assert values(ONE_LABEL, features) == [9]


def test_equal_timestamps_are_visible_unless_exact_matches_are_refused():
    features = pl.DataFrame({"k": ["a", "a"], "ts": at(10, 9), "v": [10, 9]})
    assert values(ONE_LABEL, features) == [10]
    assert values(ONE_LABEL, features, allow_exact_match=False) == [9]


def test_a_restatement_counts_from_the_moment_when_it_is_known():
    features = pl.DataFrame(
        {"k": ["a"] * 2, "ts": at(5, 5), "known": at(5, 8), "v": ["first", "restated"]}
    )
    labels = pl.DataFrame({"k": ["a"] * 3, "at": at(7, 8, 4)})
    assert values(labels, features, known_at="known") == ["first", "restated", None]


def test_a_late_restatement_of_an_older_row_does_not_replace_a_newer_one():
    features = pl.DataFrame(
        {"k": ["a"] * 2, "ts": at(6, 5), "known": at(6, 9), "v": ["newer", "older, late"]}
    )
    assert values(ONE_LABEL, features, known_at="known") == ["newer"]


def test_known_as_of_replays_one_day_whatever_the_label():
    features = pl.DataFrame(
        {"k": ["a"] * 2, "ts": at(5, 5), "known": at(6, 20), "v": ["first", "restated"]}
    )
    moments = [at(minute)[0] for minute in (5, 6, 20)]
    found = [
        values(ONE_LABEL, features, known_at="known", known_as_of=moment) for moment in moments
    ]
    assert found == [[None], ["first"], ["restated"]]


def test_without_known_at_a_row_is_known_at_its_timestamp():
    features = pl.DataFrame({"k": ["a"] * 2, "ts": at(5, 8), "v": [5, 8]})
    assert values(ONE_LABEL, features, known_as_of=at(7)[0]) == [5]


def test_exactly_the_lookback_still_counts_and_a_microsecond_more_does_not():
    features = pl.DataFrame({"k": ["a"], "ts": at(7), "v": [7]})
    three_minutes = timedelta(minutes=3)
    assert values(ONE_LABEL, features, lookback=three_minutes) == [7]
    short = three_minutes - timedelta(microseconds=1)
    assert values(ONE_LABEL, features, lookback=short) == [None]
    assert values(ONE_LABEL, features, lookback=timedelta.max) == [7]


def test_too_old_means_no_match_and_not_an_older_row():
    features = pl.DataFrame({"k": ["a"] * 2, "ts": at(1, 2), "v": [1, 2]})
    assert values(ONE_LABEL, features, lookback=timedelta(minutes=5)) == [None]


def test_labels_keep_their_order_their_duplicates_and_those_without_a_match():
    labels = pl.DataFrame({"k": ["b", "a", "a", "x"], "at": at(9, 10, 10, 9), "id": [4, 3, 2, 1]})
    features = pl.DataFrame({"k": ["a", "b"], "ts": at(1, 1), "v": [1, 2]})
    rule = AsOf(keys=["k"], timestamp="at", feature_timestamp="ts")
    joined = join_as_of(labels, features, ["v"], rule)
    assert joined.drop("v").equals(labels)
    assert joined["v"].to_list() == [2, 1, 1, None]


def test_null_keys_and_timestamps_match_nothing():
    labels = pl.DataFrame({"k": [None, "a", "a"], "at": at(10, None, 10)})
    features = pl.DataFrame({"k": [None, "a"], "ts": at(1, 1), "v": [0, 1]})
    assert values(labels, features) == [None, None, 1]


def test_a_null_value_is_not_filled_from_an_older_row():
    features = pl.DataFrame({"k": ["a"] * 2, "ts": at(1, 2), "v": [1, None]})
    assert values(ONE_LABEL, features) == [None]


def test_without_a_timestamp_it_is_a_lookup_on_the_key():
    labels = pl.DataFrame({"k": ["b", None, "a", "b", "x"]})
    features = pl.DataFrame({"id": ["a", "b", None], "v": [1, 2, 3]})
    joined = join_as_of(labels, features, ["v"], AsOf(keys=["k"], feature_keys=["id"]))
    assert joined["v"].to_list() == [2, None, 1, 2, None]


@pytest.mark.parametrize("empty", ["labels", "features", "both"])
def test_empty_sides_are_fine(empty):
    labels = ONE_LABEL.clear() if empty != "features" else ONE_LABEL
    features = pl.DataFrame({"k": ["a"], "ts": at(1), "v": [1]})
    features = features.clear() if empty != "labels" else features
    assert values(labels, features, known_at="ts") == [None] * labels.height


def test_instants_are_compared_across_time_zones_and_units():
    labels = pl.DataFrame(
        {
            "k": ["a"] * 2,
            "at": at(10, 9).dt.convert_time_zone("Asia/Kolkata").dt.cast_time_unit("ms"),
        }
    )
    features = pl.DataFrame({"k": ["a"], "ts": at(10), "v": [1]})
    assert values(labels, features) == [1, None]


def test_the_answer_is_the_same_where_integers_get_too_great():
    far = [-(2**62), 0, 2**62]
    kind = pl.Datetime("us", "UTC")
    moments = pl.Series("ts", far * 2, pl.Int64).cast(kind)
    features = pl.DataFrame({"k": ["a"] * 3 + ["b"] * 3, "ts": moments, "v": range(6)})
    asked = pl.Series("at", [far[0] - 1, far[0], 1, far[2], 5, 5], pl.Int64).cast(kind)
    labels = pl.DataFrame({"k": ["a", "a", "a", "b", "b", "x"], "at": asked})
    assert values(labels, features) == [None, 0, 1, 5, 4, None]


def test_clock_changes_do_not_matter():
    # 01:30 occurs twice in New York on 1 November 2026: at 05:30 and at 06:30 UTC.
    nights = pl.Series([datetime(2026, 11, 1, 5, 30), datetime(2026, 11, 1, 6, 30)])
    instants = nights.dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    labels = pl.DataFrame({"k": ["a"] * 2, "at": instants})
    features = pl.DataFrame(
        {"k": ["a"] * 2, "ts": instants.dt.convert_time_zone("UTC"), "v": [1, 2]}
    )
    assert values(labels, features) == [1, 2]


def test_nanoseconds_are_taken_only_if_microseconds_can_hold_them():
    whole = at(10).dt.cast_time_unit("ns")
    labels = pl.DataFrame({"k": ["a"], "at": whole})
    features = pl.DataFrame({"k": ["a"], "ts": at(10), "v": [1]})
    assert values(labels, features) == [1]
    finer = labels.with_columns(pl.col("at") + pl.duration(nanoseconds=1))
    with pytest.raises(FeatureLookupError) as raised:
        values(finer, features)
    assert str(raised.value) == (
        "The timestamp 'at' of the labels is in ns, and 1 row has a value that microseconds "
        "cannot hold. Round it first, for example with .dt.round('1us')."
    )


@pytest.mark.parametrize("lookback", [timedelta(days=7), None])
def test_keys_far_apart_over_a_long_time_have_a_lookback_too(lookback):
    """Key and moment together need more than 64 bits."""
    labels = pl.DataFrame({"k": [1, 2**40], "t": at(1, 24 * 365)})
    features = pl.DataFrame({"k": [1, 2**40], "ts": at(0, 24 * 365 - 1), "v": [1, 2]})
    found = join_as_of(labels, features, ["v"], replace_rule(lookback))
    assert found["v"].to_list() == [1, 2]


def test_a_lookup_without_time_has_no_moment_to_refuse():
    rows = pl.DataFrame({"k": ["a", "b"], "v": [1, 2]})
    rule = AsOf(["k"], allow_exact_match=False)
    assert join_as_of(rows.select("k"), rows, ["v"], rule)["v"].to_list() == [1, 2]


def replace_rule(lookback):
    return AsOf(["k"], timestamp="t", feature_timestamp="ts", lookback=lookback)
