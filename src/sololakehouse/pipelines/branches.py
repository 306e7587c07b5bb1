"""The rows of each flow of a table, before `expect_or_drop` leaves some of them out.

The rows of all flows are computed once, each with a mark: the number of its flow, and whether it is
dropped. The engine writes the rows into a folder for each mark, so that the files of the rows that
stay have no column more than the table, and can be committed as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.quality import Expectation, Query

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql.connect.dataframe import DataFrame

MARK = "__slh_mark"
_STAYS, _DROPPED = "stays", "dropped"
_MARKED, _LEFT_OUT = "marked", "dropped"


@dataclass(frozen=True)
class Branch:
    """What one flow gives before any row is dropped, and the expectations of its rows."""

    query: Query
    expectations: tuple[Expectation, ...]

    @property
    def dropping(self) -> tuple[Expectation, ...]:
        """The expectations that leave rows out."""
        return tuple(e for e in self.expectations if e.action == "drop")


@dataclass(frozen=True)
class StagedBranch:
    """The staged Parquet files of a flow: of the rows that stay, and of those that are dropped."""

    expectations: tuple[Expectation, ...]
    kept: tuple[Path, ...]
    dropped: tuple[Path, ...] = ()

    @cached_property
    def rows(self) -> int:
        """How many rows the flow gave, dropped ones included."""
        return _rows(self.kept) + self.rows_dropped

    @cached_property
    def rows_dropped(self) -> int:
        """How many rows of the flow are dropped."""
        return _rows(self.dropped)


def marked(branches: Sequence[Branch]) -> DataFrame | None:
    """Return the rows of all flows with their marks; None if all rows stay and are checked alike.

    The functions of the flows are called for it.
    """
    alike = len({branch.expectations for branch in branches}) == 1
    if alike and not branches[0].dropping:
        return None
    frames: list[Any] = [_marked(number, branch) for number, branch in enumerate(branches)]
    united: DataFrame = reduce(lambda one, two: one.unionByName(two), frames)
    return united


def _marked(number: int, branch: Branch) -> DataFrame:
    frame: Any = branch.query()
    mark = f"'{number}-{_STAYS}'"
    if branch.dropping:
        dropped = " OR ".join(expectation.violated for expectation in branch.dropping)
        mark = f"CASE WHEN {dropped} THEN '{number}-{_DROPPED}' ELSE {mark} END"
    marks: DataFrame = frame.selectExpr("*", f"{mark} AS {MARK}")
    return marks


def stage(
    engine: Engine,
    frame: DataFrame,
    marks: DataFrame | None,
    branches: Sequence[Branch],
    folder: Path,
) -> list[StagedBranch]:
    """Compute the rows of a table once, into Parquet files.

    Parameters
    ----------
    frame
        The rows as the table has them.
    marks
        What `marked` says of the branches.
    folder
        An empty folder. Afterwards it holds the files of the rows that stay; those of dropped rows
        are in folders below it.
    """
    if marks is None:
        engine.write_parquet(frame, folder)
        return [StagedBranch(branches[0].expectations, tuple(sorted(folder.glob("*.parquet"))))]
    (folder / _MARKED).mkdir()
    engine.write_parquet(marks, folder / _MARKED, partition_by=[MARK])
    (folder / _LEFT_OUT).mkdir()
    staged = [
        StagedBranch(
            branch.expectations,
            _taken(folder / _MARKED, f"{number}-{_STAYS}", folder),
            _taken(folder / _MARKED, f"{number}-{_DROPPED}", folder / _LEFT_OUT),
        )
        for number, branch in enumerate(branches)
    ]
    if not any(branch.kept for branch in staged):
        no_rows: Any = frame.limit(0)
        engine.write_parquet(no_rows, folder)
    return staged


def _rows(files: Sequence[Path]) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in files)


def _taken(marks: Path, mark: str, folder: Path) -> tuple[Path, ...]:
    found = sorted((marks / f"{MARK}={mark}").glob("*.parquet"))
    return tuple(
        file.rename(folder / f"{mark}-{index:05d}.parquet") for index, file in enumerate(found)
    )


def scan_kept(folder: Path, beside: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """Scan a table as it would be: the staged rows that stay, and those `beside` them."""
    import polars as pl

    parts = [pl.scan_parquet(folder / "*.parquet"), *([] if beside is None else [beside])]
    return pl.concat(parts, how="vertical_relaxed")
