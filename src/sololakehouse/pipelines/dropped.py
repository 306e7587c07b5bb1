"""The rows that `expect_or_drop` leaves out, kept in `<table>_quarantine` if a table asks for it.

They are committed before the table itself. If the process dies in between, the table's history has
no commit of that run; the next run finds rows of such a run in the quarantine, and replaces them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.errors import DefinitionError, RunError
from sololakehouse.lake import LakeWriter, Snapshot
from sololakehouse.pipelines.branches import StagedBranch
from sololakehouse.pipelines.ingested import QUARANTINE
from sololakehouse.provenance import Change

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql.connect.dataframe import DataFrame

    from sololakehouse.pipelines.declarations import Declaration
    from sololakehouse.pipelines.plan import Step

VIOLATED, RUN_ID, VERSION = "_violated", "_run_id", "_version"
_OF, _RUN, _ROWS = "quarantine of", "run", "rows"


def refuse_taken_names(table: str, declaration: Declaration, columns: Sequence[str]) -> None:
    """Refuse a table whose columns have the names that its quarantine adds.

    Raises
    ------
    DefinitionError
        Names the first such column.
    """
    taken = [name for name in columns if name.lower() in (VIOLATED, RUN_ID, VERSION)]
    if taken:
        raise DefinitionError(
            f"{declaration.place}: {declaration.name} has a column {taken[0]!r}, which {table} "
            f"uses for itself ({VIOLATED}, {RUN_ID}, {VERSION}). Rename it."
        )


class Quarantine:
    """Where the dropped rows of one step go."""

    def __init__(
        self, step: Step, engine: Engine, writer: LakeWriter, table: str, *, starts_over: bool
    ) -> None:
        self._step = step
        self._engine = engine
        self._writer = writer
        self._table = table
        self._starts_over = starts_over

    @classmethod
    def of(
        cls, step: Step, engine: Engine, writer: LakeWriter, *, starts_over: bool
    ) -> Quarantine | None:
        """Return the quarantine of a step; None if its table does not ask for one.

        With `starts_over`, the rows take the place of those before, as all rows of the table do;
        else they are added.
        """
        table = step.node.declaration.quarantine
        return cls(step, engine, writer, table, starts_over=starts_over) if table else None

    def keep(self, staged: Sequence[StagedBranch], change: Change, version: int) -> None:
        """Commit the dropped rows as those of the version that the table is going to have.

        Rows of a run that died before it committed the table are replaced, and so are rows that
        this run kept before, as those of another version.

        Raises
        ------
        RunError
            The quarantine's name belongs to another table.
        """
        known = self._writer.lake.newest(self._table)
        self._refuse_other(known)
        stale = None if self._starts_over else self._run_without_table(known)
        rows = sum(branch.rows_dropped for branch in staged)
        replaces = stale is not None or (known and known.rows and self._starts_over)
        if known is not None and not rows and not replaces:
            return
        run_id = self._writer.run.run_id
        kept = Change(
            QUARANTINE,
            change.fingerprint,
            inputs=change.inputs,
            details={_OF: self._step.name, _RUN: run_id, _ROWS: rows},
            left_out=(RUN_ID, VERSION),
            engine=change.engine,
        )
        with self._writer.staging() as folder:
            self._stage(staged, folder, version)
            self._writer.commit(
                self._table,
                folder,
                kept,
                mode="overwrite" if self._starts_over else "append",
                removes=_rows_of(stale) if stale else None,
            )

    def _stage(self, staged: Sequence[StagedBranch], folder: Path, version: int) -> None:
        for number, branch in enumerate(staged):
            if branch.dropped:
                files = [str(file) for file in branch.dropped]
                rows: Any = self._engine.session.read.parquet(*files)
                part = folder / str(number)
                part.mkdir()
                self._engine.write_parquet(self._described(rows, branch, version), part)
                for file in sorted(part.glob("*.parquet")):
                    file.rename(folder / f"{number}-{file.name}")
        if not any(branch.dropped for branch in staged):
            no_rows: Any = self._step.node.frame.limit(0)
            self._engine.write_parquet(self._described(no_rows, staged[0], version), folder)

    def _described(self, rows: DataFrame, branch: StagedBranch, version: int) -> DataFrame:
        names = ", ".join(
            f"CASE WHEN {e.violated} THEN '{_text(e.name)}' END"
            for e in branch.expectations
            if e.action == "drop"
        )
        violated = f"array_compact(array({names or 'CAST(NULL AS STRING)'}))"
        described: Any = rows.selectExpr(
            "*",
            f"{violated} AS {VIOLATED}",
            f"'{self._writer.run.run_id}' AS {RUN_ID}",
            f"CAST({version} AS BIGINT) AS {VERSION}",
        )
        return described  # type: ignore[no-any-return]

    def _refuse_other(self, known: Snapshot | None) -> None:
        if known is None or (known.record is None and not known.rows):
            return
        if known.record is None or known.record.details.get(_OF) != self._step.name:
            raise RunError(
                f"{self._step.name} keeps the rows that it drops in {self._table}, but that table "
                "holds something else. Give one of the two another name. Both are as they were."
            )

    def _run_without_table(self, known: Snapshot | None) -> str | None:
        """Return the run that added the newest rows, if it did not commit the table, or is this."""
        details = known.record.details if known and known.record else {}
        run_id: str | None = details.get(_RUN)
        if run_id is None or not details[_ROWS]:
            return None
        entries = self._writer.lake.history(self._step.name)
        done = {entry.record.run_id for entry in entries if entry.record}
        return None if run_id in done - {self._writer.run.run_id} else run_id


def _rows_of(run_id: str) -> pl.Expr:
    import polars as pl

    return pl.col(RUN_ID) == run_id


def _text(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")
