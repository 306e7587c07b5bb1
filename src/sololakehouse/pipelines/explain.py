"""Why a step runs or not: what it reads, and what is not as it was at its last commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sololakehouse.engine import engine_message
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.pipelines.execution import PreparedPipeline
from sololakehouse.pipelines.plan import State, Step, stream_offsets
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.provenance import CommitRecord


@dataclass(frozen=True)
class Read:
    """A table that a step reads.

    Attributes
    ----------
    version
        Its newest version; None if it does not exist yet.
    version_before
        The version that the step's last commit read; None if it did not read the table. Of a
        stream: the version up to which its rows have been taken.
    is_stream
        Whether only the rows that were added since are read.
    is_computed
        Whether this run makes a newer version first, so that `version` will not be the one read.
    """

    table: str
    version: int | None
    version_before: int | None
    is_stream: bool
    is_computed: bool


@dataclass(frozen=True)
class Explanation:
    """A step of the plan with its circumstances.

    Attributes
    ----------
    changes
        What decides the content and is not as it was at the last commit; empty if there is none.
    query_plan
        The engine's plan of the query, if it was asked for. Tables that this run computes first
        stand in without rows.
    """

    table: str
    kind: str
    place: str
    state: State
    reason: str
    version: int | None
    reads: tuple[Read, ...]
    changes: tuple[str, ...]
    query_plan: str | None = None


def explain(
    pipeline: PreparedPipeline, lake: Lakehouse, with_plans: bool = False
) -> list[Explanation]:
    """Explain the selected tables of a pipeline and the views that they read; nothing is computed.

    Parameters
    ----------
    with_plans
        Whether the engine's plans are shown as well.
    """
    computed = {step.name for step in pipeline.steps if step.state == "run"}
    shown = _shown(pipeline.steps)
    return [_explained(step, lake, computed, with_plans=with_plans) for step in shown]


def _shown(steps: Sequence[Step]) -> list[Step]:
    found: list[Step] = []
    read: set[str] = set()
    for step in reversed(steps):
        if step.name in read if step.node.is_view else step.state != "not selected":
            found.append(step)
            read.update(step.node.reads)
    return found[::-1]


def _explained(step: Step, lake: Lakehouse, computed: set[str], *, with_plans: bool) -> Explanation:
    newest = None if step.node.is_view else lake.newest(step.name)
    reads = tuple(_reads(step, lake, newest, computed))
    return Explanation(
        table=step.name,
        kind=step.node.declaration.kind,
        place=str(step.node.declaration.place),
        state=step.state,
        reason=step.reason,
        version=newest.version if newest else None,
        reads=reads,
        changes=tuple(_changes(step, newest, reads, lake)),
        query_plan=_query_plan(step) if with_plans else None,
    )


def _reads(
    step: Step, lake: Lakehouse, newest: Snapshot | None, computed: set[str]
) -> Iterator[Read]:
    before = {source.table: source.version for source in _inputs(newest)}
    taken = {offset["table"]: offset["version"] for offset in stream_offsets(newest).values()}
    streams = set(step.node.streams.values())
    for table in step.tables:
        source = lake.newest(table)
        yield Read(
            table=table,
            version=source.version if source else None,
            version_before=(taken if table in streams else before).get(table),
            is_stream=table in streams,
            is_computed=table in computed,
        )


def _inputs(newest: Snapshot | None) -> Sequence[Any]:
    return newest.record.inputs if newest and newest.record else ()


def _changes(
    step: Step, newest: Snapshot | None, reads: Sequence[Read], lake: Lakehouse
) -> Iterator[str]:
    record = newest.record if newest else None
    if newest is None or record is None:
        return
    moments = [record.details.get(AS_OF), step.node.as_of]
    if moments[0] != moments[1]:
        yield f"the moment of the run, from {moments[0] or 'none'} to {moments[1] or 'none'}"
    elif record.details.get("definition") != step.node.definition:
        yield "its query (rows that are there stay as they are)" if _keeps(step) else "its query"
    yield from _changed_inputs(record, reads, lake)
    yield from _changed_expectations(step, record)
    yield from _changed_properties(step, newest)


def _keeps(step: Step) -> bool:
    return step.node.is_stream and not step.anew


def _changed_inputs(record: CommitRecord, reads: Sequence[Read], lake: Lakehouse) -> Iterator[str]:
    before = {source.table: source.content for source in record.inputs}
    for read in reads:
        source = None if read.is_stream else lake.newest(read.table)
        if read.is_computed and not read.is_stream:
            yield f"{read.table}, which is computed first"
        elif source and read.table not in before:
            yield f"{read.table}, which it did not read"
        elif source and before[read.table] != source.table_version.content:
            yield f"{read.table}, from v{read.version_before} to v{read.version}"
    for table in sorted(before.keys() - {read.table for read in reads}):
        yield f"{table}, which it reads no more"


def _changed_expectations(step: Step, record: CommitRecord) -> Iterator[str]:
    old = {found.name: (found.condition, found.action) for found in record.expectations}
    new = {e.name: (e.condition, e.action) for e in step.node.declaration.expectations}
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            done = "is new" if name not in old else "is gone" if name not in new else "is another"
            yield f"the expectation {name!r}, which {done}"


def _changed_properties(step: Step, newest: Snapshot) -> Iterator[str]:
    declared = step.node.declaration.properties
    for key in sorted(declared):
        if newest.properties.get(key) != declared[key]:
            yield f"the table property {key!r}"


def _query_plan(step: Step) -> str:
    frame: Any = step.node.frame
    try:
        return str(frame._explain_string()).strip()
    except Exception as error:  # noqa: BLE001  (engines raise whatever they like)
        return f"The engine gives no plan: {engine_message(error)}"
