"""Checking the rows of one table of a pipeline before they are committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse import quality
from sololakehouse.engine import Engine
from sololakehouse.lake import Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.pipelines.plan import Step
from sololakehouse.provenance import ExpectationResult

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame


def check(
    step: Step, engine: Engine, staged: Path, before: Snapshot | None = None
) -> list[ExpectationResult]:
    """Hold staged rows to the expectations of their table, and a feature table to its contract.

    Raises
    ------
    ExpectationError
        Rows violate an `expect_or_fail`.
    FeatureTableError
        The keys of a feature table are not unique or not set, rows `before` included.
    """
    declaration = step.node.declaration
    stored: DataFrame = engine.session.read.parquet(str(staged))
    dropping = [e for e in declaration.expectations if e.action == "drop"]
    keeping = [e for e in declaration.expectations if e.action != "drop"]
    kept = quality.evaluate(stored, keeping)
    quality.refuse_failures(step.name, stored, kept)
    _check_contract(step, staged, before)
    dropped = quality.evaluate(declaration.unfiltered(), dropping) if dropping else []
    return [*kept, *dropped]


def _check_contract(step: Step, staged: Path, before: Snapshot | None) -> None:
    import polars as pl

    contract = FeatureContract.from_properties(step.node.declaration.properties)
    if contract is not None:
        parts = [pl.scan_parquet(staged / "*.parquet"), *([before.scan()] if before else [])]
        contract.check(pl.concat(parts, how="vertical_relaxed"), step.name)
