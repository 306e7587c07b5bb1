"""Checking what is expected of a table as a whole: that keys are unique, that it is fresh."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import partial
from typing import TYPE_CHECKING

from sololakehouse.errors import DefinitionError, suggestion
from sololakehouse.lake.contract import described_row
from sololakehouse.pipelines.findings import EXAMPLES, Finding, no_examples
from sololakehouse.provenance import ExpectationResult
from sololakehouse.quality import (
    FreshExpectation,
    TableExpectation,
    UniqueExpectation,
    length_of_time,
)

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql.types import StructType

_SIZE = "rows of this key"


def refuse_columns(expectation: TableExpectation, schema: StructType) -> None:
    """Refuse columns that the table lacks, or whose type cannot be checked.

    Raises
    ------
    DefinitionError
        Says the column, and what it might be instead.
    """
    from pyspark.sql.types import ArrayType, DateType, MapType, StructType, TimestampType

    kinds = {field.name: field.dataType for field in schema.fields}
    unique = isinstance(expectation, UniqueExpectation)
    for column in expectation.columns:
        if column not in kinds:
            raise DefinitionError(f"no column {column!r}. {suggestion(column, kinds, 'column')}")
        kind = kinds[column]
        if unique and isinstance(kind, ArrayType | MapType | StructType):
            raise DefinitionError(
                f"{column!r} is {kind.simpleString()}, which has no dependable equality. Name "
                "columns of simple types."
            )
        if not unique and not isinstance(kind, TimestampType | DateType):
            raise DefinitionError(
                f"{column!r} is {kind.simpleString()}. Name a timestamp with a time zone or a date."
            )


def check_table(expectation: TableExpectation, rows: pl.LazyFrame, moment: datetime) -> Finding:
    """Check an expectation against all rows of the table, at the moment of the run."""
    if isinstance(expectation, UniqueExpectation):
        return check_unique(expectation, rows)
    return check_fresh(expectation, rows, moment)


def check_unique(expectation: UniqueExpectation, rows: pl.LazyFrame) -> Finding:
    """Count the rows in excess of one for each key; NULL is a value like any other."""
    import polars as pl

    sizes = rows.group_by(expectation.columns).agg(pl.len().alias(_SIZE))
    counts = sizes.select(pl.col(_SIZE).sum(), pl.len().alias("keys"))
    total, keys = counts.collect(engine="streaming").row(0)
    violations = total - keys
    said = (
        f"{violations:,} of {total:,} rows have a key that is there already, against "
        f"{expectation.name!r} ({expectation.condition})"
    )
    result = _result(expectation, total, violations)
    return Finding(result, said, partial(_repeated, expectation, sizes))


def _repeated(expectation: UniqueExpectation, sizes: pl.LazyFrame) -> list[str]:
    import polars as pl

    repeated = sizes.filter(pl.col(_SIZE) > 1)
    found = repeated.bottom_k(EXAMPLES, by=list(expectation.columns)).collect(engine="streaming")
    keys = found.sort(expectation.columns).to_dicts()
    return [f"{described_row(key)} ({n} rows)" for key in keys if (n := key.pop(_SIZE))]


def check_fresh(expectation: FreshExpectation, rows: pl.LazyFrame, moment: datetime) -> Finding:
    """Check that the newest value of a column is no older than expected; no value is too old."""
    import polars as pl

    asked = rows.select(pl.len().alias("rows"), pl.col(expectation.column).max().alias("newest"))
    total, newest = asked.collect(engine="streaming").row(0)
    age = length_of_time(expectation.within)
    at = None if newest is None else _instant(newest)
    stale = at is None or age is None or moment - at > age
    found = described_row({expectation.column: at})
    said = (
        f"the newest value, {found}, is not WITHIN {expectation.within} of the run at "
        f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, against {expectation.name!r}"
    )
    return Finding(_result(expectation, total, int(stale)), said, no_examples)


def _instant(value: datetime | date) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.combine(value, time(), UTC)


def _result(expectation: TableExpectation, rows: int, violations: int) -> ExpectationResult:
    return ExpectationResult(
        kind=expectation.kind,
        name=expectation.name,
        condition=expectation.condition,
        action=expectation.action,
        rows=rows,
        violations=violations,
    )
