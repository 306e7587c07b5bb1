"""The lineage graph as OpenLineage events: one for each commit, and one for each training run.

Commits of a pipeline's tables have the job and run identifiers of the events that `slh run` sends.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Any

from sololakehouse.errors import ConfigError, RunError
from sololakehouse.lake import Column, Lakehouse
from sololakehouse.lake.row_history import TableCommits
from sololakehouse.lineage.graph import (
    FileNode,
    Lineage,
    ModelNode,
    Node,
    RunNode,
    SinkNode,
    TableNode,
)
from sololakehouse.lineage.run_event import (
    Job,
    checks_facet,
    content_facets,
    engine_facet,
    facets,
    parent_facet,
    rows_facet,
    run_event,
    run_uuid,
    table_dataset,
)
from sololakehouse.pipelines.spec import find_spec
from sololakehouse.provenance import CommitRecord

_DATASETS = ("landing file", "table", "model", "sink")


def lineage_events(lake: Lakehouse, lineage: Lineage) -> list[dict[str, Any]]:
    """Return an event of type `COMPLETE` for all that ran, in the order of time.

    Commits of other writers are in no event: it is not known what ran.
    """
    told = _Told(lake, lineage)
    events = [event for node in lineage.nodes.values() for event in told.events(node)]
    return sorted(events, key=lambda event: str(event["eventTime"]))


class _Told:
    """Tells the nodes of one graph."""

    def __init__(self, lake: Lakehouse, lineage: Lineage) -> None:
        settings = lake.project.settings
        declared = settings.openlineage.namespace if settings.openlineage else None
        self._namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or declared or settings.name
        self._lake = lake
        self._lineage = lineage
        self._pipeline = _pipeline(lake)

    @cached_property
    def _datasets(self) -> dict[str, dict[str, Any]]:
        nodes = self._lineage.nodes.items()
        return {node_id: self._dataset(node) for node_id, node in nodes if node.kind in _DATASETS}

    def events(self, node: Node) -> Iterator[dict[str, Any]]:
        """Give the event of what made a node, if something ran that is known."""
        if node.at is None:
            return
        if isinstance(node, TableNode) and node.record is not None:
            yield self._of_commit(node, node.at, node.table, node.record)
        elif isinstance(node, SinkNode):
            yield self._of_commit(node, node.at, node.sink, node.record)
        elif isinstance(node, RunNode):
            job = Job(f"train.{node.experiment}.{node.role}", "TRAINING")
            models = [edge.made for edge in self._lineage.built[node.id]]
            made = [self._datasets[model] | {"outputFacets": {}} for model in models]
            yield self._event(node, node.at, _mlflow_uuid(node.mlflow_run_id), {}, job, made)

    def _of_commit(
        self, node: Node, at: datetime, name: str, record: CommitRecord
    ) -> dict[str, Any]:
        about = engine_facet(record.engine)
        kind, comment = record.operation.replace(" ", "_"), record.details.get("comment")
        job = Job(f"{kind.lower()}.{name}", kind, comment)
        if "definition" in record.details and record.restored_version is None:
            job = Job(f"{self._pipeline}.{name}", "TABLE", comment)
            about |= parent_facet(self._namespace, self._pipeline, record.run_id)
        dataset = self._datasets[node.id]
        output = {
            **dataset,
            "facets": dataset["facets"] | checks_facet(record),
            "outputFacets": rows_facet(record),
        }
        return self._event(node, at, run_uuid(record.run_id, name), about, job, [output])

    def _event(
        self,
        node: Node,
        at: datetime,
        run_id: uuid.UUID,
        about: dict[str, Any],
        job: Job,
        outputs: list[dict[str, Any]],
    ) -> dict[str, Any]:
        sources = (self._datasets[edge.source] for edge in self._lineage.sources[node.id])
        inputs = [source | {"inputFacets": {}} for source in sources]
        return run_event(
            "COMPLETE", at, run_id, about, self._namespace, job, inputs=inputs, outputs=outputs
        )

    def _dataset(self, node: Node) -> dict[str, Any]:
        if isinstance(node, TableNode):
            content = content_facets(node.version, _columns(self._lake, node))
            folder = self._lake.path(node.table)
            return table_dataset(self._namespace, node.table, folder, content)
        if isinstance(node, FileNode):
            version = facets(version={"datasetVersion": f"sha256:{node.sha256}"})
            place = self._lake.project.folder / node.path
            return {"namespace": "file", "name": str(place), "facets": version}
        if isinstance(node, ModelNode):
            version = facets(version={"datasetVersion": str(node.version)})
            name = f"models:/{node.name}/{node.version}"
            return {"namespace": self._namespace, "name": name, "facets": version}
        if isinstance(node, SinkNode) and node.path is not None:
            return {"namespace": "file", "name": node.path, "facets": {}}
        return {"namespace": self._namespace, "name": node.title, "facets": {}}


def _columns(lake: Lakehouse, node: TableNode) -> tuple[Column, ...]:
    try:
        return TableCommits(lake, node.table, node.table_id).columns(node.version)
    except RunError:
        return ()


def _mlflow_uuid(run_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(hex=run_id)
    except ValueError:
        return run_uuid(run_id)


def _pipeline(lake: Lakehouse) -> str:
    try:
        return find_spec(lake.project)[1].name
    except ConfigError:
        return lake.project.settings.name
