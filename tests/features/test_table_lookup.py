"""The answer is the oracle's, however labels and rows are cut."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.features.asof import AsOf, asked_of, chosen_rows
from sololakehouse.features.latest import ROW, SortedLabels
from sololakehouse.features.table_lookup import TableLookup
from sololakehouse.lake.spill import Spill

from .test_asof import cases, frames_of, rule_of


def found(
    labels: pl.DataFrame,
    features: pl.DataFrame,
    rule: AsOf,
    *,
    searched: int = 2,
    at_once: int = 3,
    batch: int = 4,
    taken: int = 5,
    spill: Spill | None = None,
) -> list[Any]:
    """Look up `v` with so many labels searched, put together, and feature rows read, at once."""
    numbered = features.with_row_index(ROW)
    parts = [part.lazy() for part in numbered.iter_slices(batch)] or [numbered.lazy()]
    lookup = TableLookup("t", pl.concat(parts), ["v"], rule, at_once, spill or Spill(), taken)
    for first in range(0, labels.height, searched):
        some = labels.with_row_index("place").slice(first, searched)
        asked = asked_of(some, rule.keys, rule.timestamp, some["place"])
        if asked.height:
            lookup.search(SortedLabels(asked))
    lookup.take_values()
    values: list[Any] = []
    for number, some in enumerate(labels.iter_slices(at_once)):
        values += lookup.values(number, some.height)["v"].to_list()
    assert lookup.matched == len(values) - values.count(None)
    return values


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    cases(),
    st.fixed_dictionaries(
        {
            "searched": st.integers(1, 5),
            "at_once": st.integers(1, 5),
            "batch": st.integers(1, 9),
            "taken": st.integers(1, 9),
        }
    ),
    st.randoms(),
    st.booleans(),
)
def test_any_cut_gives_what_the_oracle_gives(case, cut, random, in_files):
    rows = case["rows"]
    random.shuffle(rows)
    asked, features, expected = frames_of(case, rows)
    features = features.with_row_index("v")
    with tempfile.TemporaryDirectory() as folder:
        spill = Spill(Path(folder)) if in_files else Spill()
        assert found(asked, features, rule_of(case), spill=spill, **cut) == expected
        assert not list(Path(folder).iterdir())


@pytest.mark.parametrize(
    "keys",
    [
        [3, None, 1, 3, 2, -5],
        [2**63 - 1, -(2**63), 0, None, 0, 2**63 - 1],
        pl.Series([2**64 - 1, 0, 2**63, None, 0, 1], dtype=pl.UInt64),
        pl.Series([3, None, 1, 3, 2, 0], dtype=pl.Int8),
        ["b", "", None, "ä", "a_", "b"],
        [b"b", b"", None, b"\xff", b"\x00", b"b"],
        [True, False, None, True, False, True],
        [Decimal("3.5"), None, Decimal("-1.25"), Decimal("3.5"), Decimal(0), Decimal(1)],
        [date(2026, 1, day) for day in (3, 1, 2, 3, 1, 2)],
        [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 1, 2, 3, 1, 2)],
    ],
)
def test_keys_of_every_type_are_found(keys):
    labels = pl.DataFrame({"k": keys})
    known = labels["k"].drop_nulls().unique()
    features = pl.DataFrame({"k": known}).with_row_index("v")
    place = {key: number for number, key in enumerate(known)}
    expected = [place.get(key) for key in labels["k"]]
    assert found(labels, features, AsOf(keys=["k"])) == expected
    assert chosen_rows(labels, features, AsOf(keys=["k"])).to_list() == expected


def test_values_of_every_type_are_taken():
    values = [[1], None, [2, 3]], ["a", None, ""], [{"x": 1}, {"x": None}, None], [b"", b"a", None]
    labels = pl.DataFrame({"k": [2, 0, None, 1, 2, 7]})
    for column in values:
        features = pl.DataFrame({"k": [0, 1, 2], "v": column})
        whole = [column[2], column[0], None, column[1], column[2], None]
        lookup = TableLookup(
            "t", features.with_row_index(ROW).lazy(), ["v"], AsOf(["k"]), 4, Spill()
        )
        lookup.search(SortedLabels(asked_of(labels, ["k"], None)))
        lookup.take_values()
        taken = [*lookup.values(0, 4)["v"].to_list(), *lookup.values(1, 2)["v"].to_list()]
        assert taken == whole
