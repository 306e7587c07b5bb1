"""Checking the rows of one table of a pipeline before they are committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.engine import Engine
from sololakehouse.errors import ExpectationError, StepError
from sololakehouse.lake import Snapshot
from sololakehouse.lake.contract import FeatureContract, counted
from sololakehouse.lake.feature_rows import FeatureRows
from sololakehouse.pipelines.branches import StagedBranch, scan_kept
from sololakehouse.pipelines.findings import Finding
from sololakehouse.pipelines.plan import Step
from sololakehouse.pipelines.row_checks import RowCounts
from sololakehouse.pipelines.table_checks import check_fresh, check_table
from sololakehouse.provenance import ExpectationResult
from sololakehouse.quality import Expectation, FreshExpectation

if TYPE_CHECKING:
    import polars as pl


def check(
    step: Step,
    engine: Engine,
    folder: Path,
    staged: Sequence[StagedBranch],
    moment: datetime,
    beside: pl.LazyFrame | None = None,
    replaced_from: str | None = None,
) -> list[ExpectationResult]:
    """Hold staged rows to the expectations of their table, and a feature table to its contract.

    An expectation of rows sees what its flows give, also rows that another one drops. An
    expectation of the table sees the table as it would be, rows `beside` included.

    Parameters
    ----------
    folder
        Where the files of the staged rows that stay are.
    moment
        The moment of the run, which freshness is measured against.
    beside
        Rows of the table that stay; None if the staged rows are all of it.
    replaced_from
        The column whose values in all rows that stay are less than in any staged row, so that
        those cannot have a key in common which it is part of; None: there is no such column.

    Raises
    ------
    ExpectationError
        Expectations that fail a run are violated: says all of them, each with its count and three
        examples.
    FeatureTableError
        The keys of a feature table are not unique or not set.
    """
    counts = RowCounts(engine, staged)
    rows = scan_kept(folder, beside)
    findings = [
        counts.finding(expectation)
        if isinstance(expectation, Expectation)
        else check_table(expectation, rows, moment)
        for expectation in step.node.declaration.expectations
    ]
    _refuse_failures(step.name, findings)
    _check_contract(step, folder, beside, replaced_from)
    _check_time_bound(step, folder)
    return [finding.result for finding in findings]


def checked_rows(step: Step, folder: Path, beside: Snapshot | None) -> FeatureRows | None:
    """Return staged rows of a feature table that `check` has seen; None of another table.

    Parameters
    ----------
    beside
        The version whose rows they join; None if they are all of the table.
    """
    contract = FeatureContract.from_properties(step.node.declaration.properties)
    if contract is None:
        return None
    return FeatureRows(contract, scan_kept(folder), are_checked=True, beside=beside)


def check_again(step: Step, snapshot: Snapshot, moment: datetime) -> list[ExpectationResult]:
    """Hold a table that is up to date to what time alone can violate: that it is fresh.

    Raises
    ------
    ExpectationError
        An `expect_fresh_or_fail` is violated.
    """
    found = step.node.declaration.expectations
    fresh = [expectation for expectation in found if isinstance(expectation, FreshExpectation)]
    findings = [check_fresh(expectation, snapshot.scan(), moment) for expectation in fresh]
    _refuse_failures(step.name, findings)
    return [finding.result for finding in findings]


def _refuse_failures(table: str, findings: Sequence[Finding]) -> None:
    broken = [finding for finding in findings if finding.fails]
    if len(broken) == 1:
        said, *examples = broken[0].told("")
        listed = "\n".join(["Examples:", *examples]) if examples else ""
        raise ExpectationError(f"{table}: {said}. The table is as it was. {listed}".rstrip())
    if broken:
        listed = "\n".join(line for finding in broken for line in finding.told("  "))
        raise ExpectationError(
            f"{table}: {len(broken)} expectations are violated. The table is as it was.\n{listed}"
        )


def _check_contract(
    step: Step, folder: Path, beside: pl.LazyFrame | None, replaced_from: str | None
) -> None:
    contract = FeatureContract.from_properties(step.node.declaration.properties)
    if contract is None:
        return
    if replaced_from in contract.identity:
        contract.check(scan_kept(folder), step.name)
        return
    # A stream may have gained its contract after rows were appended: all of them are looked at.
    if beside is None or step.node.is_stream:
        contract.check(scan_kept(folder, beside), step.name)
    else:
        contract.check_added(scan_kept(folder), beside, step.name)


def _check_time_bound(step: Step, folder: Path) -> None:
    """Refuse rows without a time; of a feature table's own times, its contract has done so."""
    import polars as pl

    bound = step.node.declaration.time_bound
    contract = FeatureContract.from_properties(step.node.declaration.properties)
    if bound is None or (contract and bound.timestamp in contract.identity):
        return
    moments = scan_kept(folder).select(pl.col(bound.timestamp).null_count())
    unset = moments.collect().item()
    if unset:
        raise StepError(
            f"{step.name} ({step.node.declaration.place}): {counted(unset)} no "
            f"{bound.timestamp!r}, and 'pipelines.incremental.*' needs it in every row. Leave such "
            "rows out, or remove the properties. The table is as it was."
        )
