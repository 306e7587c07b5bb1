"""The parts of OpenLineage run events: jobs, runs, datasets and their facets.

They keep to the OpenLineage specification 2-0-2 (https://openlineage.io/spec/2-0-2/
OpenLineage.json).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sololakehouse import __version__
from sololakehouse.lake import Column
from sololakehouse.provenance import CommitRecord, ExpectationResult

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_PRODUCER = f"urn:sololakehouse:{__version__}"
_FACETS = {
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
    "documentation": "1-1-0/DocumentationJobFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "jobType": "2-0-3/JobTypeJobFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "parent": "1-1-0/ParentRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
    "symlinks": "1-0-1/SymlinksDatasetFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet",
}


@dataclass(frozen=True)
class Job:
    """What runs again and again: its name, its type, and what it says of itself."""

    name: str
    kind: str
    comment: str | None = None


def run_event(
    kind: str,
    at: datetime,
    run_id: uuid.UUID,
    run_facets: Mapping[str, Any],
    namespace: str,
    job: Job,
    *,
    inputs: Sequence[Mapping[str, Any]] = (),
    outputs: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return one event; `kind` is `START`, `COMPLETE`, `FAIL` or `ABORT`."""
    described = {
        "processingType": "BATCH",
        "integration": "SOLOLAKEHOUSE",
        "jobType": job.kind,
    }
    comment = facets(documentation={"description": job.comment}) if job.comment else {}
    return {
        "eventType": kind,
        "eventTime": at.isoformat(),
        "run": {"runId": str(run_id), "facets": dict(run_facets)},
        "job": {
            "namespace": namespace,
            "name": job.name,
            "facets": comment | facets(jobType=described),
        },
        "inputs": list(inputs),
        "outputs": list(outputs),
        "producer": _PRODUCER,
        "schemaURL": SPEC,
    }


def run_uuid(run_id: str, table: str | None = None) -> uuid.UUID:
    """Return the identifier of a command's run, or of its part that made a table."""
    root = uuid.uuid5(uuid.NAMESPACE_OID, f"sololakehouse:{run_id}")
    return root if table is None else uuid.uuid5(root, table)


def engine_facet(engine: str) -> dict[str, Any]:
    """Say what computed."""
    about = {"name": f"sololakehouse {engine}", "version": __version__}
    return facets(processing_engine=about)


def parent_facet(namespace: str, job: str, run_id: str) -> dict[str, Any]:
    """Say of which command's run a run is a part."""
    parent = {"namespace": namespace, "name": job}
    return facets(parent={"run": {"runId": str(run_uuid(run_id))}, "job": parent})


def table_dataset(
    namespace: str, table: str, folder: Path, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a table as a dataset: a folder that is also known by the table's name."""
    known_as = {"namespace": namespace, "name": table, "type": "TABLE"}
    symlinks = facets(symlinks={"identifiers": [known_as]})
    return {"namespace": "file", "name": str(folder), "facets": {**symlinks, **about}}


def content_facets(version: int, columns: Iterable[Column]) -> dict[str, Any]:
    """Say version and columns; nothing of columns that are not known."""
    fields = [{"name": column.name, "type": column.type} for column in columns]
    schema = facets(schema={"fields": fields}) if fields else {}
    return schema | facets(version={"datasetVersion": str(version)})


def checks_facet(record: CommitRecord | None) -> dict[str, Any]:
    """Say what came out of the expectations, if there were any."""
    checks = [_assertion(found) for found in record.expectations] if record else []
    return facets(dataQualityAssertions={"assertions": checks}) if checks else {}


def rows_facet(record: CommitRecord | None) -> dict[str, Any]:
    """Say how many rows were written."""
    return facets(outputStatistics={"rowCount": record.rows_written if record else 0})


def facets(**about: Mapping[str, Any]) -> dict[str, Any]:
    """Return facets by their names, each with its place in the specification."""
    return {
        name: {
            "_producer": _PRODUCER,
            "_schemaURL": f"https://openlineage.io/spec/facets/{_FACETS[name]}.json"
            f"#/$defs/{_FACETS[name].split('/')[1]}",
            **content,
        }
        for name, content in about.items()
    }


def _assertion(found: ExpectationResult) -> dict[str, Any]:
    return {
        "assertion": "custom_sql",
        "name": found.name,
        "success": found.violations == 0,
        "severity": "error" if found.action == "fail" else "warn",
        "content": found.condition,
        "contentType": "sql",
        "expected": "0",
        "actual": str(found.violations),
    }
