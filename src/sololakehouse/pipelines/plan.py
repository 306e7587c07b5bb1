"""What a run will do, as data: the same steps are shown, explained and executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sololakehouse.errors import RewrittenError, UsageError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.appended import appended_files
from sololakehouse.lake.catalog import newest_versions
from sololakehouse.lake.redefinition import Redefinition
from sololakehouse.pipelines.graph import Graph, Node
from sololakehouse.pipelines.selection import Selection
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.pipelines.sinks import SinkProgress
from sololakehouse.provenance import TableVersion, fingerprint

State = Literal["run", "up to date", "view", "not selected"]
STREAMS = "streams"
CDC = "cdc"


@dataclass(frozen=True)
class Step:
    """One node of the graph and whether it runs, with the reason in a few words.

    Attributes
    ----------
    tables
        Tables that it reads, directly or through views.
    views
        Temporary views that it reads, directly or through others, each after those it reads.
    anew
        Whether all rows are computed again, also those of a streaming table.
    idle
        Whether this is a view that only tables read which are up to date.
    redefinition
        How it would change the definition of a feature table that is there; None if it does not.
    """

    node: Node
    state: State
    reason: str
    tables: tuple[str, ...]
    anew: bool = False
    views: Mapping[str, Node] = field(default_factory=dict)
    idle: bool = False
    redefinition: Redefinition | None = None

    @property
    def name(self) -> str:
        """The table or view that the step makes."""
        return self.node.name


def plan_steps(graph: Graph, lake: Lakehouse, selection: Selection) -> list[Step]:
    """Decide for each node whether its table is up to date, in the order of the graph.

    A table is up to date if its newest version carries a commit record with the fingerprint that
    a run would give it now; a streaming table, if no row was added to what it streams from.

    Raises
    ------
    NotFoundError
        The selection names a table that the pipeline does not have.
    UsageError
        A selected table reads one that does not exist and is not selected.
    """
    selected = selection.names(graph)
    named = {node.name for node in graph.nodes if not (node.is_view or node.is_sink)}
    named |= {table for node in graph.nodes for table in graph.tables_read(node)}
    versions = newest_versions(lake, sorted(named))
    steps: list[Step] = []
    running: set[str] = set()
    for node in graph.nodes:
        tables = tuple(graph.tables_read(node))
        if node.name not in selected:
            steps.append(Step(node, "not selected", "not named", tables))
            continue
        _refuse_missing(node, tables, versions, running)
        anew = selection.is_anew(node.name)
        progress = SinkProgress.of(lake, node.name) if node.is_sink else None
        state, reason = _decide(node, tables, versions, running, progress)
        if anew and not node.is_view:
            state, reason = "run", "full refresh"
        if state == "run":
            running.add(node.name)
        steps.append(Step(node, state, reason, tables, anew, graph.views_read(node)))
    return _with_idle_views(steps)


def _with_idle_views(steps: Sequence[Step]) -> list[Step]:
    idle = {view for step in steps if step.state == "up to date" for view in step.views}
    for step in reversed(steps):
        if step.state == "run" or (step.state == "view" and step.name not in idle):
            idle -= step.views.keys()
    return [replace(step, idle=step.name in idle) for step in steps]


def stream_offsets(table: Snapshot | None) -> dict[str, dict[str, Any]]:
    """Return how far a streaming table has read: for each stream, the source and its version."""
    record = table.record if table else None
    return dict(record.details.get(STREAMS, {})) if record else {}


def change_parameters(table: Snapshot) -> str | None:
    """Return what the flow of change data was told that made a table; None if none did."""
    record = table.record
    known: str | None = record.details.get(CDC, {}).get("parameters") if record else None
    return known


def unread_files(
    streams: Mapping[str, str], target: Snapshot | None, sources: Mapping[str, Snapshot]
) -> dict[str, list[Path]]:
    """Return the files whose rows a streaming table has not read yet, for each of its streams.

    Raises
    ------
    RewrittenError
        A source did more than grow since it was read.
    """
    return unread_since(stream_offsets(target), streams, sources)


def unread_since(
    offsets: Mapping[str, Mapping[str, Any]],
    streams: Mapping[str, str],
    sources: Mapping[str, Snapshot],
) -> dict[str, list[Path]]:
    """Return the files whose rows were not read yet, given how far each stream was read.

    Raises
    ------
    RewrittenError
        A source did more than grow since it was read.
    """
    return {alias: _unread(sources[table], offsets.get(alias)) for alias, table in streams.items()}


def _unread(source: Snapshot, offset: Mapping[str, Any] | None) -> list[Path]:
    if offset is not None and offset["table_id"] != source.table_id:
        raise RewrittenError(f"{source.name} was dropped and made anew")
    return appended_files(source, offset["version"] if offset else None)


def _refuse_missing(
    node: Node, tables: tuple[str, ...], versions: Mapping[str, Snapshot], running: set[str]
) -> None:
    for table in tables:
        if not node.is_view and table not in versions and table not in running:
            raise UsageError(
                f"{node.name} reads {table}, which does not exist yet and is not selected. Select "
                "it as well."
            )


def step_fingerprint(node: Node, inputs: Mapping[str, TableVersion]) -> str:
    """Hash what decides a table's content: plan, input versions, expectations and properties."""
    declaration = node.declaration
    return fingerprint(
        node.definition,
        {name: source.content for name, source in inputs.items()},
        [expectation.policy for expectation in declaration.expectations],
        dict(declaration.properties),
    )


