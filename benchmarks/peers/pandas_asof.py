"""pandas' `merge_asof`, for `slh conformance benchmarks/peers/pandas_asof.py:join`.

`merge_asof` wants both sides sorted and refuses labels without a moment: these are put aside. What
was known on a fixed day is a filter of the feature rows, and of rows with one timestamp the last
wins. A condition on a second time of each row it does not have.
"""

from __future__ import annotations

import pandas as pd
import polars as pl

from sololakehouse.conformance import AsOf

NOT_SUPPORTED = ("known_at",)


def join(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pd.DataFrame:
    left, right, keys = labels.to_pandas(), features.to_pandas(), list(rule.keys)
    if rule.timestamp is None:
        return left.merge(right, on=keys, how="left")
    left["place"] = range(len(left))
    left[rule.timestamp] = left[rule.timestamp].dt.tz_convert("UTC")
    if rule.known_as_of is not None:
        right = right[right[rule.known_at or rule.feature_timestamp] <= rule.known_as_of]
    order = [rule.feature_timestamp, *([rule.known_at] if rule.known_at else [])]
    found = pd.merge_asof(
        left.dropna(subset=[rule.timestamp]).sort_values(rule.timestamp),
        right.sort_values(order),
        left_on=rule.timestamp,
        right_on=rule.feature_timestamp,
        by=keys,
        tolerance=None if rule.lookback is None else pd.Timedelta(rule.lookback),
        allow_exact_matches=rule.allow_exact_match,
    )
    return left.merge(found[["place", "row", "value"]], on="place", how="left")
