"""Trailing aggregates on Apache Spark, against the same oracle as on the embedded engine."""

from __future__ import annotations

from tests.windows.cases import Asked, Case, check, instants


def excluding_the_current_instant(case: Case) -> Case:
    return case._replace(asked=Asked((1, 3), "left", "changes"))


def test_windows_equal_the_oracle(spark_session):
    check(spark_session, instants().map(excluding_the_current_instant), number=30)