def _decide(
    node: Node,
    tables: tuple[str, ...],
    versions: Mapping[str, Snapshot],
    running: set[str],
    progress: SinkProgress | None,
) -> tuple[State, str]:
    if node.is_view:
        return "view", "computed where it is read"
    if progress is not None:
        return _decide_sink(node, progress, versions, running)
    newest = versions.get(node.name)
    if newest is None:
        return "run", "new table"
    followed = node.streams.values() if node.is_stream else tables
    changed = [table for table in followed if table in running]
    if changed:
        return "run", f"{changed[0]} is computed again"
    if newest.record is None:
        return "run", "its last commit is not ours"
    if node.is_stream:
        return _decide_stream(node, newest, versions)
    inputs = {name: versions[name].table_version for name in tables}
    if newest.record.fingerprint == step_fingerprint(node, inputs):
        return "up to date", f"v{newest.version}"
    if newest.record.restored_version is not None:
        return "run", f"it was restored to v{newest.record.restored_version}"
    before = {source.table: source.content for source in newest.record.inputs}
    moved = [name for name in tables if before.get(name) != inputs[name].content]
    if moved:
        return "run", f"{moved[0]} has a new version"
    if node.as_of and newest.record.details.get(AS_OF) != node.as_of:
        return "run", f"it uses the moment of the run, {node.as_of}"
    return "run", "its definition changed"


def _decide_stream(
    node: Node, newest: Snapshot, versions: Mapping[str, Snapshot]
) -> tuple[State, str]:
    if change_parameters(newest) != node.parameters:
        return "run", "its flow of change data is another one"
    news = _news(node, stream_offsets(newest), versions)
    return ("run", news) if news else ("up to date", f"v{newest.version}")


def _decide_sink(
    node: Node, progress: SinkProgress, versions: Mapping[str, Snapshot], running: set[str]
) -> tuple[State, str]:
    changed = [table for table in node.streams.values() if table in running]
    if changed:
        return "run", f"{changed[0]} is computed again"
    if progress.is_interrupted:
        return "run", "its last delivery was interrupted"
    news = _news(node, progress.offsets, versions)
    if news:
        return "run", "new sink" if progress.batch < 0 else news
    return "up to date", "no rows yet" if progress.batch < 0 else f"batch {progress.batch}"


def _news(
    node: Node, offsets: Mapping[str, Mapping[str, Any]], versions: Mapping[str, Snapshot]
) -> str | None:
    try:
        unread = unread_since(offsets, node.streams, versions)
    except RewrittenError as error:
        return str(error)
    streams = (node.streams[alias] for alias, files in unread.items() if files)
    return next((f"{table} has new rows" for table in streams), None)
