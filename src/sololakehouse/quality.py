"""Expectations: what must hold for the rows of a table, with Databricks' names and meaning.

The decorators stand below `@dp.materialized_view(...)`. They need nothing of SoloLakehouse at run
time: `expect_or_drop` filters the DataFrame that the function returns, so that the same source
gives the same table under Apache Spark's own runner; SoloLakehouse counts as well, and refuses to
commit what violates an `expect_or_fail`. `expect_unique` and `expect_fresh` look at the table as a
whole, and do nothing under another runner.

In a SQL file, expectations are table properties:
`TBLPROPERTIES ('expect_or_fail.valid_origin' = 'origin IS NOT NULL',
'expect_unique.one_row_each' = 'origin, hour', 'expect_fresh.arrives' = 'hour WITHIN 2 hours')`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sololakehouse.errors import DefinitionError, UsageError, suggestion
from sololakehouse.provenance import ExpectationKind

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Action = Literal["warn", "drop", "fail"]
Query = Callable[[], "DataFrame"]
_PROPERTY = re.compile(r"^(?P<verb>expect\w*)\.(?P<name>.+)$")
_WITHIN = re.compile(r"\s+WITHIN\s+", re.IGNORECASE)
_LENGTH = re.compile(r"(\d+)\s+([a-z]+)")
_UNITS = ("seconds", "minutes", "hours", "days", "weeks")
_VERBS: Mapping[str, tuple[ExpectationKind, Action]] = {
    "expect": ("row", "warn"),
    "expect_or_drop": ("row", "drop"),
    "expect_or_fail": ("row", "fail"),
    "expect_unique": ("unique", "warn"),
    "expect_unique_or_drop": ("unique", "drop"),
    "expect_unique_or_fail": ("unique", "fail"),
    "expect_fresh": ("fresh", "warn"),
    "expect_fresh_or_drop": ("fresh", "drop"),
    "expect_fresh_or_fail": ("fresh", "fail"),
}


@dataclass(frozen=True)
class Expectation:
    """A condition in Spark SQL that each row must meet; NULL counts as violated."""

    name: str
    condition: str
    action: Action

    @property
    def violated(self) -> str:
        """A Spark SQL condition that is true where this expectation is violated, never NULL."""
        # A condition may end with a comment.
        end = "\n" if "--" in self.condition else ""
        return f"NOT coalesce(({self.condition}{end}), false)"

    @property
    def policy(self) -> list[str]:
        """What of it decides the content of a table's commit."""
        return [self.name, self.condition, self.action]

    @property
    def mistake(self) -> str | None:
        """What is wrong with it, whatever the table; None if nothing is."""
        if not self.name.strip():
            return "has no name"
        return None if self.condition.strip() else "has no condition"


@dataclass(frozen=True)
class UniqueExpectation:
    """No two rows of a table may have these columns in common; NULL is a value like any other."""

    kind: ClassVar[ExpectationKind] = "unique"
    name: str
    columns: tuple[str, ...]
    action: Action

    @property
    def condition(self) -> str:
        """The columns, as a table property in SQL has them."""
        return ", ".join(self.columns)

    @property
    def policy(self) -> list[str]:
        """What of it decides the content of a table's commit."""
        return ["unique", self.name, self.condition, self.action]

    @property
    def mistake(self) -> str | None:
        """What is wrong with it, whatever the table; None if nothing is."""
        if not self.columns:
            return "names no column"
        twice = [column for column in self.columns if self.columns.count(column) > 1]
        return f"names the column {twice[0]!r} twice" if twice else None


@dataclass(frozen=True)
class FreshExpectation:
    """The newest value of a column is at most so old when the table is checked."""

    kind: ClassVar[ExpectationKind] = "fresh"
    name: str
    column: str
    within: str
    action: Action

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def condition(self) -> str:
        """Column and length of time, as a table property in SQL has them."""
        return f"{self.column} WITHIN {self.within}"

    @property
    def policy(self) -> list[str]:
        """What of it decides the content of a table's commit."""
        return ["fresh", self.name, self.condition, self.action]

    @property
    def mistake(self) -> str | None:
        """What is wrong with it, whatever the table; None if nothing is."""
        if not self.within:
            return f"is {self.column!r}. Write a column and a length of time: 'at WITHIN 2 hours'"
        if not length_of_time(self.within):
            return (
                f"says {self.within!r}, which is no length of time. Write a number and one of "
                f"{', '.join(_UNITS)}, such as '2 hours'"
            )
        return None


TableExpectation = UniqueExpectation | FreshExpectation
AnyExpectation = Expectation | TableExpectation


def length_of_time(text: str) -> timedelta | None:
    """Read a length of time such as `2 hours` or `1 day 12 hours`; None if it is none, or zero.

    Examples
    --------
    >>> length_of_time("1 day 12 hours")
    datetime.timedelta(days=1, seconds=43200)
    """
    parts = _LENGTH.findall(text.lower())
    units = [unit if unit.endswith("s") else f"{unit}s" for _, unit in parts]
    if " ".join(f"{n} {unit}" for n, unit in parts) != " ".join(text.lower().split()):
        return None
    if any(unit not in _UNITS for unit in units):
        return None
    lengths = [timedelta(**{unit: int(n)}) for (n, _), unit in zip(parts, units, strict=True)]
    return sum(lengths, timedelta()) or None


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
    """Count the rows that violate a condition and leave them out; see `expect`.

    With the table property `pipelines.quarantine = 'true'`, the rows are kept in
    `<table>_quarantine`.
    """
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


