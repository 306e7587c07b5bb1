"""Running a pipeline: plan it, then compute and commit one table after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sololakehouse.engine import SYSTEM_PREFIX, Engine
from sololakehouse.errors import RunError, SoloLakehouseError, StepError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.pipelines.checks import check_again
from sololakehouse.pipelines.compute import append, materialize
from sololakehouse.pipelines.declarations import SourceContext, collect, first_line
from sololakehouse.pipelines.delivery import deliver
from sololakehouse.pipelines.graph import GraphBuilder
from sololakehouse.pipelines.plan import Step, plan_steps
from sololakehouse.pipelines.selection import EVERYTHING, Selection
from sololakehouse.pipelines.settings import PipelineSettings
from sololakehouse.pipelines.spec import find_spec, source_files
from sololakehouse.provenance import ExpectationResult


@dataclass(frozen=True)
class StepResult:
    """What became of a step; `seconds` is wall-clock time."""

    step: Step
    snapshot: Snapshot | None
    seconds: float
    expectations: tuple[ExpectationResult, ...] = ()


@dataclass(frozen=True)
class PreparedPipeline:
    """A planned pipeline with the engine session that its DataFrames belong to."""

    engine: Engine
    steps: tuple[Step, ...]


@contextmanager
def prepare(
    lake: Lakehouse,
    selection: Selection = EVERYTHING,
    *,
    as_of: datetime | None = None,
    spec: Path | None = None,
) -> Iterator[PreparedPipeline]:
    """Load the project's pipeline and plan it; nothing is computed or written.

    Every table of the lakehouse is pinned to its newest version: that is the snapshot which the
    whole run sees. Tables of the schema `system` tell of runs and are no input of one.

    Parameters
    ----------
    as_of
        The moment that sources get as `pipelines.as_of`; None: what the spec says, else now.
    spec
        The spec; None: the nearest one, see `find_spec`.

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
    settings = PipelineSettings.of(pipeline.configuration, as_of, str(spec_path))
    folder = spec_path.parent
    context = SourceContext(folder, lake.project.warehouse, pipeline.database, settings)
    with Engine.start() as engine:
        engine.use(pipeline.database)
        stored = _pinned(lake, engine)
        settings.apply(engine.session)
        declarations = collect(source_files(folder, pipeline), context, engine.session)
        builder = GraphBuilder(engine, declarations, stored, context)
        graph = builder.build()
        steps = plan_steps(graph, lake, selection)
        builder.analyse(step.name for step in steps if step.state in ("run", "view"))
        yield PreparedPipeline(engine, tuple(steps))


def _pinned(lake: Lakehouse, engine: Engine) -> dict[str, RunError | None]:
    stored: dict[str, RunError | None] = {}
    for name in lake.table_names():
        if name.startswith(SYSTEM_PREFIX):
            continue
        try:
            newest = lake.read(name)
            engine.pin(name, newest.path, newest.version)
            stored[name] = None
        except RunError as error:
            stored[name] = error
    return stored


def execute(
    pipeline: PreparedPipeline,
    writer: LakeWriter,
    on_start: Callable[[Step], None] | None = None,
    on_result: Callable[[StepResult], None] | None = None,
) -> list[StepResult]:
    """Execute the planned steps in their order; each commits its table or leaves it as it was.

    Raises
    ------
    StepError
        The engine could not compute a table.
    ExpectationError
        Rows violate an `expect_or_fail`.
    FeatureTableError
        The keys of a feature table are not unique or not set.
    """
    results = []
    for step in pipeline.steps:
        if on_start:
            on_start(step)
        began = time.perf_counter()
        snapshot, expectations = _executed(step, pipeline.engine, writer)
        result = StepResult(step, snapshot, time.perf_counter() - began, tuple(expectations))
        if on_result:
            on_result(result)
        results.append(result)
    return results


def _executed(
    step: Step, engine: Engine, writer: LakeWriter
) -> tuple[Snapshot | None, Sequence[ExpectationResult]]:
    sink = step.node.declaration.sink
    if step.state == "not selected":
        return None if sink else writer.lake.newest(step.name), ()
    if step.state == "up to date":
        newest = None if sink else writer.lake.read(step.name)
        return newest, check_again(step, newest, writer.run.started_at) if newest else ()
    with _step_errors(step):
        if sink:
            return None, deliver(step, sink, engine, writer)
        if step.state == "view":
            engine.view(step.name, step.node.frame)
            return None, ()
        make = append if step.node.is_stream else materialize
        snapshot, expectations = make(step, engine, writer)
        engine.pin(step.name, snapshot.path, snapshot.version)
        return snapshot, expectations


@contextmanager
def _step_errors(step: Step) -> Iterator[None]:
    try:
        yield
    except SoloLakehouseError:
        raise
    except Exception as error:
        raise StepError(
            f"{step.name} ({step.node.declaration.place}): {first_line(error)}. The table is as "
            "it was; tables before it in this run are committed."
        ) from error
