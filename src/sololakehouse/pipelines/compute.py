"""Computing one table of a pipeline: stage its rows, check them, commit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sololakehouse.engine import Engine
from sololakehouse.errors import RewrittenError, RunError
from sololakehouse.lake import LakeWriter, Snapshot
from sololakehouse.pipelines.checks import check
from sololakehouse.pipelines.plan import (
    STREAMS,
    Step,
    step_fingerprint,
    stream_offsets,
    unread_files,
)
from sololakehouse.provenance import Change, ExpectationResult, TableVersion, fingerprint

OPERATION = "MATERIALIZED VIEW"
STREAM_OPERATION = "STREAMING TABLE"


def materialize(
    step: Step, engine: Engine, writer: LakeWriter
) -> tuple[Snapshot, Sequence[ExpectationResult]]:
    """Compute all rows of a table, check them, and commit them in place of the ones before."""
    inputs = _inputs(step, writer)
    with writer.staging() as staged:
        engine.write_parquet(step.node.frame, staged)
        expectations = check(step, engine, staged)
        change = Change(
            operation=OPERATION,
            fingerprint=step_fingerprint(step.node, inputs),
            inputs=tuple(inputs.values()),
            expectations=expectations,
            details=_details(step),
            engine=engine.name,
        )
        properties = step.node.declaration.properties
        return writer.commit(step.name, staged, change, properties=properties), expectations


def append(
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
        expectations = check(step, engine, staged, before)
        change = Change(
            operation=STREAM_OPERATION,
            fingerprint=fingerprint(step_fingerprint(step.node, inputs), offsets),
            inputs=tuple(inputs.values()),
            expectations=expectations,
            details=_details(step) | {STREAMS: offsets},
            engine=engine.name,
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


def _details(step: Step) -> dict[str, Any]:
    declaration = step.node.declaration
    details: dict[str, Any] = {
        "definition": step.node.definition,
        "place": str(declaration.place),
        "deterministic": declaration.deterministic,
    }
    return details | ({"comment": declaration.comment} if declaration.comment else {})
