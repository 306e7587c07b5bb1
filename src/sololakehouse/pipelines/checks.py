"""Checking the rows of one table of a pipeline before they are committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse import quality
from sololakehouse.engine import Engine
from sololakehouse.errors import StepError
from sololakehouse.lake.contract import FeatureContract, counted
from sololakehouse.pipelines.increment import Increment
from sololakehouse.pipelines.plan import Step
from sololakehouse.provenance import ExpectationResult

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql.connect.dataframe import DataFrame


def check(
    step: Step,
    engine: Engine,
    staged: Path,
    beside: pl.LazyFrame | None = None,
    part: Increment | None = None,
) -> list[ExpectationResult]:
    """Hold staged rows to the expectations of their table, and a feature table to its contract.

    Parameters
    ----------
    beside
        Rows of the table that stay.
    part
        What the staged rows are of the table; None: all of it, or the new rows of its streams.

    Raises
    ------
    ExpectationError
        Rows violate an `expect_or_fail`.
    FeatureTableError
        The keys of a feature table are not unique or not set, rows that stay included.
    """
    declaration = step.node.declaration
    stored: DataFrame = engine.session.read.parquet(str(staged))
    dropping = [e for e in declaration.expectations if e.action == "drop"]
    keeping = [e for e in declaration.expectations if e.action != "drop"]
    kept = quality.evaluate(stored, keeping)
    quality.refuse_failures(step.name, stored, kept)
    _check_contract(step, staged, beside)
    _check_time_bound(step, staged)
    if not dropping:
        return kept
    unfiltered = declaration.unfiltered()
    seen = part.rows(unfiltered) if part else unfiltered
    return [*kept, *quality.evaluate(seen, dropping)]


def _check_contract(step: Step, staged: Path, beside: pl.LazyFrame | None) -> None:
    import polars as pl

    contract = FeatureContract.from_properties(step.node.declaration.properties)
    if contract is not None:
        parts = [pl.scan_parquet(staged / "*.parquet"), *([] if beside is None else [beside])]
        contract.check(pl.concat(parts, how="vertical_relaxed"), step.name)


def _check_time_bound(step: Step, staged: Path) -> None:
    import polars as pl

    bound = step.node.declaration.time_bound
    if bound is None:
        return
    moments = pl.scan_parquet(staged / "*.parquet").select(pl.col(bound.timestamp).null_count())
    unset = moments.collect().item()
    if unset:
        raise StepError(
            f"{step.name} ({step.node.declaration.place}): {counted(unset)} no "
            f"{bound.timestamp!r}, and 'pipelines.incremental.*' needs it in every row. Leave such "
            "rows out, or remove the properties. The table is as it was."
        )
