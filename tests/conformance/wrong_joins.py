"""Joins with one mistake each, of those that real ones make, by the trap that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from sololakehouse.conformance import AsOf
from sololakehouse.features.asof import chosen_rows, rows_at

Join = Callable[[pl.DataFrame, pl.DataFrame, AsOf], pl.DataFrame]


def right(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
    found = rows_at(features.select("row", "value"), chosen_rows(labels, features, rule))
    return labels.hstack(found)


def asked(change: Callable[[AsOf], dict[str, Any]]) -> Join:
    """Join by another rule than the one that was asked for."""
    return lambda labels, features, rule: right(labels, features, replace(rule, **change(rule)))


def answered(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Join:
    """Change the answer."""
    return lambda *given: change(right(*given))


def seen(change: Callable[[pl.DataFrame, AsOf], pl.DataFrame]) -> Join:
    """Change the feature rows before they are joined."""
    return lambda labels, features, rule: right(labels, change(features, rule), rule)


def oldest(features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
    return features.sort("feature_ts").unique(rule.keys, keep="first")


def last_restatement(features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
    return features.sort("known_at").unique([*rule.keys, "feature_ts"], keep="last")


def what_came_last(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
    came = features.with_columns(feature_ts=pl.max_horizontal("feature_ts", "known_at"))
    return right(labels, came.sort("feature_ts"), replace(rule, known_at=None))


def by_the_clock(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
    zone = labels.schema["event_ts"].time_zone
    clock = pl.selectors.datetime().dt.convert_time_zone(zone).dt.replace_time_zone(None)
    shown = (frame.with_columns(clock.dt.replace_time_zone("UTC")) for frame in (labels, features))
    return by_other_columns(labels, features, *shown, rule)


def glued(mark: str) -> Join:
    def join(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
        key = pl.concat_str(pl.col(rule.keys[1:]), separator=mark).alias("key")
        changed = (frame.with_columns(key) for frame in (labels, features))
        return by_other_columns(labels, features, *changed, replace(rule, keys=["case_id", "key"]))

    return join


def by_key(change: Callable[[pl.Expr], pl.Expr]) -> Join:
    def join(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
        changed = (
            frame.with_columns(change(pl.col(name)) for name in rule.keys[1:])
            for frame in (labels, features)
        )
        return by_other_columns(labels, features, *changed, rule)

    return join


def by_other_columns(
    labels: pl.DataFrame,
    features: pl.DataFrame,
    seen_labels: pl.DataFrame,
    seen_features: pl.DataFrame,
    rule: AsOf,
) -> pl.DataFrame:
    rows = chosen_rows(seen_labels, seen_features, rule)
    return labels.hstack(rows_at(features.select("row", "value"), rows))


def refusing_empty(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
    if labels.is_empty() or features.is_empty():
        raise ValueError("nothing to join")
    return right(labels, features, rule)


def a_microsecond_less(rule: AsOf) -> dict[str, Any]:
    return {"lookback": rule.lookback and rule.lookback - timedelta(microseconds=1)}


NEXT = pl.col("row", "value").shift(1)
WRONG: list[tuple[str, str, Join]] = [
    ("latest row", "takes the oldest", seen(oldest)),
    ("equal timestamps", "is strict", asked(lambda _: {"allow_exact_match": False})),
    ("exact match refused", "is not strict", asked(lambda _: {"allow_exact_match": True})),
    ("lookback", "is exclusive", asked(a_microsecond_less)),
    ("lookback", "has none", asked(lambda _: {"lookback": None})),
    ("huge lookback", "is cut", asked(lambda rule: {"lookback": min(rule.lookback, timedelta(1))})),
    ("known later", "is not asked", asked(lambda _: {"known_at": None})),
    ("known later", "the last to come wins", what_came_last),
    ("restatements", "drops all but the last", seen(last_restatement)),
    ("known as of", "is not asked", asked(lambda _: {"known_as_of": None})),
    ("known as of, no known_at", "is not asked", asked(lambda _: {"known_as_of": None})),
    ("no match", "is dropped", answered(lambda rows: rows.drop_nulls("row"))),
    ("repeated labels", "are dropped", answered(lambda rows: rows.unique())),
    ("order of labels", "is by time", answered(lambda rows: rows.sort("event_ts"))),
    ("NULL in labels", "is dropped", answered(lambda rows: rows.drop_nulls("event_ts"))),
    ("NULL in labels", "is a text", by_key(lambda key: key.fill_null("None"))),
    ("NULL values", "are skipped", seen(lambda rows, _: rows.drop_nulls("value"))),
    ("no labels", "are refused", refusing_empty),
    ("no feature rows", "are refused", refusing_empty),
    ("clock changes", "clocks are compared", by_the_clock),
    (
        "before 1970",
        "is dropped",
        seen(lambda rows, _: rows.filter(pl.col("feature_ts") >= datetime(1970, 1, 1, tzinfo=UTC))),
    ),
    ("texts as keys", "are trimmed", by_key(lambda key: key.str.strip_chars())),
    ("texts as keys", "are in lower case", by_key(lambda key: key.str.to_lowercase())),
    ("texts as keys", "are normalised", by_key(lambda key: key.str.normalize("NFC"))),
    ("keys of two columns", "are glued together", glued("")),
    ("keys of two columns", "are glued together with a mark", glued("_")),
    ("plain lookup", "is by the row", answered(lambda rows: rows.with_columns(NEXT))),
    ("all at once", "is strict", asked(lambda _: {"allow_exact_match": False})),
]
