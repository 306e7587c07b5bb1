"""The rules on servers: Apache Spark, and Sail in a process of its own."""

from __future__ import annotations

import pytest

from sololakehouse.conformance import check_join, our_contestant
from sololakehouse.engine import server
from sololakehouse.errors import EngineError
from tests.spark import sail


def test_a_server_holds_to_the_rules(address, conformance_cases):
    with our_contestant(address) as contestant:
        report = check_join(contestant, conformance_cases or 220)
    assert [result.trap for result in report.results if result.verdict != "holds"] == []


def test_a_server_that_goes_away_is_no_difference(tmp_path, monkeypatch):
    from pyspark.sql.connect.client.retries import DefaultPolicy

    server._patience()
    monkeypatch.setattr(server, "_patience", lambda: DefaultPolicy(max_retries=1))
    message = r"^Sail .* \(server\): the Spark Connect server does not answer any more\.$"
    with sail.started(tmp_path) as (process, address), our_contestant(address) as contestant:
        process.kill()
        process.wait()
        with pytest.raises(EngineError, match=message):
            check_join(contestant, 22)
