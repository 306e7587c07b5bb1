"""The functions from events to rows, against a plain-Python oracle."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.errors import ChangeDataError
from sololakehouse.pipelines.changes import history_rows, newest_rows
from tests.pipelines.cdc_oracle import Event, history, newest

SCHEMA = {
    "key": pl.Int64,
    "a": pl.Int64,
    "b": pl.Int64,
    "__sequence": pl.Int64,
    "__deleted": pl.Boolean,
}
values = st.none() | st.integers(0, 2)


@st.composite
def deliveries(draw) -> list[list[Event]]:
    """Events with one meaning per key and sequence, in any order, some twice, in several runs."""
    places = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=18))
    once = [Event(*place, draw(st.booleans()), draw(values), draw(values)) for place in set(places)]
    again = draw(st.lists(st.sampled_from(once), max_size=4)) if once else []
    events = draw(st.permutations([*once, *again]))
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=3)))
    return [events[i:j] for i, j in zip([0, *cuts], [*cuts, len(events)], strict=True)]


def frame(events) -> pl.DataFrame:
    rows = [(e.key, e.a, e.b, e.sequence, e.deleted) for e in events]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def without(rows: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    return rows.join(keys, on="key", how="anti")


def apply_newest(runs) -> pl.DataFrame:
    rows = frame([]).select("key", "a", "b")
    memory = frame([]).select("key", "__sequence", "__deleted")
    for events in map(frame, runs):
        keys = events.select("key").unique()
        known, stored = (one.join(keys, on="key", how="semi") for one in (memory, rows))
        outcome = newest_rows(events, known, stored, ["key"], "silver.t")
        rows = pl.concat([without(rows, outcome.replaced), outcome.rows])
        memory = pl.concat([without(memory, outcome.replaced), outcome.memory])
    return rows


def apply_history(runs, tracked) -> pl.DataFrame:
    rows, memory = None, frame([])
    for events in map(frame, runs):
        known = memory.join(events.select("key").unique(), on="key", how="semi")
        outcome = history_rows(events, known, ["key"], tracked, "silver.t")
        kept = outcome.rows if rows is None else without(rows, outcome.replaced)
        rows = kept if rows is None else pl.concat([kept, outcome.rows])
        memory = pl.concat([memory, outcome.memory])
    return rows


@settings(max_examples=100, deadline=None)
@given(deliveries())
def test_the_newest_row_does_not_depend_on_order_or_runs(runs):
    rows = apply_newest(runs).rows()
    assert len(rows) == len(set(rows))
    assert set(rows) == newest(event for run in runs for event in run)


@settings(max_examples=100, deadline=None)
@given(deliveries(), st.sampled_from(["ab", "a", ""]))
def test_the_history_does_not_depend_on_order_or_runs(runs, tracked):
    rows = apply_history(runs, list(tracked)).rows()
    assert len(rows) == len(set(rows))
    assert set(rows) == history((event for run in runs for event in run), tracked)


TIE = [Event(1, 5, False, 1, None), Event(1, 5, False, 2, None)]


@pytest.mark.parametrize("runs", [[TIE], [TIE[:1], TIE[1:]]])
@pytest.mark.parametrize("apply", [apply_newest, lambda runs: apply_history(runs, ["a"])])
def test_two_last_events_that_differ_are_refused(apply, runs):
    with pytest.raises(
        ChangeDataError, match=r"^silver\.t: once, .* in a\. .*\n  key=1, __sequence=5$"
    ):
        apply(runs)


def test_three_examples_of_ties_are_shown():
    ties = [Event(key, 1, False, value, None) for key in range(9) for value in (1, 2)]
    with pytest.raises(ChangeDataError, match="9 times") as caught:
        apply_newest([ties])
    assert len(str(caught.value).splitlines()) == 4


def test_a_delete_and_an_upsert_of_one_sequence_are_refused():
    with pytest.raises(ChangeDataError):
        apply_newest([[Event(1, 5, False, 1, None)], [Event(1, 5, True, 1, None)]])


def test_ties_of_events_that_were_overtaken_do_not_matter_for_the_newest_row():
    later = Event(1, 6, False, 3, None)
    assert apply_newest([[*TIE, later]]).rows() == [(1, 3, None)]
    with pytest.raises(ChangeDataError):
        apply_history([[*TIE, later]], ["a"])


def test_two_deletes_of_one_sequence_say_the_same():
    deletes = [Event(1, 5, True, 1, None), Event(1, 5, True, 2, 3)]
    assert apply_newest([deletes]).is_empty()
    assert apply_history([[Event(1, 1, False, 1, None), *deletes]], ["a"]).rows() == [
        (1, 1, None, 1, 5)
    ]


def test_several_keys_structs_as_sequence_lists_and_nan():
    one = {"k": 1, "l": "x", "v": [float("nan")], "__sequence": {"at": 1, "n": 2}}
    two = one | {"v": None, "__sequence": {"at": 2, "n": 1}}
    events = pl.DataFrame([two, one, one | {"l": "y"}]).with_columns(__deleted=pl.lit(False))
    keys = ["k", "l"]
    known, stored = events.clear().select(*keys, "__sequence", "__deleted"), events.clear()
    stored = stored.drop("__sequence", "__deleted")
    outcome = newest_rows(events, known, stored, keys, "silver.t")
    assert outcome.rows.sort("l")["v"].to_list()[0] is None
    assert outcome.rows["l"].sort().to_list() == ["x", "y"]
    again = newest_rows(events, outcome.memory, outcome.rows, keys, "silver.t")
    assert again.rows.is_empty()
    assert again.replaced.is_empty()
    rows = history_rows(events, events.clear(), keys, ["v"], "silver.t").rows
    assert rows.sort("l", "__START_AT")["__END_AT"].to_list() == [{"at": 2, "n": 1}, None, None]
