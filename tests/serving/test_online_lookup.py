"""Rows in memory answer as the point-in-time join does, for any moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.features.assembly import look_up
from sololakehouse.features.join import plan_lookups
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.tables import FeatureTable
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run
from sololakehouse.serving.online_lookup import HistoryNeededError, OnlineLookup

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")
steps = st.integers(0, 8)


def at(step: int) -> datetime:
    return ZERO + timedelta(hours=step)


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lakehouse:
    folder = tmp_path_factory.mktemp("online")
    (folder / "lakehouse.yml").write_text("name: online\n")
    return Lakehouse.open(folder)


def table_of(lake, rows, *, known: bool) -> FeatureTable:
    columns = {"k": pl.Int64, "n": pl.String, "ts": MOMENT, "known": MOMENT, "v": pl.Int64}
    frame = pl.DataFrame(rows, columns, orient="row").unique(["k", "n", "ts", "known"])
    properties = {"feature.keys": "k,n", "feature.timestamp": "ts"}
    if known:
        properties["feature.known_at"] = "known"
    else:
        frame = frame.unique(["k", "n", "ts"]).drop("known")
    writer = LakeWriter(lake, Run.start(lake.project.folder, "embedded"))
    name = f"features.known_{known}".lower()
    writer.write_frame(name, frame, Change("TEST", str(rows)), properties=properties)
    return FeatureTable.open(lake, name)


rows = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from("ab"), steps, steps, st.integers(0, 99)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=rows,
    asked=st.lists(
        st.tuples(st.sampled_from([1, 2, None]), st.sampled_from("ab"), steps), min_size=1
    ),
    since=steps,
    known=st.booleans(),
    exact=st.booleans(),
    lookback=st.sampled_from([None, timedelta(0), timedelta(hours=2)]),
)
def test_every_moment_is_answered_as_the_join_answers_it(
    lake, rows, asked, since, known, exact, lookback
):
    kept = [(k, n, at(ts), at(max(ts, kn)), v) for k, n, ts, kn, v in rows]
    table = table_of(lake, kept, known=known)
    lookup = FeatureLookup(
        table_name=table.name,
        lookup_key=["key", "name"],
        feature_names=["v"],
        rename_outputs={"v": "value"},
        timestamp_lookup_key="when",
        lookback_window=lookback,
        default_values={"value": -1},
    )
    labels = pl.DataFrame(
        [(k, n, at(step)) for k, n, step in asked],
        {"key": pl.Int64, "name": pl.String, "when": MOMENT},
        orient="row",
    )
    plans = plan_lookups([lookup], {table.name: table}, labels.schema, "the labels")
    expected, _ = look_up(labels, plans, allow_exact_match=exact)
    online = OnlineLookup(plans[0], at(since), allow_exact_match=exact)
    found, ages = online.look_up(labels, history=True)
    assert found["value"].to_list() == expected["value"].to_list()
    assert [age is None for age in ages] == [value == -1 for value in expected["value"]]
    assert all(age is None or age >= 0 for age in ages)
    if all(step >= since for _, _, step in asked):
        online.look_up(labels, history=False)


def test_what_memory_does_not_hold_is_not_guessed(lake):
    table = table_of(lake, [(1, "a", at(step), at(step), step) for step in range(6)], known=False)
    lookup = FeatureLookup(
        table_name=table.name,
        lookup_key=["k", "n"],
        timestamp_lookup_key="when",
    )
    labels = pl.DataFrame(
        {"k": [1], "n": ["a"], "when": [at(2)]}, schema_overrides={"when": MOMENT}
    )
    plan = plan_lookups([lookup], {table.name: table}, labels.schema, "the labels")[0]
    online = OnlineLookup(plan, at(4), allow_exact_match=True)
    assert online.rows == 2
    with pytest.raises(HistoryNeededError):
        online.look_up(labels, history=False)
    assert online.look_up(labels, history=True)[0]["v"].to_list() == [2]
    assert online.look_up(labels.with_columns(when=pl.lit(at(5)).cast(MOMENT)), history=False)[0][
        "v"
    ].to_list() == [5]


def test_a_row_that_is_exactly_as_old_as_the_lookback_counts(lake):
    table = table_of(lake, [(1, "a", at(0), at(0), 7)], known=False)
    lookup = FeatureLookup(
        table_name=table.name,
        lookup_key=["k", "n"],
        timestamp_lookup_key="when",
        lookback_window=timedelta(hours=2),
    )
    moments = [at(2), at(2) + timedelta(microseconds=1)]
    labels = pl.DataFrame({"k": [1, 1], "n": ["a", "a"], "when": pl.Series(moments, dtype=MOMENT)})
    plan = plan_lookups([lookup], {table.name: table}, labels.schema, "the labels")[0]
    online = OnlineLookup(plan, at(1), allow_exact_match=True)
    found, ages = online.look_up(labels, history=False)
    assert found["v"].to_list() == [7, None]
    assert ages == [7200.0, None]
