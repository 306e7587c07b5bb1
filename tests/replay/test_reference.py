"""The reference project under replay: clean, and its leaky variant is not."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from sololakehouse.replay.replay import Replay, ReplayRequest
from tests.reference import EXAMPLE, Demo

AT = (datetime(2013, 1, 22, 10, tzinfo=UTC), datetime(2013, 2, 9, 16, 37, 12, tzinfo=UTC))


def test_the_reference_project_is_clean(demo: Demo) -> None:
    report = Replay(demo.lake, ReplayRequest(at=AT)).run()
    assert {table.table: table.state for table in report.tables} == {
        "features.aircraft_last_leg": "clean",
        "features.carrier_delay": "clean",
        "features.origin_congestion": "clean",
        "features.origin_weather": "clean",
        "features.planes": "clean",
        "features.route_delay": "clean",
        "training.flight_delay": "clean",
    }
    assert sum(table.rows for table in report.tables) > 100_000
    assert {one.check for one in report.findings if one.state == "found"} <= {
        "duplicates across the split"
    }


def test_the_leaky_variant_differs_in_one_table_and_one_experiment(tmp_path: Path) -> None:
    folder = tmp_path / "leaky"
    make = EXAMPLE.parent / "leaky_flights" / "make.py"
    for arguments in ([], ["--repaired"]):
        subprocess.run([sys.executable, str(make), str(folder), *arguments], check=True)
        files = {file.relative_to(folder) for file in folder.rglob("*.sql")}
        new = files - {file.relative_to(EXAMPLE) for file in EXAMPLE.rglob("*.sql")}
        assert new == {Path("transformations/features/route_day.sql")}
        assert "experiments/leaky.yml" in (folder / "lakehouse.yml").read_text()
        stamped = (folder / new.pop()).read_text()
        assert ("INTERVAL '3' DAY" in stamped) == bool(arguments)
