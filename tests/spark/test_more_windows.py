"""The tests of `tests/windows/test_trailing_aggregates.py` once more, on real Apache Spark."""

from __future__ import annotations

from typing import Any

import pytest

from tests.windows.test_trailing_aggregates import *  # noqa: F403

pytestmark = pytest.mark.spark_suite


@pytest.fixture(scope="module")
def session(spark_session: Any) -> Any:
    return spark_session
