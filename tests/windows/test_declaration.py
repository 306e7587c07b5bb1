"""What a declaration of trailing aggregates says, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sololakehouse.errors import UsageError
from sololakehouse.windows import Aggregate, TrailingAggregates

COUNT = Aggregate("count", windows="7d")


def trailing(**options: Any) -> TrailingAggregates:
    usual: dict[str, Any] = {"keys": "shop", "timestamp": "sold_at", "aggregates": [COUNT]}
    return TrailingAggregates(**usual | options)


def test_columns_are_named_by_column_function_and_window_unless_told_otherwise():
    lengths = ["24 h", timedelta(days=1, hours=12), timedelta(seconds=90)]
    aggregates = [Aggregate("mean", "amount", windows=lengths)]
    aggregates += [COUNT, Aggregate("last", "amount", windows="1w", name="newest_in_{window}")]
    assert trailing(keys=["town", "shop"], aggregates=aggregates).columns == (
        *("town", "shop", "feature_ts", "amount_mean_24h", "amount_mean_36h", "amount_mean_90s"),
        *("count_7d", "newest_in_1w"),
    )
    assert trailing(feature_timestamp="known_from").columns[1] == "known_from"


@pytest.mark.parametrize(
    ("options", "lookback"),
    [
        ({"emit": "events"}, "7d"),
        ({"emit": "events", "closed": "both"}, "7d"),
        ({"emit": "events", "every": "1h"}, "7d"),
        ({}, "7d"),
        ({"closed": "neither"}, "7d"),
        ({"closed": "left"}, "604800000001us"),
        ({"closed": "both"}, "604800000001us"),
        ({"every": "1h"}, "169h"),
        ({"every": "1d", "closed": "left"}, "8d"),
        ({"every": "1d", "timezone": "Europe/Berlin"}, "9d"),
    ],
)
def test_the_lookback_is_the_longest_window_and_what_its_end_takes(options, lookback):
    aggregates = [Aggregate("count", windows=["1d", "7d"]), Aggregate("max", "n", windows="2d")]
    assert trailing(aggregates=aggregates, **options).lookback == lookback


def test_table_properties_are_those_of_a_feature_table_and_of_increments():
    declared = trailing(keys=["town", "shop"], feature_timestamp="known_from")
    feature = {"feature.keys": "town,shop", "feature.timestamp": "known_from"}
    assert declared.table_properties() == feature
    assert declared.table_properties("silver.sales.sold_at") == feature | {
        "pipelines.incremental.source": "silver.sales.sold_at",
        "pipelines.incremental.lookback": "7d",
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"function": "meen"},
            "No aggregate 'meen'. Did you mean 'mean'? Aggregates: count, last, max, mean, min, "
            "stddev, sum.",
        ),
        (
            {"column": None},
            "The aggregate sum() names no column; only count does without, and counts rows.",
        ),
        ({"windows": []}, "The aggregate sum(n) has no window. Write one, such as windows='7d'."),
        ({"windows": ["7d", "7 d"]}, "The aggregate sum(n) has a window twice."),
        (
            {"windows": "7 dayz"},
            "'7 dayz' is no length of time. Write a number and one of us, ms, s, min, h, d, w, "
            "such as '90min' or '7d'.",
        ),
        ({"windows": 7}, "7 is no length of time. Write a number and one of us, ms, s, min"),
        ({"windows": "9999999999w"}, "'9999999999w' is no length of time. Write a number and"),
        (
            {"windows": "0d"},
            "A length of time here is more than 0 and at most 100000d, not '0d'.",
        ),
        ({"windows": "-1h"}, "more than 0 and at most 100000d, not '-1h'."),
        ({"windows": timedelta(days=200_000)}, "more than 0 and at most 100000d, not datetime."),
        (
            {"function": "max", "decimals": 2},
            "The aggregate max(n) has 'decimals', which only sum, mean, stddev have.",
        ),
        ({"decimals": 16}, "The aggregate sum(n) has decimals=16. Write a number from 0 to 15."),
        (
            {"tie_breaker": "id"},
            "The aggregate sum(n) has a 'tie_breaker', which only last has.",
        ),
    ],
)
def test_an_aggregate_that_means_nothing_is_refused(options, said):
    usual: dict[str, Any] = {"function": "sum", "column": "n", "windows": "7d"}
    with pytest.raises(UsageError) as error:
        Aggregate(**usual | options)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keys": []}, "there are no keys. Name the columns that say what a row is about."),
        (
            {"aggregates": []},
            "Trailing aggregates by shop: there is no aggregate. Write one, such as "
            "Aggregate('count', windows='7d').",
        ),
        (
            {"closed": "rigth"},
            "Trailing aggregates by shop: closed='rigth' is unknown. Did you mean 'right'? Values: "
            "both, left, neither, right.",
        ),
        ({"emit": "all"}, "emit='all' is unknown. Values: changes, events."),
        ({"every": "7h"}, "every='7h' does not divide a day. Write such as '1h' or '1d'."),
        ({"every": "2d"}, "every='2d' does not divide a day."),
        ({"every": "hour"}, "'hour' is no length of time."),
        (
            {"every": "1h", "closed": "both"},
            "with 'every', closed is 'right' or 'left', not 'both'.",
        ),
        (
            {"every": "1d", "aggregates": [Aggregate("count", windows=["2d", "36h"])]},
            "the window 36h is no multiple of every='1d'.",
        ),
        ({"timezone": "Europe/Berlin"}, "a timezone says when days begin, and needs every='1d'."),
        (
            {"every": "1d", "timezone": "Europe/Bern"},
            "'Europe/Bern' is no time zone. Write a name as in Europe/Berlin.",
        ),
        (
            {"closed": "neither", "aggregates": [Aggregate("count", windows="1us")]},
            "no instant lies inside a window of 1us without its ends.",
        ),
        (
            {"aggregates": [COUNT, COUNT]},
            "Trailing aggregates by shop: two columns have the name 'count_7d'. Give one another, "
            "such as name='arrivals_{window}'.",
        ),
        (
            {"aggregates": [Aggregate("count", windows=["1d", "7d"], name="n")]},
            "two columns have the name 'n'.",
        ),
        ({"feature_timestamp": "shop"}, "two columns have the name 'shop'."),
    ],
)
def test_trailing_aggregates_that_mean_nothing_are_refused(options, said):
    with pytest.raises(UsageError) as error:
        trailing(**options)
    assert said in str(error.value)
