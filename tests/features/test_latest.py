"""Sorted batches are searched from the labels' side, others from the rows': the answer is one."""

from __future__ import annotations

from threading import Thread
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.features.asof import AsOf, asked_of
from sololakehouse.features.key_numbers import NUMBER
from sololakehouse.features.latest import ROW, SortedLabels, _BestRows

from .test_asof import KEY_PARTS, cases, frames_of, rule_of

WIDE = 2**59  # times the few moments here: more than 64 bits


def found(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf, batch: int) -> list[Any]:
    """Return for each label the number of the row that was found, in batches of just that size."""
    asked = asked_of(labels, rule.keys, rule.timestamp)
    rows: dict[int, int] = {}
    if asked.height:
        in_order = SortedLabels(asked)
        best = _BestRows(in_order, rule)
        for some in features.with_row_index(ROW).iter_slices(batch):
            placed = in_order._placed(some.lazy(), rule).collect()
            if placed.height:
                best.add(placed)
        rows = dict(best.chosen().iter_rows())
    return [rows.get(label) for label in range(labels.height)]


def _with_whole_keys(frame: pl.DataFrame, apart: int) -> pl.DataFrame:
    """Put whole numbers, so far apart, in the place of the texts that are the first key."""
    number = pl.col("k0").replace_strict(KEY_PARTS, range(len(KEY_PARTS)), return_dtype=pl.Int64)
    return frame.with_columns(number * apart)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    cases(),
    st.integers(4, 30),
    st.sampled_from([None, 1, WIDE]),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=2),
)
def test_a_table_that_is_sorted_or_nearly_gives_what_the_oracle_gives(case, batch, whole, swaps):
    rows = sorted(case["rows"])
    for one, other in swaps:
        if max(one, other) < len(rows):
            rows[one], rows[other] = rows[other], rows[one]
    asked, features, expected = frames_of(case, rows)
    if whole:
        asked, features = (_with_whole_keys(frame, whole) for frame in (asked, features))
    assert found(asked, features, rule_of(case), batch) == expected


@pytest.fixture(params=[1, 2**62], ids=["64 bits", "128 bits"])
def apart(request):
    """How far apart keys are: places have 64 bits, or 128."""
    return request.param


def _table(rows: list[tuple[int, ...]], names: list[str], apart: int) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=names, orient="row")
    moments = pl.col(names[1:]).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(pl.col("k") * apart, moments)


def rows_of(
    labels: list[tuple[int, int]],
    features: list[tuple[int, ...]],
    apart: int,
    batch: int = 100,
    **options: Any,
) -> list[Any]:
    """Find rows of key, moment and, if they have three numbers, when they became known."""
    known = ["known"] if len(features[0]) == 3 else []
    rule = AsOf(
        ["k"], timestamp="at", feature_timestamp="ts", known_at=(known or [None])[0], **options
    )
    asked, rows = _table(labels, ["k", "at"], apart), _table(features, ["k", "ts", *known], apart)
    return found(asked, rows, rule, batch)


def test_rows_after_the_last_label_of_a_key_are_not_the_next_keys(apart):
    rows = [(0, 1), (0, 8), (0, 9), (1, 1), (1, 7)]
    assert rows_of([(0, 5), (0, 9), (1, 0), (1, 6)], rows, apart) == [0, 2, None, 3]
    assert rows_of([(0, 5), (1, 0), (1, 9)], rows, apart) == [0, None, 4]


def test_of_rows_before_all_labels_the_latest_counts_wherever_it_lies(apart):
    for times in ([1, 2, 3], [3, 2, 1], [1, 3, 2]):
        rows = [(key, time) for key in (0, 1) for time in times]
        latest = times.index(3)
        assert rows_of([(0, 5), (1, 6)], rows, apart) == [latest, 3 + latest]


def test_a_key_goes_on_from_batch_to_batch(apart):
    rows = [(key, time) for key in (0, 1) for time in range(10)]
    labels = [(0, 3), (0, 5), (0, 20), (0, 21), (1, 3), (1, 3)]
    for batch in range(1, 21):
        assert rows_of(labels, rows, apart, batch) == [3, 5, 9, 9, 13, 13]
        earlier = rows_of(labels, rows, apart, batch, allow_exact_match=False)
        assert earlier == [2, 4, 9, 9, 12, 12]


def test_batches_may_lie_between_each_others_rows(apart):
    far, near = [(0, time) for time in (0, 1, 2, 60, 61)], [(0, time) for time in range(20, 25)]
    labels = [(0, 10), (0, 30), (0, 31), (0, 70)]
    assert rows_of(labels, far + near, apart, batch=5) == [2, 9, 9, 4]
    assert rows_of(labels, near + far, apart, batch=5) == [7, 4, 4, 9]


def test_a_row_that_is_known_late_is_worse_than_what_lies_before_it(apart):
    rows = [(0, 5, 6), (0, 9, 9), (0, 6, 15), (0, 9, 25), (1, 2, 3), (1, 1, 4)]
    labels = [(0, 8), (0, 10), (0, 20), (0, 30), (1, 9)]
    assert rows_of(labels, rows, apart) == [0, 1, 1, 3, 4]
    assert rows_of([(0, 20), (1, 9)], rows, apart) == [1, 4]


def test_of_rows_of_one_moment_the_one_known_last_counts_wherever_it_lies(apart):
    for known in ([1, 2, 3], [3, 1, 2], [2, 3, 1]):
        rows = [(key, 1, time) for key in (0, 1) for time in known]
        latest = known.index(3)
        assert rows_of([(0, 5), (1, 6)], rows, apart) == [latest, 3 + latest]


def test_neither_labels_nor_rows_need_an_order(apart):
    rows = [(1, 4), (0, 1), (1, 2), (0, 8), (0, 3)]
    labels = [(1, 9), (0, 2), (1, 3), (0, 9), (0, 4)]
    assert rows_of(labels, rows, apart) == [0, 1, 2, 3, 4]
    assert rows_of(labels[::-1], rows, apart) == [4, 3, 2, 1, 0]


def test_a_batch_waits_until_another_thread_has_held_its_own():
    labels = SortedLabels(pl.DataFrame({"label": [0], "k": [0], "event": [9]}))
    best = _BestRows(labels, AsOf(["k"], timestamp="at", feature_timestamp="ts"))
    row = pl.DataFrame({"place": [0], NUMBER: [0], ROW: [7], "feature_ts": [5]})
    with best._lock:
        other = Thread(target=best.add, args=[row])
        other.start()
        other.join(0.1)
        assert other.is_alive()
        assert best.chosen().is_empty()
    other.join()
    assert best.chosen()["row"].to_list() == [7]
