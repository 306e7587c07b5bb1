"""Computing one table of a pipeline: stage its rows, check them, commit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.errors import RewrittenError, RunError, StepError
from sololakehouse.lake import LakeWriter, Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.feature_rows import FeatureRows
from sololakehouse.pipelines import cdc
from sololakehouse.pipelines.branches import StagedBranch, scan_kept, stage
from sololakehouse.pipelines.checks import check, checked_rows
from sololakehouse.pipelines.definition import definition_of
from sololakehouse.pipelines.dropped import Quarantine
from sololakehouse.pipelines.increment import Increment, increment
from sololakehouse.pipelines.plan import (
    STREAMS,
    Step,
    step_fingerprint,
    stream_offsets,
    unread_files,
)
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.provenance import (
    Change,
    ExpectationResult,
    TableVersion,
    content_manifest,
    fingerprint,
)

if TYPE_CHECKING:
    import polars as pl

OPERATION = "MATERIALIZED VIEW"
STREAM_OPERATION = "STREAMING TABLE"
INCREMENT = "increment"


def materialize(
    step: Step, engine: Engine, writer: LakeWriter
) -> tuple[Snapshot, Sequence[ExpectationResult]]:
    """Compute all rows of a table, check them, and commit them in place of the ones before."""
    inputs = step_inputs(step, writer)
    part = increment(step, inputs, writer.lake, engine)
    before = writer.lake.read(step.name) if part else None
    with writer.staging() as folder:
        staged = _staged(step, engine, folder, part)
        beside = _staying(before, part) if before and part else None
        replaced_from = part.timestamp if part else None
        expectations = check(
            step, engine, folder, staged, writer.run.started_at, beside, replaced_from
        )
        change = Change(
            operation=OPERATION,
            fingerprint=step_fingerprint(step.node, inputs),
            inputs=tuple(inputs.values()),
            expectations=expectations,
            details=step_details(step) | ({INCREMENT: part.details} if part else {}),
            engine=engine.name,
        )
        _compare_with_increments(step, change, folder, writer)
        quarantine = Quarantine.of(step, engine, writer, starts_over=part is None)
        features = checked_rows(step, folder, before)
        done = _committed(step, writer, folder, staged, change, quarantine, features, part)
        return done, expectations


def _compare_with_increments(step: Step, change: Change, folder: Path, writer: LakeWriter) -> None:
    """Refuse a full refresh that shows that computing only a part had given other rows."""
    before = writer.lake.newest(step.name) if step.anew else None
    record = before.record if before else None
    if before is None or record is None or INCREMENT not in record.details:
        return
    same = record.fingerprint == change.fingerprint and record.manifest.is_current
    if same and content_manifest(scan_kept(folder)) != record.manifest:
        raise StepError(
            f"{step.name} ({step.node.declaration.place}): all rows computed anew are not those of "
            f"v{before.version}, which was computed from new rows of "
            f"{record.details[INCREMENT]['source']} "
            "only. Correct 'pipelines.incremental.*', most likely the lookback, and run again: "
            "then all rows are computed. The table is as it was."
        )


def _staying(before: Snapshot, part: Increment) -> pl.LazyFrame:
    rows = before.scan()
    return rows if part.replaced is None else rows.filter(~part.replaced)


def append(
    step: Step, engine: Engine, writer: LakeWriter
) -> tuple[Snapshot, Sequence[ExpectationResult]]:
    """Append what the streams have added; how far they were read is part of the commit."""
    inputs = step_inputs(step, writer)
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
    cdc.refuse_other_flow(step, before)
    _refuse_other_columns(step, before)
    for alias, table in step.node.streams.items():
        engine.stream(alias, table, unread[alias])
    offsets = stream_offsets(before) | {
        alias: sources[table].table_version.model_dump(exclude={"data_version"})
        for alias, table in step.node.streams.items()
    }
    change = Change(
        operation=STREAM_OPERATION,
        fingerprint=fingerprint(step_fingerprint(step.node, inputs), offsets),
        inputs=tuple(inputs.values()),
        details=step_details(step) | {STREAMS: offsets},
        engine=engine.name,
    )
    if step.node.declaration.changes:
        return cdc.apply_changes(step, engine, writer, before, change)
    with writer.staging() as folder:
        staged = _staged(step, engine, folder)
        beside = before.scan() if before else None
        expectations = check(step, engine, folder, staged, writer.run.started_at, beside)
        change = replace(change, expectations=expectations)
        starts_over = before is None or before.record is None
        quarantine = Quarantine.of(step, engine, writer, starts_over=starts_over)
        features = checked_rows(step, folder, before)
        done = _committed(step, writer, folder, staged, change, quarantine, features)
        return done, expectations


def _staged(
    step: Step, engine: Engine, folder: Path, part: Increment | None = None
) -> list[StagedBranch]:
    frame, marks = step.node.frame, step.node.marks
    if part:
        frame, marks = part.rows(frame), None if marks is None else part.rows(marks)
    return stage(engine, frame, marks, step.node.declaration.branches, folder)


def _committed(
    step: Step,
    writer: LakeWriter,
    folder: Path,
    staged: Sequence[StagedBranch],
    change: Change,
    quarantine: Quarantine | None,
    features: FeatureRows | None,
    part: Increment | None = None,
) -> Snapshot:
    newest = writer.lake.newest(step.name)
    version = newest.version + 1 if newest else 1
    if quarantine:
        quarantine.keep(staged, change, version)
    snapshot = writer.commit(
        step.name,
        folder,
        change,
        mode="append" if part or (step.node.is_stream and not step.anew) else "overwrite",
        properties=step.node.declaration.properties,
        description=step.node.declaration.comment,
        removes=part.replaced if part else None,
        features=features,
    )
    if quarantine and snapshot.version != version:
        quarantine.keep(staged, change, snapshot.version)
    return snapshot


def step_inputs(step: Step, writer: LakeWriter) -> dict[str, TableVersion]:
    """Return the versions of the tables that a step reads, after a check of their files."""
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
    new = step.node.column_types()
    old = {column.name: column.type for column in before.fields}
    if new != old:
        listed = [", ".join(f"{name} {kind}" for name, kind in one.items()) for one in (old, new)]
        raise RunError(
            f"{step.name} has the columns {listed[0]}, and its query now gives {listed[1]}. "
            "Compute it again from all rows with "
            f"'slh run --full-refresh {step.name}'. The table is as it was."
        )


def step_details(step: Step) -> dict[str, Any]:
    """Return what a commit says of the step that made it."""
    declaration = step.node.declaration
    details: dict[str, Any] = {
        "definition": step.node.definition,
        "place": str(declaration.place),
        "deterministic": declaration.deterministic,
    }
    if step.node.as_of:
        details[AS_OF] = step.node.as_of
    if FeatureContract.from_properties(declaration.properties):
        details |= definition_of(step).details
    if step.redefinition:
        details |= step.redefinition.details
    return details | ({"comment": declaration.comment} if declaration.comment else {})
