"""Replay on a Spark Connect server: the verdicts and causes of the embedded engine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sololakehouse.config.project import ENGINE_VARIABLE
from sololakehouse.replay.replay import Replay, ReplayRequest
from sololakehouse.replay.verdicts import ReplayReport, as_json
from sololakehouse.replay.warm_up import measure
from tests.replay.taxi import BEGIN, CONFIG, Taxi, make_taxi, rides
from tests.replay.test_replay import LEAD
from tests.replay.test_warm_up import bounded

CUTOFFS = (BEGIN + timedelta(days=9, hours=5), BEGIN + timedelta(days=15, minutes=20))
FROM = """\
  bronze.rides:
    from: SELECT recorded.*, labelled.settled_at AS settled
      FROM bronze.rides AS recorded JOIN gold.rides AS labelled ON recorded.ride = labelled.ride
    rows: asked_at
    columns: {minutes: settled, arrived_at: settled, tip: settled}
  bronze.sky"""


def dated_by_a_table() -> str:
    """The declarations with a `from` that reads a table of the pipeline."""
    begin, end = CONFIG.index("  bronze.rides"), CONFIG.index("  bronze.sky")
    return CONFIG[:begin] + FROM + CONFIG[end + len("  bronze.sky") :]


def said(report: ReplayReport) -> dict[str, Any]:
    """What a report says, without what a run is told apart by."""
    told = as_json(report)
    return {name: told[name] for name in ("cutoffs", "tables", "cause_runs", "splits_and_labels")}


@pytest.fixture(
    params=["Sail", pytest.param("Apache Spark", marks=pytest.mark.spark_suite)],
)
def address(request: pytest.FixtureRequest) -> str:
    """Give the address of a server with Delta, then of one without it."""
    if request.param == "Sail":
        return str(request.getfixturevalue("sail_address"))
    return str(request.getfixturevalue("spark").address)


@pytest.fixture
def taxi(tmp_path: Path) -> Taxi:
    return make_taxi(tmp_path / "taxi", dated_by_a_table(), rides(200))


@pytest.mark.parametrize("leak", [False, True])
def test_a_server_gives_the_verdicts_and_causes_of_the_embedded_engine(
    taxi: Taxi, address: str, monkeypatch: pytest.MonkeyPatch, leak: bool
) -> None:
    taxi.run(**({"place": LEAD} if leak else {}))
    request = ReplayRequest(at=CUTOFFS, modes=("truncate", "perturb"), parallel=2)
    embedded = Replay(taxi.lake, request).run()
    monkeypatch.setenv(ENGINE_VARIABLE, address)
    on_server = Replay(taxi.lake, request).run()
    assert on_server.engine == address
    assert said(on_server) == said(embedded)
    assert bool(on_server.leaking) is leak
    assert bool(on_server.cause_runs) is leak
    assert not any((taxi.folder / "warehouse" / "_staging").iterdir())


def test_a_pipeline_that_the_server_computed_is_replayed_there(
    taxi: Taxi, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, address)
    taxi.run(place=LEAD)
    report = taxi.replay(at=CUTOFFS[:1])
    assert {table.table: table.state for table in report.tables} == {
        "features.place": "leaks",
        "training.taxi": "leaks",
    }


def test_warm_up_is_measured_on_a_server(
    taxi: Taxi, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taxi.run(place=bounded("4h"))
    embedded = {name: one for name, (one, _) in measure(taxi.lake, 2, 0).items()}
    monkeypatch.setenv(ENGINE_VARIABLE, address)
    assert {name: one for name, (one, _) in measure(taxi.lake, 2, 0).items()} == embedded
