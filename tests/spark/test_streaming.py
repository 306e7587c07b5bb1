"""The tests of `tests/pipelines/test_streaming.py` once more, on real Apache Spark."""

from __future__ import annotations

import pytest

from tests.pipelines.test_streaming import *  # noqa: F403

pytestmark = [pytest.mark.usefixtures("on_spark"), pytest.mark.spark_suite]
