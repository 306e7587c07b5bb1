"""The gate is tested by mutation: each known leak is caught, and nothing else is."""

from __future__ import annotations

import pytest

from sololakehouse.replay.mutations import UNCHANGED, MutationTrial
from sololakehouse.replay.replay import ReplayRequest
from tests.replay.leaks import LEAKS
from tests.replay.taxi import CLEAN, Taxi


@pytest.mark.parametrize("leak", LEAKS)
def test_each_known_leak_is_caught(taxi: Taxi, leak: str) -> None:
    taxi.run(**LEAKS[leak])
    report = taxi.replay(4)
    leaking = {table.table: [c.column for c in table.leaking] for table in report.leaking}
    assert leaking, leak
    found = leaking.get("features.place") or leaking["training.taxi"]
    assert set(found) <= {"leaky", "(rows)", "arrivals", "mean_minutes", "arrivals_3h"}


def test_leaks_put_into_the_project_itself_are_caught(taxi: Taxi) -> None:
    holes = CLEAN.replace("avg(minutes)", "CASE WHEN count(*) > 1 THEN avg(minutes) END")
    taxi.run(place=holes.replace("count(*) AS arrivals", "count(*) AS arrivals, min(ride) AS r"))
    report = MutationTrial(taxi.lake, ReplayRequest(cutoffs=6)).trial()
    assert report.is_good
    outcomes = {(one.leak, one.table): one.outcome for one in report.trials}
    assert outcomes[UNCHANGED, "features.place"] == "clean"
    assert sum(outcome == "caught" for outcome in outcomes.values()) >= 8
    assert taxi.lake.read("features.place").columns.keys() == {
        *("place", "feature_ts", "arrivals", "r", "mean_minutes", "arrivals_3h"),
    }


def test_a_leak_that_cannot_be_put_in_says_why(taxi: Taxi) -> None:
    taxi.run()
    report = MutationTrial(taxi.lake, ReplayRequest(cutoffs=1)).trial()
    said = {one.leak: one.said for one in report.trials if one.outcome == "does not apply"}
    assert said == {"a fill from the future": "no column has a NULL to fill"}