def expect_unique(name: str, columns: str | Sequence[str]) -> Callable[[Query], Query]:
    """Count the rows in excess of one for each key; the table is committed all the same.

    Parameters
    ----------
    name
        What is ensured, for example `one_row_per_flight`.
    columns
        The columns that no two rows of the whole table may have in common; as a text, separated by
        commas. NULL is a value like any other: two rows with NULL are one too many.
    """
    return _decorator(UniqueExpectation(name, _columns(columns), "warn"))


def expect_unique_or_fail(name: str, columns: str | Sequence[str]) -> Callable[[Query], Query]:
    """Fail the run, and leave the table as it was, if a key is there twice; see `expect_unique`."""
    return _decorator(UniqueExpectation(name, _columns(columns), "fail"))


def expect_fresh(name: str, column: str, within: str) -> Callable[[Query], Query]:
    """Point out if the newest value of a column is too old; the table is committed all the same.

    It is checked in each run of the table, also in one that finds the table up to date.

    Parameters
    ----------
    name
        What is ensured, for example `arrives_daily`.
    column
        A timestamp with a time zone, or a date, which counts as the start of that day in UTC.
    within
        The greatest age at the moment of the run, such as `2 hours` or `1 day 12 hours`; exactly
        that old is fresh. A table without a value in the column is not fresh.
    """
    return _decorator(FreshExpectation(name, column, within, "warn"))


def expect_fresh_or_fail(name: str, column: str, within: str) -> Callable[[Query], Query]:
    """Fail the run if the newest value of a column is too old; see `expect_fresh`."""
    return _decorator(FreshExpectation(name, column, within, "fail"))


def _stacked(
    decorator: Callable[[str, str], Callable[[Query], Query]], conditions: Mapping[str, str]
) -> Callable[[Query], Query]:
    if not isinstance(conditions, Mapping):
        raise UsageError(
            f"expect_all and its like take conditions by name, not {conditions!r}. Write "
            "expect_all({'id is set': 'id IS NOT NULL'})."
        )

    def decorate(query: Query) -> Query:
        for name, condition in reversed(list(conditions.items())):
            query = decorator(name, condition)(query)
        return query

    return decorate


def _decorator(expectation: AnyExpectation) -> Callable[[Query], Query]:
    for said in (expectation.name, expectation.condition):
        if not isinstance(said, str):
            raise UsageError(
                f"an expectation has a name and a condition in Spark SQL, both of them text, not "
                f"{said!r}. Write expect('id is set', 'id IS NOT NULL')."
            )

    def decorate(query: Query) -> Query:
        if not callable(query):
            raise UsageError(
                f"the expectation {expectation.name!r} stands above @dp...: write it below, next "
                "to the function."
            )

        @functools.wraps(query)
        def filtered() -> DataFrame:
            frame = query()
            if isinstance(expectation, Expectation) and expectation.action == "drop":
                return frame.where(expectation.condition)
            return frame

        checked: Any = filtered
        checked.__expectations__ = (expectation, *expectations_of(query))
        checked.__unfiltered__ = unfiltered(query)
        return filtered

    return decorate


def expectations_of(query: Query) -> tuple[AnyExpectation, ...]:
    """Return the expectations stacked on a flow function, from the top."""
    return getattr(query, "__expectations__", ())


def unfiltered(query: Query) -> Query:
    """Return the flow function below its expectations, which drops nothing."""
    return getattr(query, "__unfiltered__", query)


def expectations_in(properties: Mapping[str, str], where: str) -> tuple[AnyExpectation, ...]:
    """Read expectations from the table properties of a definition.

    Raises
    ------
    DefinitionError
        A property asks to drop rows: Spark's own runner would keep them. Or it begins like an
        expectation and is none.
    """
    matches = [(_PROPERTY.match(key), text) for key, text in properties.items()]
    return tuple(_in_property(match, text, where) for match, text in matches if match)


def _in_property(match: re.Match[str], text: str, where: str) -> AnyExpectation:
    verb, name = match["verb"], match["name"]
    if verb not in _VERBS:
        known = [verb for verb, (_, action) in _VERBS.items() if action != "drop"]
        raise DefinitionError(
            f"{where}: the table property '{match[0]}' is no expectation. "
            f"{suggestion(verb, known, 'expectation')}"
        )
    kind, action = _VERBS[verb]
    if action == "drop":
        raise DefinitionError(f"{where}: '{match[0]}' cannot drop rows {_why_not(kind, text)}")
    if kind == "row":
        return Expectation(name, text, action)
    if kind == "unique":
        return UniqueExpectation(name, _columns(text), action)
    column, *within = _WITHIN.split(text.strip(), maxsplit=1)
    return FreshExpectation(name, column, " ".join(within), action)


def _why_not(kind: ExpectationKind, text: str) -> str:
    if kind == "row":
        return (
            "from SQL, Apache Spark's own runner would keep them. Write the condition into the "
            f"query: WHERE {text}"
        )
    if kind == "fresh":
        return "because a table is old as a whole. Write expect_fresh or expect_fresh_or_fail."
    return (
        "because nothing says which row of a key to keep. Keep one in the query, or write "
        "expect_unique or expect_unique_or_fail."
    )


def without_expectations(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties that are not expectations."""
    return {key: value for key, value in properties.items() if not _PROPERTY.match(key)}


def _columns(columns: str | Sequence[str]) -> tuple[str, ...]:
    names = columns.split(",") if isinstance(columns, str) else columns
    return tuple(name.strip() for name in names if name.strip())
