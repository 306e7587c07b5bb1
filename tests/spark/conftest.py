from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.spark import server


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.SparkServer]:
    """Start Apache Spark, or skip with the reason why it cannot be started."""
    reason = server.missing()
    if reason:
        pytest.skip(reason)
    with server.started(tmp_path_factory.mktemp("spark")) as running:
        yield running
