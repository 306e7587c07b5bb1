from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sololakehouse.config.project import ENGINE_VARIABLE
from tests.spark import sail, server


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.SparkServer]:
    """Start Apache Spark, or skip with the reason why it cannot be started."""
    reason = server.missing()
    if reason:
        pytest.skip(reason)
    with server.started(tmp_path_factory.mktemp("spark")) as running:
        yield running


@pytest.fixture(scope="session")
def spark_session(spark: server.SparkServer) -> Iterator[Any]:
    """Open a session on Apache Spark, as its own client would."""
    from pyspark.sql import SparkSession

    session: Any = SparkSession.builder.remote(spark.address).create()
    yield session
    session.stop()


@pytest.fixture
def on_spark(spark: server.SparkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Apache Spark compute what the test runs."""
    monkeypatch.setenv(ENGINE_VARIABLE, spark.address)


@pytest.fixture(scope="session")
def sail_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server that has Delta."""
    with sail.started(tmp_path_factory.mktemp("sail")) as (_, address):
        yield address


@pytest.fixture(params=["Apache Spark", "Sail"])
def address(request: pytest.FixtureRequest) -> str:
    """Give the address of a server without Delta, then of one with it."""
    if request.param == "Sail":
        return str(request.getfixturevalue("sail_address"))
    return str(request.getfixturevalue("spark").address)
