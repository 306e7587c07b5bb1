"""Running a pipeline: plan it, then compute and commit one table after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse import quality
from sololakehouse.engine import SYSTEM_PREFIX, Engine
from sololakehouse.errors import RewrittenError, RunError, SoloLakehouseError, StepError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.pipelines.declarations import collect, first_line
from sololakehouse.pipelines.graph import GraphBuilder
from sololakehouse.pipelines.plan import (
    STREAMS,
    Step,
    plan_steps,
    step_fingerprint,
    stream_offsets,
    unread_files,
)
from sololakehouse.pipelines.selection import EVERYTHING, Selection
from sololakehouse.pipelines.spec import find_spec, source_files
from sololakehouse.provenance import Change, ExpectationResult, TableVersion, fingerprint

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame

OPERATION = "MATERIALIZED VIEW"
STREAM_OPERATION = "STREAMING TABLE"


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
    with Engine.start() as engine:
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
    if step.state in ("up to date", "not selected"):
        return writer.lake.newest(step.name), ()
    with _step_errors(step):
        if step.state == "view":
            engine.view(step.name, step.node.frame)
            return None, ()
        make = _append if step.node.is_stream else _materialize
        snapshot, expectations = make(step, engine, writer)
        engine.pin(step.name, snapshot.path, snapshot.version)
        return snapshot, expectations


def _materialize(
    step: Step, engine: Engine, writer: LakeWriter
) -> tuple[Snapshot, Sequence[ExpectationResult]]:
    inputs = _inputs(step, writer)
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
        return writer.commit(step.name, staged, change, properties=properties), expectations


def _append(
    step: Step, engine: Engine, writer: LakeWriter
) -> tuple[Snapshot, Sequence[ExpectationResult]]:
    """Append what the streams have added; how far they were read is part of the commit."""
    inputs = _inputs(step, writer)
    newest = writer.lake.newest(step.name)
    _refuse_other_kind(step, newest)
    before = None if step.anew else newest
    sources = {table: writer.lake.read(table) for table in step.node.streams.values()}
    try:
        unread = unread_files(step.node.streams, before, sources)
    except RewrittenError as error:
        raise RewrittenError(
            f"{step.name} cannot go on where it was: {error}. Compute it again from all rows with "
            f"'slh run --full-refresh {step.name}'. The table is as it was."
        ) from error
    _refuse_other_columns(step, before)
    for alias, table in step.node.streams.items():
        engine.stream(alias, table, unread[alias])
    offsets = stream_offsets(before) | {
        alias: sources[table].table_version.model_dump(exclude={"data_version"})
        for alias, table in step.node.streams.items()
    }
    with writer.staging() as staged:
        engine.write_parquet(step.node.frame, staged)
        expectations = _check(step, engine, staged, before)
        change = Change(
            operation=STREAM_OPERATION,
            fingerprint=fingerprint(step_fingerprint(step.node, inputs), offsets),
            inputs=tuple(inputs.values()),
            expectations=expectations,
            details=_details(step) | {STREAMS: offsets},
        )
        snapshot = writer.commit(
            step.name,
            staged,
            change,
            mode="overwrite" if step.anew else "append",
            properties=step.node.declaration.properties,
        )
    return snapshot, expectations


def _inputs(step: Step, writer: LakeWriter) -> dict[str, TableVersion]:
    read = [writer.lake.read(name) for name in step.tables]
    for source in read:
        source.verify()
    return {source.name: source.table_version for source in read}


def _refuse_other_kind(step: Step, newest: Snapshot | None) -> None:
    if newest is None or newest.rows == 0 or step.anew:
        return
    if newest.record is None or STREAMS not in newest.record.details:
        raise RunError(
            f"{step.name} is declared as a streaming table, but its rows were not written by one. "
            f"Compute it again from all rows with 'slh run --full-refresh {step.name}'."
        )


def _refuse_other_columns(step: Step, before: Snapshot | None) -> None:
    if before is None or not before.rows:
        return
    schema = step.node.frame.schema
    new = {field.name: field.dataType.simpleString() for field in schema.fields}
    old = {column.name: column.type for column in before.fields}
    if new != old:
        listed = [", ".join(f"{name} {kind}" for name, kind in one.items()) for one in (old, new)]
        raise RunError(
            f"{step.name} has the columns {listed[0]}, and its query now gives {listed[1]}. "
            "Compute it again from all rows with "
            f"'slh run --full-refresh {step.name}'. The table is as it was."
        )


def _check(
    step: Step, engine: Engine, staged: Path, before: Snapshot | None = None
) -> list[ExpectationResult]:
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


def _details(step: Step) -> dict[str, Any]:
    declaration = step.node.declaration
    details: dict[str, Any] = {
        "definition": step.node.definition,
        "place": str(declaration.place),
        "deterministic": declaration.deterministic,
    }
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
