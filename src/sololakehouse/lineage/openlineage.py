"""A pipeline's run as OpenLineage events, to a file or to an HTTP endpoint.

A place that cannot be reached never fails a run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

from sololakehouse.config.openlineage import OpenLineageSettings
from sololakehouse.errors import ConfigError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.failures import one_line
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
from sololakehouse.pipelines.events import (
    Event,
    Listener,
    RunEnded,
    RunStarted,
    StepEnded,
    StepResult,
    StepStarted,
    unheard,
)
from sololakehouse.pipelines.plan import Step
from sololakehouse.provenance import Run, TableVersion

SECONDS_PER_EVENT = 5
_SECONDS_AT_THE_END = 10
_OF_RUN = {"completed": "COMPLETE", "failed": "FAIL", "stopped": "ABORT"}
_OF_STEP = {"computed": "COMPLETE", "failed": "FAIL", "stopped": "ABORT"}


class Destination(Protocol):
    """Takes events, and says when it is closed why some were not taken; None if all were."""

    def send(self, event: Mapping[str, Any]) -> None:
        """Take one event."""

    def close(self) -> str | None:
        """Finish; a bounded time is waited for what is on its way."""


@contextmanager
def open_lineage(
    lake: Lakehouse, run: Run, pipeline: str, warn: Callable[[str], None]
) -> Iterator[Listener]:
    """Give a listener that sends a run to where `lakehouse.yml` or the environment says, if any.

    `OPENLINEAGE_URL`, `OPENLINEAGE_ENDPOINT`, `OPENLINEAGE_API_KEY`, `OPENLINEAGE_NAMESPACE` and
    `OPENLINEAGE_DISABLED` mean what they mean to OpenLineage's own clients, and win over the file.

    Parameters
    ----------
    warn
        Takes one text if events could not be sent.
    """
    settings = effective_settings(lake.project.settings.openlineage, os.environ)
    if settings is None:
        yield unheard
        return
    namespace = settings.namespace or lake.project.settings.name
    destination = _destination(settings, lake.project.folder)
    try:
        yield _RunTold(lake, run, pipeline, namespace, destination)
    finally:
        problem = destination.close()
        if problem is not None:
            warn(f"OpenLineage events of this run are missing: {problem}. The run is not affected.")


def effective_settings(
    declared: OpenLineageSettings | None, environment: Mapping[str, str]
) -> OpenLineageSettings | None:
    """Return the settings with what the environment says; None if no events are wanted.

    Parameters
    ----------
    environment
        Of it `OPENLINEAGE_URL`, `_ENDPOINT` and `_NAMESPACE` go before the settings, and
        `OPENLINEAGE_DISABLED` before all.

    Raises
    ------
    ConfigError
        `OPENLINEAGE_URL` is no address of HTTP.

    Examples
    --------
    >>> effective_settings(None, {"OPENLINEAGE_URL": "http://localhost:5000"}).url
    'http://localhost:5000'
    """
    if environment.get("OPENLINEAGE_DISABLED", "").lower() in ("true", "1"):
        return None
    said: dict[str, Any] = declared.model_dump(exclude_none=True) if declared else {}
    if url := environment.get("OPENLINEAGE_URL"):
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"OPENLINEAGE_URL is {url!r}, and must begin with http:// or https://."
            )
        said = {**said, "url": url, "file": None}
    if not said:
        return None
    for key in ("endpoint", "namespace"):
        if value := environment.get(f"OPENLINEAGE_{key.upper()}"):
            said[key] = value
    return OpenLineageSettings(**said)


class _RunTold:
    """A listener that tells a pipeline and each computed table as runs of OpenLineage jobs."""

    def __init__(
        self, lake: Lakehouse, run: Run, pipeline: str, namespace: str, destination: Destination
    ) -> None:
        self._lake = lake
        self._run = run
        self._pipeline = pipeline
        self._namespace = namespace
        self._destination = destination

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._tell("START", event.at, None)
        elif isinstance(event, RunEnded):
            self._tell(_OF_RUN[event.state], event.at, None)
        elif isinstance(event, StepStarted) and not event.step.node.is_view:
            self._tell("START", event.at, event.step, **self._named(event.step))
        elif isinstance(event, StepEnded) and not event.result.step.node.is_view:
            self._tell_end(event.at, event.result)

    def _tell_end(self, at: datetime, result: StepResult) -> None:
        kind = _OF_STEP.get(result.state)
        snapshot = result.snapshot
        if kind is None:
            return
        if snapshot is None or snapshot.record is None:
            said = str(result.error) if result.error else result.reason
            error = facets(errorMessage={"message": said, "programmingLanguage": "PYTHON"})
            named = self._named(result.step)
            self._tell(kind, at, result.step, error if result.error else {}, **named)
            return
        inputs = [self._input(source) for source in snapshot.record.inputs]
        self._tell(kind, at, result.step, inputs=inputs, outputs=[self._output(snapshot)])

    def _tell(
        self,
        kind: str,
        at: datetime,
        step: Step | None,
        run_facets: Mapping[str, Any] | None = None,
        **datasets: Any,
    ) -> None:
        run = self._run
        if step is None:
            job = Job(self._pipeline, "PIPELINE")
            run_id, about = run_uuid(run.run_id), engine_facet(run.engine)
        else:
            job = Job(f"{self._pipeline}.{step.name}", "TABLE", step.node.declaration.comment)
            run_id, about = run_uuid(run.run_id, step.name), engine_facet(run.engine)
            about |= parent_facet(self._namespace, self._pipeline, run.run_id)
        about |= run_facets or {}
        self._destination.send(run_event(kind, at, run_id, about, self._namespace, job, **datasets))

    def _named(self, step: Step) -> dict[str, Any]:
        inputs = [self._dataset(table, {}) for table in step.tables]
        return {"inputs": inputs, "outputs": [self._dataset(step.name, {})]}

    def _dataset(self, table: str, about: Mapping[str, Any]) -> dict[str, Any]:
        return table_dataset(self._namespace, table, self._lake.path(table), about)

    def _input(self, source: TableVersion) -> dict[str, Any]:
        snapshot = self._lake.read(source.table, version=source.version)
        content = content_facets(snapshot.version, snapshot.fields)
        return self._dataset(source.table, content) | {"inputFacets": {}}

    def _output(self, snapshot: Snapshot) -> dict[str, Any]:
        record = snapshot.record
        content = content_facets(snapshot.version, snapshot.fields)
        return self._dataset(snapshot.name, content | checks_facet(record)) | {
            "outputFacets": rows_facet(record)
        }


def _destination(settings: OpenLineageSettings, folder: Path) -> Destination:
    if settings.file is not None:
        return _File(folder / settings.file)
    url = f"{str(settings.url).rstrip('/')}/{settings.endpoint.lstrip('/')}"
    return _Endpoint(url, os.environ.get("OPENLINEAGE_API_KEY"))


class _File:
    """Appends one JSON object per line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._problem: str | None = None

    def send(self, event: Mapping[str, Any]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(event) + "\n")
        except OSError as error:
            self._problem = f"{self._file} cannot be written: {error.strerror}"

    def close(self) -> str | None:
        return self._problem


class _Endpoint:
    """Posts events in a thread of its own; after the first that is not taken it sends no more."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._waiting: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self._problem: str | None = None
        self._thread = Thread(target=self._post_all, daemon=True)
        self._thread.start()

    def send(self, event: Mapping[str, Any]) -> None:
        self._waiting.put(event)

    def close(self) -> str | None:
        self._waiting.put(None)
        self._thread.join(_SECONDS_AT_THE_END)
        if self._thread.is_alive():
            return f"{self._url} takes them too slowly"
        return self._problem

    def _post_all(self) -> None:
        while (event := self._waiting.get()) is not None:
            if self._problem is not None:
                continue
            try:
                self._post(event)
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", error)
                self._problem = f"{self._url} does not take them: {one_line(reason)}"

    def _post(self, event: Mapping[str, Any]) -> None:
        import urllib.request
        from http.client import HTTPException

        body = json.dumps(event).encode()
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_PER_EVENT):
                pass
        except HTTPException as error:
            raise OSError(f"the answer is no HTTP ({type(error).__name__})") from error
