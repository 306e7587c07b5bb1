"""Reads the lineage graph from commit records and the registry's tables, and cannot write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial

from sololakehouse.errors import RunError
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.row_history import TableCommits
from sololakehouse.lineage import nodes
from sololakehouse.lineage.graph import Direction, Edge, Lineage, Node, Role
from sololakehouse.lineage.origin import MadeBy, Origin, origin, version_of
from sololakehouse.lineage.registered import Trained, deliveries, trained_models
from sololakehouse.models.renumbering import version_meant
from sololakehouse.models.versions import ModelVersion, by_number
from sololakehouse.provenance import TableVersion

_ID_DIGITS = 8


class LineageReader:
    """Collects what it is asked for, with all that that was made from; each node once.

    `existing`, `table`, `model` and `run` add a node and return its identifier.

    Parameters
    ----------
    files
        Whether landing files are nodes, too. They are many, and nothing is asked of them upwards.
    """

    def __init__(self, lake: Lakehouse, *, files: bool = True) -> None:
        self.lake = lake
        self._files = files
        self._commits: dict[tuple[str, str | None], TableCommits] = {}
        self._read_as: dict[str, int] = {}
        self._nodes: dict[str, Callable[[], Node]] = {}
        self._edges: dict[tuple[str, str], Role] = {}
        self._waiting: deque[Callable[[], None]] = deque()

    @cached_property
    def trained(self) -> list[Trained]:
        """What was ever registered, with the runs: by name and version, the newest last."""
        return trained_models(self.lake)

    @cached_property
    def _by_run(self) -> dict[tuple[str, int, str], Trained]:
        models = ((one.model, one) for one in self.trained)
        return {(m.name, m.version, m.mlflow_run_id): one for m, one in models}

    @cached_property
    def _by_number(self) -> dict[tuple[str, int], list[ModelVersion]]:
        return by_number(one.model for one in self.trained)

    def commits(self, table: str, table_id: str | None = None) -> TableCommits:
        """Return the commits of a table; with its identifier also of one that was dropped."""
        if (table, table_id) not in self._commits:
            commits = TableCommits(self.lake, table, table_id)
            self._commits[table, commits.table_id] = commits
            if commits.exists:
                self._commits[table, None] = commits
        return self._commits[table, table_id]

    def lineage(self, asked: str, direction: Direction, roots: Sequence[str]) -> Lineage:
        """Return all that was added, and what that was made from, as a graph."""
        while self._waiting:
            self._waiting.popleft()()
        made = {node_id: make() for node_id, make in self._nodes.items()}
        edges = tuple(Edge(made, source, role) for (made, source), role in self._edges.items())
        return Lineage(asked, direction, tuple(roots), made, edges)

    def existing(self, table: str, version: int | None = None) -> str:
        """Add a version (default: the newest) of a table that exists.

        Raises
        ------
        RunError
            A log entry is damaged.
        """
        commits = self.commits(table)
        return self.table(version_of(commits, commits.newest if version is None else version))

    def table(self, source: TableVersion) -> str:
        """Add a table version; others that have the same rows are the same node."""
        commits = self.commits(source.table, source.table_id)
        _, rows_version = source.content
        node_id = f"{source.table}@v{rows_version}"
        if not commits.exists:
            node_id += f" of {source.table_id[:_ID_DIGITS]}"
        self._read_as[node_id] = max(source.version, self._read_as.get(node_id, -1))
        if node_id not in self._nodes:
            found = _origin(commits, rows_version)
            self._nodes[node_id] = lambda: nodes.table_node(
                node_id, commits, rows_version, self._read_as[node_id], found
            )
            self._waiting.append(partial(self._expand, node_id, found))
        return node_id

    def model(self, model: ModelVersion) -> str:
        """Add a registered version of a model."""
        known = self._by_run[model.name, model.version, model.mlflow_run_id]
        node_id = nodes.model_id(model)
        self._nodes[node_id] = partial(nodes.model_node, known)
        self._edges[node_id, self.run(known)] = "training run"
        return node_id

    def run(self, trained: Trained) -> str:
        """Add the run that trained a model."""
        node_id = f"run {trained.model.mlflow_run_id}"
        self._nodes[node_id] = partial(nodes.run_node, trained)
        self._edges[node_id, self.table(trained.training_set)] = "input"
        return node_id

    def sinks(self) -> None:
        """Add all places outside of the lakehouse that get rows."""
        for known in deliveries(self.lake):
            node = nodes.sink_node(known)
            self._nodes[node.id] = partial(_same, node)
            self._connect(node.id, known.inputs)

    def _expand(self, node_id: str, found: Origin) -> None:
        self._connect(node_id, found.inputs)
        for file in found.files if self._files else ():
            node = nodes.file_node(file)
            self._nodes[node.id] = partial(_same, node)
            self._edges[node_id, node.id] = "landing file"
        if found.model is not None:
            self._edges[node_id, self._maker(found.model)] = "model"

    def _maker(self, made: MadeBy) -> str:
        run, at = made.mlflow_run_id, made.at
        meant = version_meant(self._by_number, made.name, made.version, run, at)
        if meant is not None:
            return self.model(meant)
        node_id = f"{made.name}@{made.version}"
        self._nodes[node_id] = partial(nodes.unknown_model_node, made.name, made.version)
        return node_id

    def _connect(self, node_id: str, inputs: Iterable[tuple[TableVersion, Role]]) -> None:
        for source, role in inputs:
            self._edges.setdefault((node_id, self.table(source)), role)


def _same(node: Node) -> Node:
    return node


def _origin(commits: TableCommits, version: int) -> Origin:
    try:
        return origin(commits, version)
    except RunError as error:
        return Origin(None, (), (), None, (str(error),))
