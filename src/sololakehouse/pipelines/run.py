"""Running a pipeline: plan it, then compute and commit one table after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse import quality
from sololakehouse.engine import SYSTEM_PREFIX, Engine
from sololakehouse.errors import RunError, SoloLakehouseError, StepError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.pipelines.declarations import collect, first_line
from sololakehouse.pipelines.graph import GraphBuilder
from sololakehouse.pipelines.plan import Step, plan_steps, step_fingerprint
from sololakehouse.pipelines.spec import find_spec, source_files
from sololakehouse.provenance import Change, ExpectationResult

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame

OPERATION = "MATERIALIZED VIEW"


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
def prepare(lake: Lakehouse) -> Iterator[PreparedPipeline]:
    """Load the project's pipeline and plan it; nothing is computed or written.

    Every table of the lakehouse is pinned to its newest version: that is the snapshot which the
    whole run sees. Tables of the schema `system` tell of runs and are no input of one.

    Raises
    ------
    ConfigError
        There is no valid spec.
    DefinitionError
        A source file declares something that cannot be planned.
    RunError
        A table that the pipeline reads or writes cannot be opened; other tables do not matter.
    """
    spec_path, spec = find_spec(lake.project)
    folder = spec_path.parent
    with Engine.start() as engine:
        engine.use(spec.database)
        stored = _pinned(lake, engine)
        files = source_files(folder, spec)
        declarations = collect(folder, files, spec.database, engine.session)
        builder = GraphBuilder(engine, declarations, stored, spec.database, folder)
        graph = builder.build()
        steps = plan_steps(graph, lake)
        builder.analyse(step.name for step in steps if step.state != "up to date")
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
    if step.state == "up to date":
        return writer.lake.newest(step.name), ()
    with _step_errors(step):
        if step.state == "view":
            engine.view(step.name, step.node.frame)
            return None, ()
        return _materialize(step, engine, writer)


def _materialize(
    step: Step, engine: Engine, writer: LakeWriter
) -> tuple[Snapshot, Sequence[ExpectationResult]]:
    read = [writer.lake.read(name) for name in step.tables]
    for source in read:
        source.verify()
    inputs = {source.name: source.table_version for source in read}
    with writer.staging() as staged:
        engine.write_parquet(step.node.frame, staged)
        expectations = _check(step, engine, staged)
        change = Change(
            operation=OPERATION,
            fingerprint=step_fingerprint(step.node, inputs),
            inputs=tuple(inputs.values()),
            expectations=expectations,
            details=_details(step),
        )
        properties = step.node.declaration.properties
        snapshot = writer.commit(step.name, staged, change, properties=properties)
    engine.pin(step.name, snapshot.path, snapshot.version)
    return snapshot, expectations


def _check(step: Step, engine: Engine, staged: Path) -> list[ExpectationResult]:
    declaration = step.node.declaration
    stored: DataFrame = engine.session.read.parquet(str(staged))
    dropping = [e for e in declaration.expectations if e.action == "drop"]
    keeping = [e for e in declaration.expectations if e.action != "drop"]
    kept = quality.evaluate(stored, keeping)
    quality.refuse_failures(step.name, stored, kept)
    _check_contract(step, staged)
    dropped = quality.evaluate(declaration.unfiltered(), dropping) if dropping else []
    return [*kept, *dropped]


def _check_contract(step: Step, staged: Path) -> None:
    import polars as pl

    contract = FeatureContract.from_properties(step.node.declaration.properties)
    if contract is not None:
        contract.check(pl.scan_parquet(staged / "*.parquet"), step.name)


def _details(step: Step) -> dict[str, str]:
    declaration = step.node.declaration
    details = {"definition": step.node.definition, "place": str(declaration.place)}
    return details | ({"comment": declaration.comment} if declaration.comment else {})


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
