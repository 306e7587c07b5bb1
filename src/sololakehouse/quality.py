"""Expectations: what must hold for the rows of a table, with Databricks' names and meaning.

The decorators stand below `@dp.materialized_view(...)`. They need nothing of SoloLakehouse at run
time: `expect_or_drop` filters the DataFrame that the function returns, so that the same source
gives the same table under Apache Spark's own runner; SoloLakehouse counts as well, and refuses to
commit what violates an `expect_or_fail`.

In a SQL file, expectations are table properties:
`TBLPROPERTIES ('expect_or_fail.valid_origin' = 'origin IS NOT NULL')`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import DefinitionError, ExpectationError
from sololakehouse.provenance import ExpectationResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Action = Literal["warn", "drop", "fail"]
Query = Callable[[], "DataFrame"]
_PROPERTY = re.compile(r"^(?P<verb>expect|expect_or_drop|expect_or_fail)\.(?P<name>.+)$")
_ACTIONS: Mapping[str, Action] = {
    "expect": "warn",
    "expect_or_drop": "drop",
    "expect_or_fail": "fail",
}
_EXAMPLES = 3


@dataclass(frozen=True)
class Expectation:
    """A condition in Spark SQL that each row must meet; NULL counts as violated."""

    name: str
    condition: str
    action: Action

    @property
    def violated(self) -> str:
        """A Spark SQL condition that is true where this expectation is violated, never NULL."""
        return f"NOT coalesce(({self.condition}), false)"


def expect(name: str, condition: str) -> Callable[[Query], Query]:
    """Count the rows that violate a condition and keep them.

    Parameters
    ----------
    name
        What the condition ensures, for example `valid_origin`.
    condition
        A Spark SQL condition on the columns of the table; NULL counts as violated.
    """
    return _decorator(Expectation(name, condition, "warn"))


def expect_or_drop(name: str, condition: str) -> Callable[[Query], Query]:
    """Count the rows that violate a condition and leave them out; see `expect`."""
    return _decorator(Expectation(name, condition, "drop"))


def expect_or_fail(name: str, condition: str) -> Callable[[Query], Query]:
    """Fail the run, and leave the table as it was, if a row violates a condition; see `expect`."""
    return _decorator(Expectation(name, condition, "fail"))


def expect_all(conditions: Mapping[str, str]) -> Callable[[Query], Query]:
    """Apply `expect` for each name and condition."""
    return _stacked(expect, conditions)


def expect_all_or_drop(conditions: Mapping[str, str]) -> Callable[[Query], Query]:
    """Apply `expect_or_drop` for each name and condition."""
    return _stacked(expect_or_drop, conditions)


def expect_all_or_fail(conditions: Mapping[str, str]) -> Callable[[Query], Query]:
    """Apply `expect_or_fail` for each name and condition."""
    return _stacked(expect_or_fail, conditions)


def _stacked(
    decorator: Callable[[str, str], Callable[[Query], Query]], conditions: Mapping[str, str]
) -> Callable[[Query], Query]:
    def decorate(query: Query) -> Query:
        for name, condition in reversed(list(conditions.items())):
            query = decorator(name, condition)(query)
        return query

    return decorate


def _decorator(expectation: Expectation) -> Callable[[Query], Query]:
    def decorate(query: Query) -> Query:
        @functools.wraps(query)
        def filtered() -> DataFrame:
            frame = query()
            if expectation.action == "drop":
                return frame.where(expectation.condition)
            return frame

        checked: Any = filtered
        checked.__expectations__ = (expectation, *expectations_of(query))
        checked.__unfiltered__ = unfiltered(query)
        return filtered

    return decorate


def expectations_of(query: Query) -> tuple[Expectation, ...]:
    """Return the expectations stacked on a flow function, from the top."""
    return getattr(query, "__expectations__", ())


def unfiltered(query: Query) -> Query:
    """Return the flow function below its expectations, which drops nothing."""
    return getattr(query, "__unfiltered__", query)


def expectations_in(properties: Mapping[str, str], where: str) -> tuple[Expectation, ...]:
    """Read expectations from the table properties of a definition in SQL.

    Raises
    ------
    DefinitionError
        A property asks to drop rows: Spark's own runner would keep them.
    """
    found = []
    for key, condition in properties.items():
        match = _PROPERTY.match(key)
        if match is None:
            continue
        action = _ACTIONS[match["verb"]]
        if action == "drop":
            raise DefinitionError(
                f"{where}: '{key}' cannot drop rows from SQL, Apache Spark's own runner would keep "
                f"them. Write the condition into the query: WHERE {condition}"
            )
        found.append(Expectation(match["name"], condition, action))
    return tuple(found)


def without_expectations(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties that are not expectations."""
    return {key: value for key, value in properties.items() if not _PROPERTY.match(key)}


def evaluate(frame: DataFrame, expectations: Sequence[Expectation]) -> list[ExpectationResult]:
    """Count the violations of each expectation in one pass over the rows of a DataFrame."""
    if not expectations:
        return []
    counts = [f"count_if({e.violated}) AS v{index}" for index, e in enumerate(expectations)]
    row = frame.selectExpr("count(*) AS total", *counts).toArrow().to_pylist()[0]
    return [
        ExpectationResult(
            name=expectation.name,
            condition=expectation.condition,
            action=expectation.action,
            rows=row["total"],
            violations=row[f"v{index}"],
        )
        for index, expectation in enumerate(expectations)
    ]


def refuse_failures(table: str, frame: DataFrame, results: Iterable[ExpectationResult]) -> None:
    """Raise if an `expect_or_fail` is violated.

    Raises
    ------
    ExpectationError
        Names the first such expectation, how many rows violate it, and three of them.
    """
    for result in results:
        if result.action != "fail" or result.violations == 0:
            continue
        broken = Expectation(result.name, result.condition, result.action)
        examples = frame.where(broken.violated).limit(_EXAMPLES).toArrow().to_pylist()
        listed = "\n".join(f"  {_row_text(row)}" for row in examples)
        raise ExpectationError(
            f"{table}: {result.violations:,} of {result.rows:,} rows violate "
            f"{result.name!r} ({result.condition}). The table is as it was. Examples:\n{listed}"
        )


def _row_text(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items())
