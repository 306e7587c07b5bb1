from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.conformance.oracle import chosen
from sololakehouse.features import join
from sololakehouse.features.asof import AsOf, chosen_rows
from sololakehouse.features.buckets import look_up_in_buckets

from .flights import LABELS, airports, weather
from .test_asof import _frame, cases, rule_of


@settings(max_examples=300, deadline=None, derandomize=True)
@given(cases(), st.integers(2, 6), st.randoms(), st.booleans())
def test_any_number_of_buckets_gives_what_the_oracle_gives(case, buckets, random, in_order):
    labels, rows, width = case["labels"], case["rows"], case["width"]
    random.shuffle(rows)
    asked = _frame([k for k, _ in labels], width, {"at": [t for _, t in labels]}, case["zone"])
    times = {"ts": [row[1] for row in rows], "known": [row[2] for row in rows]}
    features = _frame([row[0] for row in rows], width, times, "UTC").with_row_index("row")
    options = {k: case[k] for k in ("lookback", "known_as_of", "allow_exact_match")}
    rule = rule_of(case)
    expected = [
        chosen(key, event, rows, uses_known_at=case["uses_known_at"], **options)
        for key, event in labels
    ]
    found = look_up_in_buckets(asked, features.lazy(), ["row"], rule, buckets, in_order=in_order)
    assert found.values["row"].to_list() == expected
    assert found.matched == sum(row is not None for row in expected)


@pytest.mark.parametrize(
    "keys",
    [
        [3, None, 1, 3, 2, -5],
        ["b", "", None, "ä", "a_", "b"],
        [True, False, None, True, False, True],
        [date(2026, 1, day) for day in (3, 1, 2, 3, 1, 2)],
        [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 1, 2, 3, 1, 2)],
    ],
)
def test_keys_of_every_type_have_buckets(keys):
    labels = pl.DataFrame({"k": keys})
    features = pl.DataFrame({"k": pl.Series(keys).drop_nulls().unique()}).with_row_index("v")
    rule = AsOf(keys=["k"])
    expected = chosen_rows(labels, features, rule).to_list()
    for in_order in (True, False):
        found = look_up_in_buckets(labels, features.lazy(), ["v"], rule, 4, in_order=in_order)
        assert found.values["v"].to_list() == expected


def test_a_training_set_in_buckets_is_the_same(project, monkeypatch):
    def made() -> pl.DataFrame:
        lookups = [weather(default_values={"wind": -1}), airports()]
        found = project.client.create_training_set(
            df=LABELS, feature_lookups=lookups, label="is_late"
        )
        return found.to_polars(), found.reports

    whole, reports = made()
    monkeypatch.setattr(join, "bucket_count", lambda *_, **__: 3)
    in_buckets, again = made()
    assert in_buckets.equals(whole)
    assert again == reports


def test_the_order_of_keys_is_seen_in_the_files(project):
    rows = pl.DataFrame({"k": range(1000), "v": range(1000)})
    properties = {"feature.keys": "k"}
    made = project.client.create_table(name="features.made", primary_keys="k", df=rows.reverse())
    assert made.is_in_key_order
    even = rows["k"] % 2 == 0
    project.write("features.twice", rows.filter(even), properties=properties)
    assert project.client.get_table(name="features.twice").is_in_key_order
    project.write("features.twice", rows.filter(~even), mode="append", properties=properties)
    assert not project.client.get_table(name="features.twice").is_in_key_order
