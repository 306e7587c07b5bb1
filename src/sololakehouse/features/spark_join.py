"""The point-in-time join of `asof.py` in Spark's DataFrame API, for engines that are servers.

Labels and feature rows become one sequence of rows per key, in the order of time: a feature row
stands where it becomes available, a label at its moment, behind the rows that are available then.
The best row so far is a label's answer. A row that comes late and is worse than what is there is
never the best, so what is known later needs no other form. Nothing is joined by a range, no
function runs in Python, and nothing is computed before the result is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial, reduce
from operator import and_
from typing import TYPE_CHECKING

from sololakehouse.features.asof import AsOf

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_FEATURE, _LABEL = 0, 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# The difference of two 64-bit integers needs one bit more than they have.
_WIDE = "decimal(20,0)"


def join_as_of(
    labels: DataFrame, features: DataFrame, outputs: Mapping[str, str], rule: AsOf
) -> DataFrame:
    """Return the labels with columns of the chosen feature rows; lazy, and in no order.

    Every label stays, also one that equals another.

    Parameters
    ----------
    labels
        Keys, timestamp and any other columns.
    features
        Keys, times and features; keys and times are unique together.
    outputs
        Columns of `features`, and the name that each of them gets; no label has that name.
    """
    chosen = _latest_visible if rule.timestamp else _equal
    return chosen(labels, features, outputs, rule)


def _latest_visible(
    labels: DataFrame, features: DataFrame, outputs: Mapping[str, str], rule: AsOf
) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    asked, found = _places("label", labels.columns), _places("found", outputs)
    times = ["feature_ts", "known_at"] if rule.known_at else ["feature_ts"]
    questions = labels.select(
        *_named(_places("key", rule.keys)),
        F.unix_micros(named(rule.timestamp or "")).alias("moment"),
        F.lit(_LABEL).alias("side"),
        *_named(asked),
        *(F.lit(None).cast("bigint").alias(time) for time in times),
        *_nulls(features, found),
    )
    answers = _visible_rows(features, found, rule).select(
        "*", F.lit(_FEATURE).alias("side"), *_nulls(labels, asked)
    )
    so_far = (
        Window.partitionBy(*_places("key", rule.keys))
        .orderBy(F.asc_nulls_first("moment"), "side")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    row = F.when(F.col("side") == _FEATURE, F.struct("feature_ts", *found))
    preference = F.when(F.col("side") == _FEATURE, F.struct(*times))
    best = F.col("best")
    joined = questions.unionByName(answers).select(
        "side", "moment", *asked, F.max_by(row, preference).over(so_far).alias("best")
    )
    taken = partial(F.when, _is_fresh(rule))
    return joined.where(F.col("side") == _LABEL).select(
        *(F.col(place).alias(name) for place, name in asked.items()),
        # Field by field: the embedded engine has the fields of a NULL struct as they were before.
        *(taken(best.getField(place)).alias(outputs[name]) for place, name in found.items()),
    )


def _visible_rows(features: DataFrame, found: Mapping[str, str], rule: AsOf) -> DataFrame:
    """Return the rows that can be chosen, each with the `moment` from which on it can be."""
    from pyspark.sql import functions as F

    keys = _places("key", rule.feature_keys or rule.keys)
    instants = {"feature_ts": rule.feature_timestamp, "known_at": rule.known_at}
    times = {time: name for time, name in instants.items() if name}
    rows = features.select(
        *_named(keys),
        *(F.unix_micros(named(name)).alias(time) for time, name in times.items()),
        *_named(found),
    ).where(_all(F.col(place).isNotNull() for place in (*keys, *times)))
    moment = F.col("feature_ts") + rule.strict
    if rule.known_as_of is not None:
        known = F.col("known_at" if rule.known_at else "feature_ts")
        rows = rows.where(known <= (rule.known_as_of - _EPOCH) // _MICROSECOND)
    elif rule.known_at:
        moment = F.greatest(moment, "known_at")
    return rows.withColumn("moment", moment)


def _is_fresh(rule: AsOf) -> Column:
    from pyspark.sql import functions as F

    best = F.col("best")
    if rule.lookback is None:
        return best.isNotNull()
    oldest = Decimal(rule.lookback // _MICROSECOND)
    return F.col("moment").cast(_WIDE) - best.getField("feature_ts").cast(_WIDE) <= F.lit(oldest)


def _equal(
    labels: DataFrame, features: DataFrame, outputs: Mapping[str, str], rule: AsOf
) -> DataFrame:
    from pyspark.sql import functions as F

    asked, found = _places("label", labels.columns), _places("found", outputs)
    keys, feature_keys = rule.keys, rule.feature_keys or rule.keys
    questions = labels.select(*_named(_places("key", keys)), *_named(asked))
    answers = features.select(*_named(_places("key", feature_keys)), *_named(found))
    joined = questions.join(answers, on=list(_places("key", keys)), how="left")
    return joined.select(
        *(F.col(place).alias(name) for place, name in asked.items()),
        *(F.col(place).alias(outputs[name]) for place, name in found.items()),
    )


def _places(role: str, names: Iterable[str]) -> dict[str, str]:
    """Give columns names that cannot collide, whatever people call theirs."""
    return {f"{role}_{number}": name for number, name in enumerate(names)}


def _named(places: Mapping[str, str]) -> list[Column]:
    return [named(name).alias(place) for place, name in places.items()]


def named(column: str) -> Column:
    """Return the column of a name that may hold dots and back-quotes."""
    from pyspark.sql import functions as F

    quoted = column.replace("`", "``")
    return F.col(f"`{quoted}`")


def _nulls(frame: DataFrame, places: Mapping[str, str]) -> list[Column]:
    from pyspark.sql import functions as F

    types = {field.name: field.dataType for field in frame.schema.fields}
    return [F.lit(None).cast(types[name]).alias(place) for place, name in places.items()]


def _all(conditions: Iterable[Column]) -> Column:
    return reduce(and_, conditions)
