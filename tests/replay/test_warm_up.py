"""How far back data must go, measured against what is known of the pipeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sololakehouse.errors import StepError
from sololakehouse.provenance import Change
from sololakehouse.replay.warm_up import WarmUp, measure, refuse_too_short, store
from tests.replay.taxi import CLEAN, Taxi


def bounded(lookback: str) -> str:
    return CLEAN.replace(
        "'feature_ts')",
        "'feature_ts', 'pipelines.incremental.source' = 'bronze.rides.arrived_at', "
        f"'pipelines.incremental.lookback' = '{lookback}')",
    )


def measured(taxi: Taxi) -> WarmUp:
    return measure(taxi.lake, 6, 0)["features.place"][0]


@pytest.mark.parametrize(
    ("lookback", "state"), [("3h", "fits"), ("12h", "longer than needed"), ("measured", "measured")]
)
def test_the_least_history_is_found(taxi: Taxi, lookback: str, state: str) -> None:
    taxi.run(place=bounded(lookback))
    found = measured(taxi)
    assert (found.state, found.smallest) == (state, timedelta(hours=3))
    refuse_too_short([found])


def test_a_declaration_that_is_too_short_is_an_error_with_an_example(taxi: Taxi) -> None:
    taxi.run(place=bounded("1h"))
    found = measured(taxi)
    with pytest.raises(
        StepError, match=r"lookback' as 1h, and needs 3h\. With it, .* of the row place"
    ):
        refuse_too_short([found])


def test_what_counts_from_the_beginning_needs_all_history(taxi: Taxi) -> None:
    counted = bounded("measured").replace(
        "RANGE BETWEEN 7200 PRECEDING", "RANGE BETWEEN UNBOUNDED PRECEDING"
    )
    taxi.run(place=counted)
    assert (measured(taxi).state, measured(taxi).smallest) == ("unbounded", None)


def test_what_declares_nothing_is_not_measured(taxi: Taxi) -> None:
    taxi.run()
    assert measured(taxi).state == "not declared"


def test_increments_use_what_was_measured(taxi: Taxi) -> None:
    taxi.run(place=bounded("measured"))
    store(taxi.writer(), measure(taxi.lake, 6, 0))
    late = datetime(2026, 1, 25, 12, 30, tzinfo=UTC)
    more = pl.DataFrame(
        {
            "ride": [9000],
            "place": ["hill"],
            "asked_at": [late],
            "arrived_at": [late + timedelta(minutes=20)],
            "minutes": [20],
            "tip": [0.5],
        }
    ).with_columns(pl.selectors.datetime().dt.cast_time_unit("us"))
    taxi.writer().write_frame("bronze.rides", more, Change("TEST", "more"), mode="append")
    taxi.run()
    record = taxi.lake.read("features.place").record
    assert record is not None
    assert record.details["increment"]["from"].startswith("2026-01-25T12:50")
    newest = taxi.lake.read("features.place").to_polars().sort("feature_ts")[-1]
    assert newest["arrivals"].item() == 1
