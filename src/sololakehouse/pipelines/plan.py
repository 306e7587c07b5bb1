"""What a run will do, as data: the same steps are shown, explained and executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.pipelines.graph import Graph, Node
from sololakehouse.provenance import TableVersion, fingerprint

State = Literal["run", "up to date", "view"]


@dataclass(frozen=True)
class Step:
    """One node of the graph and whether it runs, with the reason in a few words."""

    node: Node
    state: State
    reason: str
    tables: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table or view that the step makes."""
        return self.node.name


def plan_steps(graph: Graph, lake: Lakehouse) -> list[Step]:
    """Decide for each node whether its table is up to date, in the order of the graph.

    A table is up to date if its newest version carries a commit record with the fingerprint that
    a run would give it now.
    """
    named = {node.name for node in graph.nodes if not node.is_view}
    named |= {table for node in graph.nodes for table in graph.tables_read(node)}
    versions = {name: newest for name in sorted(named) if (newest := lake.newest(name))}
    steps: list[Step] = []
    running: set[str] = set()
    for node in graph.nodes:
        tables = tuple(graph.tables_read(node))
        state, reason = _decide(node, tables, versions, running)
        if state == "run":
            running.add(node.name)
        steps.append(Step(node, state, reason, tables))
    return steps


def step_fingerprint(node: Node, inputs: Mapping[str, TableVersion]) -> str:
    """Hash what decides a table's content: plan, input versions, expectations and properties."""
    declaration = node.declaration
    return fingerprint(
        node.definition,
        {name: source.content for name, source in inputs.items()},
        [[e.name, e.condition, e.action] for e in declaration.expectations],
        dict(declaration.properties),
    )


def _decide(
    node: Node, tables: tuple[str, ...], versions: Mapping[str, Snapshot], running: set[str]
) -> tuple[State, str]:
    if node.is_view:
        return "view", "computed where it is read"
    newest = versions.get(node.name)
    if newest is None:
        return "run", "new table"
    changed = [table for table in tables if table in running]
    if changed:
        return "run", f"{changed[0]} is computed again"
    if newest.record is None:
        return "run", "its last commit is not ours"
    inputs = {name: versions[name].table_version for name in tables}
    if newest.record.fingerprint == step_fingerprint(node, inputs):
        return "up to date", f"v{newest.version}"
    before = {source.table: source.content for source in newest.record.inputs}
    moved = [name for name in tables if before.get(name) != inputs[name].content]
    return "run", f"{moved[0]} has a new version" if moved else "its definition changed"
