"""Labels that are searched at once: each is in one portion, and portions are ranges of keys."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sololakehouse.features.portions import portions
from sololakehouse.lake.spill import Spill

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = {
    "whole": st.integers(-3, 3),
    "text": st.sampled_from(["", "a", "b", "ab", "é"]),
    "real": st.sampled_from([-0.5, 0.0, 1.5]),
}


@pytest.mark.parametrize("kind", KEYS)
@given(data=st.data(), most=st.integers(1, 9))
def test_each_label_is_in_one_portion(kind, data, most):
    keys = data.draw(st.lists(st.none() | KEYS[kind], min_size=1, max_size=30))
    labels = pl.DataFrame({"key": keys}).with_columns(
        at=pl.Series([BEGIN + timedelta(hours=row % 5) for row in range(len(keys))])
    )
    found = list(portions(labels.lazy(), ["key"], "at", labels.height, most, Spill()))
    assert all(0 < part.height <= most for part in found)
    known = labels.with_row_index("label").filter(pl.col("key").is_not_null())
    assert sorted(number for part in found for number in part["label"]) == known["label"].to_list()
    for part in found:
        assert part["key 0"].to_list() == labels["key"].gather(part["label"]).to_list()


def test_portions_are_ranges_of_keys_of_about_the_same_size(tmp_path):
    keys = np.random.default_rng(3).integers(0, 1000, 40_000)
    labels = pl.DataFrame({"key": keys, "other": keys[::-1]})
    waiting = Spill(tmp_path)
    found = list(portions(labels.lazy(), ["key", "other"], None, labels.height, 10_000, waiting))
    bounds = [(part["key 0"].min(), part["key 0"].max()) for part in found]
    assert len(found) == 5
    assert all(one[1] < other[0] for one, other in itertools.pairwise(bounds))
    assert all(7_000 < part.height < 9_000 for part in found)
    assert not list(tmp_path.iterdir())


def test_a_key_with_most_of_the_labels_is_cut_by_their_order():
    labels = pl.DataFrame({"key": ["hot"] * 90 + ["cold"] * 10})
    found = list(portions(labels.lazy(), ["key"], None, labels.height, 40, Spill()))
    assert [set(part["key 0"]) for part in found[-2:]] == [{"hot"}, {"hot"}]
    assert sum(part.height for part in found) == 100


def test_the_same_labels_are_cut_by_keys_of_one_type_after_another(tmp_path):
    columns = {"whole": range(50), "text": [f"{n % 5}" for n in range(50)], "real": [0.5] * 50}
    labels, waiting = pl.DataFrame(columns), Spill(tmp_path)
    for keys in (["whole"], ["text"], ["text", "whole"], ["real"], ["whole"]):
        found = list(portions(labels.lazy(), keys, None, 50, 10, waiting))
        assert sorted(number for part in found for number in part["label"]) == list(range(50))
        for part in found:
            asked = labels.select(keys)[part["label"]]
            assert part.select(pl.col("^key .*$")).rows() == asked.rows()
