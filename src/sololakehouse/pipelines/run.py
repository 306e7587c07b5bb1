"""Running a pipeline: plan it, then compute and commit its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.pipelines.declarations import SourceContext
from sololakehouse.pipelines.events import Listener, StepResult
from sololakehouse.pipelines.execution import Execution, PreparedPipeline, import_beside
from sololakehouse.pipelines.graph_builder import GraphBuilder
from sololakehouse.pipelines.plan import plan_steps
from sololakehouse.pipelines.quarantine import ingested_tables
from sololakehouse.pipelines.redefinition import (
    Redefining,
    refuse_redefinitions,
    with_redefinitions,
)
from sololakehouse.pipelines.schedule import Capacity, works
from sololakehouse.pipelines.selection import EVERYTHING, Selection
from sololakehouse.pipelines.settings import PipelineSettings
from sololakehouse.pipelines.sources import collect
from sololakehouse.pipelines.spec import find_spec, source_files
from sololakehouse.pipelines.stored import StoredTables


@contextmanager
def prepare(
    lake: Lakehouse,
    selection: Selection = EVERYTHING,
    *,
    as_of: datetime | None = None,
    spec: Path | None = None,
    redefining: Redefining | None = None,
    with_plans: bool = False,
    to_execute: bool = False,
) -> Iterator[PreparedPipeline]:
    """Load the project's pipeline and plan it; nothing is computed or written.

    Every table that the pipeline reads is pinned to its newest version: that is the snapshot which
    the whole run sees. Tables of the schema `system` tell of runs and are no input of one.

    Parameters
    ----------
    as_of
        The moment that sources get as `pipelines.as_of`; None: what the spec says, else now.
    spec
        The spec; None: the nearest one, see `find_spec`.
    redefining
        Who counts on the definitions of feature tables; None: nobody.
    with_plans
        Whether the engine shall know what selected tables read that are up to date, too, so that
        it can show their plans.
    to_execute
        Whether the steps will be executed, so that what they need is imported meanwhile.

    Raises
    ------
    ConfigError
        There is no valid spec.
    NotFoundError, UsageError
        The selection names a table that the pipeline does not have, or cannot be computed alone.
    DefinitionError
        A source file declares something that cannot be planned.
    RunError
        A table that the pipeline reads or writes cannot be opened; other tables do not matter.
    """
    spec_path, pipeline = find_spec(lake.project, spec)
    zone = lake.project.settings.time_zone
    settings = PipelineSettings.of(pipeline.configuration, as_of, str(spec_path), zone)
    folder = spec_path.parent
    context = SourceContext(
        folder, lake.project.warehouse, pipeline.database, settings, ingested_tables(lake.project)
    )
    with lake.engine() as engine:
        engine.use(pipeline.database)
        stored = StoredTables(lake, engine)
        settings.apply(engine.session)
        with engine.before_asked(stored.pin_all):
            declared = collect(source_files(folder, pipeline), context, engine.session)
        builder = GraphBuilder(engine, declared, stored, context)
        graph = builder.build()
        steps = plan_steps(graph, lake, selection)
        if to_execute:
            import_beside(steps)
        builder.analyse(step.name for step in steps if works(step))
        if with_plans:
            for step in steps:
                if step.state == "up to date":
                    builder.let_read(step.name)
        noted = with_redefinitions(steps, lake, redefining or Redefining())
        yield PreparedPipeline(engine, noted, pipeline.name)


def execute(
    pipeline: PreparedPipeline,
    writer: LakeWriter,
    listeners: Sequence[Listener] = (),
    capacity: Capacity | None = None,
) -> list[StepResult]:
    """Execute the planned steps, each of which commits its table or leaves it as it was.

    A step begins when all that it reads is there; independent steps run side by side. If one
    fails, what depends on it is skipped and everything else goes on.

    Parameters
    ----------
    listeners
        Are told every event, in the calling thread.
    capacity
        How many steps run at once; None: as many as cores and free memory allow.

    Returns
    -------
    list
        One result per step, in the order of the plan.

    Raises
    ------
    RedefinitionError
        Feature tables that are used would get another definition; nothing was run.
    StepError
        The engine could not compute a table.
    ExpectationError
        Rows violate an `expect_or_fail`.
    FeatureTableError
        The keys of a feature table are not unique or not set.
    RunFailedError
        Several steps failed. This error, or that of the only one, has a note that tells what
        became of the others.
    KeyboardInterrupt
        The person stopped the run, once no step is at work any more; a note tells what is done.
    """
    refuse_redefinitions(pipeline.steps)
    return Execution(pipeline, writer, listeners, capacity or Capacity.of(None)).run()
