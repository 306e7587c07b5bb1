"""DuckDB's `ASOF JOIN`, for `slh conformance benchmarks/peers/duckdb_asof.py:join`.

An ASOF join has one inequality, so a condition on a second time of each row it does not have. What
was known on a fixed day is a filter before it, which leaves one row of each timestamp. It has no
tolerance: the age is compared in the SELECT.
"""

from __future__ import annotations

from datetime import timedelta

import duckdb
import polars as pl
import pyarrow as pa

from sololakehouse.conformance import AsOf

NOT_SUPPORTED = ("known_at",)


def join(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pa.Table:
    equal = " AND ".join(f"l.{key} = f.{key}" for key in rule.keys)
    query = f"SELECT l.*, f.row, f.value FROM labels l LEFT JOIN features f ON {equal}"
    if rule.timestamp:
        query = asof(rule, equal)
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        session.register("labels", labels.with_row_index("place").to_arrow())
        session.register("features", features.to_arrow())
        return session.sql(f"{query} ORDER BY l.place").to_arrow_table()


def asof(rule: AsOf, equal: str) -> str:
    compare = ">=" if rule.allow_exact_match else ">"
    row, value = (fresh(name, rule.lookback) for name in ("row", "value"))
    return (
        f"SELECT l.*, {row}, {value} FROM labels l ASOF LEFT JOIN ({known(rule)}) f "
        f"ON {equal} AND l.event_ts {compare} f.feature_ts"
    )


def fresh(column: str, lookback: timedelta | None) -> str:
    if lookback is None:
        return f"f.{column}"
    oldest = lookback // timedelta(microseconds=1)
    age = "epoch_us(l.event_ts) - epoch_us(f.feature_ts)"
    return f"CASE WHEN {age} <= {oldest} THEN f.{column} END AS {column}"


def known(rule: AsOf) -> str:
    if rule.known_as_of is None:
        return "FROM features"
    keys = ", ".join([*rule.keys, "feature_ts"])
    return (
        f"FROM features WHERE {rule.known_at or 'feature_ts'} <= '{rule.known_as_of}'::TIMESTAMPTZ "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} "
        f"ORDER BY {rule.known_at or 'feature_ts'} DESC) = 1"
    )
