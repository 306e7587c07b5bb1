"""Counting the rows that violate expectations, in the staged files of each flow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.engine import Engine
from sololakehouse.lake.contract import described_row
from sololakehouse.pipelines.branches import StagedBranch
from sololakehouse.pipelines.findings import EXAMPLES, Finding
from sololakehouse.provenance import ExpectationResult
from sololakehouse.quality import Expectation

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame


class RowCounts:
    """How many rows of each flow violate each of its expectations.

    A file is read once, and of it only the columns that the conditions name. Rows that stay violate
    no expectation that drops rows, so for those the files of dropped rows are enough.
    """

    def __init__(self, engine: Engine, staged: Sequence[StagedBranch]) -> None:
        self._engine = engine
        self._staged = staged
        self._counts = [self._counted(branch) for branch in staged]

    def finding(self, expectation: Expectation) -> Finding:
        """Return what came out of one of the expectations, over all flows that have it."""
        having = [
            (branch, counts)
            for branch, counts in zip(self._staged, self._counts, strict=True)
            if expectation in counts
        ]
        rows = sum(branch.rows for branch, _ in having)
        violations = sum(counts[expectation] for _, counts in having)
        result = ExpectationResult(
            name=expectation.name,
            condition=expectation.condition,
            action=expectation.action,
            rows=rows,
            violations=violations,
        )
        said = (
            f"{violations:,} of {rows:,} rows violate {expectation.name!r} "
            f"({expectation.condition})"
        )
        branches = [branch for branch, _ in having]
        return Finding(result, said, partial(self._examples, expectation, branches))

    def _counted(self, branch: StagedBranch) -> dict[Expectation, int]:
        staying = [e for e in branch.expectations if e.action != "drop"]
        kept = self._violations(branch.kept, staying)
        dropped = self._violations(branch.dropped, branch.expectations)
        return {e: kept.get(e, 0) + dropped.get(e, 0) for e in branch.expectations}

    def _violations(
        self, files: Sequence[Path], expectations: Sequence[Expectation]
    ) -> dict[Expectation, int]:
        if not files or not expectations:
            return {}
        counts = [f"count_if({e.violated}) AS v{index}" for index, e in enumerate(expectations)]
        row = self._rows(files).selectExpr(*counts).collect()[0]
        return {e: row[f"v{index}"] for index, e in enumerate(expectations)}

    def _examples(self, expectation: Expectation, branches: Sequence[StagedBranch]) -> list[str]:
        files = [file for branch in branches for file in (*branch.kept, *branch.dropped)]
        found = self._rows(files).where(expectation.violated).limit(EXAMPLES)
        return [described_row(row) for row in found.toArrow().to_pylist()]

    def _rows(self, files: Sequence[Path]) -> DataFrame:
        rows: DataFrame = self._engine.session.read.parquet(*(str(file) for file in files))
        return rows
