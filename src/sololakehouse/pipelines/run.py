"""Running a pipeline: plan it, then compute and commit one table after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sololakehouse.engine import SYSTEM_PREFIX, Engine
from sololakehouse.errors import RunError, SoloLakehouseError, StepError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.pipelines.compute import append, materialize
from sololakehouse.pipelines.declarations import collect, first_line
from sololakehouse.pipelines.graph import GraphBuilder
from sololakehouse.pipelines.plan import Step, plan_steps
from sololakehouse.pipelines.selection import EVERYTHING, Selection
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
def prepare(lake: Lakehouse, selection: Selection = EVERYTHING) -> Iterator[PreparedPipeline]:
    """Load the project's pipeline and plan it; nothing is computed or written.

    Every table of the lakehouse is pinned to its newest version: that is the snapshot which the
    whole run sees. Tables of the schema `system` tell of runs and are no input of one.

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
    spec_path, spec = find_spec(lake.project)
    folder = spec_path.parent
    with lake.engine() as engine:
        engine.use(spec.database)
        stored = _pinned(lake, engine)
        files = source_files(folder, spec)
        declarations = collect(folder, files, spec.database, engine.session)
        builder = GraphBuilder(engine, declarations, stored, spec.database, folder)
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
            engine.pin(newest)
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
    if step.state in ("up to date", "not selected"):
        return writer.lake.newest(step.name), ()
    with _step_errors(step):
        if step.state == "view":
            engine.view(step.name, step.node.frame)
            return None, ()
        make = append if step.node.is_stream else materialize
        snapshot, expectations = make(step, engine, writer)
        engine.pin(snapshot)
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
