"""The scratch lakehouse: the project's own pipeline, over sources that hold something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.staging import staging_folder
from sololakehouse.pipelines.execution import PreparedPipeline
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.schedule import Capacity
from sololakehouse.pipelines.selection import Selection
from sololakehouse.provenance import Change, Manifest, Run, fingerprint
from sololakehouse.replay.planning import ReplayPlan, scratch_steps, with_columns

if TYPE_CHECKING:
    import polars as pl

OPERATION = "REPLAY"
# Each file is read once or a few times, and soon gone: small files are not worth their time.
QUICK_PARQUET = {
    "compression": "lz4_raw",
    "dictionary_enabled": "false",
    "statistics_enabled": "none",
}


class ScratchWriter(LakeWriter):
    """A writer that hashes no rows, and does not wait for the disk.

    What a scratch table holds is compared value by value, and outlives nothing.
    """

    def commit(self, table: str, staged: Path, change: Change, **given: Any) -> Snapshot:
        """Commit staged files with the number of their rows in place of a manifest."""
        import pyarrow.parquet as pq

        count = sum(pq.read_metadata(file).num_rows for file in staged.glob("*.parquet"))
        given["manifest"] = Manifest(rows=count, row_sum=0, columns={})
        return super().commit(table, staged, change, **given)

    def flush(self, *paths: Path) -> None:
        """Leave it to the system when files reach the disk."""


class Scratch:
    """A lakehouse beside the project's, with the same sources of the pipeline.

    Every fill and every run makes new versions of its tables. Tables that no clipped source leads
    to are the project's own.
    """

    def __init__(
        self, lake: Lakehouse, pipeline: PreparedPipeline, run: Run, capacity: Capacity
    ) -> None:
        self.lake = lake
        self._pipeline = pipeline
        self._run = run
        self._capacity = capacity

    @property
    def engine(self) -> Engine:
        """The session that the pipeline's queries belong to."""
        return self._pipeline.engine

    def fill(self, sources: Mapping[str, pl.LazyFrame | pl.DataFrame]) -> None:
        """Let sources hold other rows."""
        fill(self.lake, self._run, sources)

    def run(self, tables: Iterable[str]) -> None:
        """Compute tables of the pipeline from the sources as they are.

        Raises
        ------
        RunError
            A step failed.
        """
        wanted = set(tables)
        steps = [
            step
            if step.name in wanted or step.node.is_view
            else replace(step, state="not selected")
            for step in self._pipeline.steps
        ]
        views = {view for step in steps if step.state == "run" for view in step.views}
        needed = [replace(s, idle=s.name not in views) if s.node.is_view else s for s in steps]
        chosen = PreparedPipeline(self.engine, tuple(needed), self._pipeline.name)
        execute(chosen, ScratchWriter(self.lake, self._run), capacity=self._capacity)


@contextmanager
def scratch_lakehouse(
    lake: Lakehouse,
    plan: ReplayPlan,
    sources: Mapping[str, pl.LazyFrame],
    parallel: int | None,
    additions: Mapping[str, Sequence[str]],
) -> Iterator[Scratch]:
    """Make a scratch lakehouse with some rows in the clipped sources; it is removed afterwards.

    Parameters
    ----------
    parallel
        How many steps run side by side; None: as many as cores and free memory allow.
    additions
        By table: columns to put beside its own, as Spark SQL has them.
    """
    with staging_folder(lake.project.warehouse) as warehouse:
        settings = lake.project.settings.model_copy(update={"warehouse": str(warehouse)})
        beside = Lakehouse(lake.project.model_copy(update={"settings": settings}))
        run = Run.start(lake.project.folder, lake.project.settings.engine_name)
        _link(lake, beside, {*plan.clipped, *plan.computed})
        fill(beside, run, sources)
        # Without a table to compute, the names of feature tables stand for nothing to run.
        selection = Selection(refresh=plan.computed or tuple(plan.reads)[:1])
        with prepare(beside, selection, as_of=plan.moment, spec=plan.spec) as pipeline:
            steps = tuple(
                with_columns(step, additions.get(step.name, ()))
                for step in scratch_steps(pipeline.steps)
            )
            pipeline.engine.parquet_options = QUICK_PARQUET
            unchecked = PreparedPipeline(pipeline.engine, steps, pipeline.name)
            yield Scratch(beside, unchecked, run, Capacity.of(parallel))


def fill(lake: Lakehouse, run: Run, sources: Mapping[str, pl.LazyFrame | pl.DataFrame]) -> None:
    """Make rows the content of tables."""
    import polars as pl

    writer = ScratchWriter(lake, run)
    for table, rows in sources.items():
        with writer.staging() as folder:
            file = folder / "part-0.parquet"
            if isinstance(rows, pl.LazyFrame):
                rows.sink_parquet(file, compression="lz4")
            else:
                rows.write_parquet(file, compression="lz4")
            change = Change(OPERATION, fingerprint(OPERATION, run.run_id, table))
            writer.commit(table, folder, change)


def _link(lake: Lakehouse, beside: Lakehouse, but: Iterable[str]) -> None:
    left_out = set(but)
    for table in lake.table_names():
        if table not in left_out and not table.startswith("system."):
            place = beside.path(table)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(lake.path(table).resolve(), target_is_directory=True)
