"""OpenLineage events: to a real file and to a real HTTP server, by `slh run`."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlparse

import pytest

from sololakehouse.errors import ConfigError
from sololakehouse.lineage.openlineage import _Endpoint, effective_settings
from sololakehouse.lineage.run_event import SPEC
from tests.cli.conftest import slh  # noqa: F401  (a fixture)
from tests.pipelines.test_schedule import BROKEN

CHECKED = """\
CREATE MATERIALIZED VIEW silver.checked (
  CONSTRAINT early EXPECT (id < 3),
  CONSTRAINT known EXPECT (shop IS NOT NULL) ON VIOLATION FAIL UPDATE
) COMMENT 'Checked sales' AS SELECT id, shop FROM bronze.sales;
CREATE TEMPORARY VIEW seen AS SELECT * FROM silver.checked;
CREATE MATERIALIZED VIEW gold.shops AS SELECT DISTINCT shop FROM seen;
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("URL", "ENDPOINT", "API_KEY", "NAMESPACE", "DISABLED"):
        monkeypatch.delenv(f"OPENLINEAGE_{name}", raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def project(sales):
    sales.write("transformations/tables.sql", CHECKED)
    return sales


def configured(project, text: str) -> None:
    config = (project.folder / "lakehouse.yml").read_text()
    project.write("lakehouse.yml", f"{config}openlineage: {text}\n")


def events_in(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def check_event(event: dict) -> None:
    """The event has what the specification 2-0-2 asks for, and nothing that it does not know."""
    datetime.fromisoformat(event["eventTime"])
    uuid.UUID(event["run"]["runId"])
    assert event["schemaURL"] == SPEC
    assert urlparse(event["producer"]).scheme
    assert event.keys() == {
        *("eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL")
    }
    assert event["eventType"] in ("START", "COMPLETE", "FAIL", "ABORT")
    facets = [event["run"]["facets"], event["job"]["facets"]]
    for side in ("inputs", "outputs"):
        for dataset in event[side]:
            assert dataset["namespace"] == "file"
            assert dataset["name"].startswith("/")
            own = dataset.get(f"{side[:-1]}Facets", {})
            assert dataset.keys() <= {"namespace", "name", "facets", f"{side[:-1]}Facets"}
            facets += [dataset["facets"], own]
    for found in facets:
        for facet in found.values():
            assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
            assert facet["_producer"] == event["producer"]


def by_job(events: list[dict]) -> dict[tuple[str, str], dict]:
    return {(event["job"]["name"], event["eventType"]): event for event in events}


def test_a_run_in_a_file(project, slh):  # noqa: F811
    configured(project, "{file: logs/lineage.jsonl}")
    assert slh("run", folder=project.folder).err == ""
    events = events_in(project.folder / "logs/lineage.jsonl")
    for event in events:
        check_event(event)
    found = by_job(events)
    tables = ("test.silver.checked", "test.gold.shops")
    assert set(found) == {(n, t) for n in ("test", *tables) for t in ("START", "COMPLETE")}
    assert {event["job"]["namespace"] for event in events} == {"test"}
    done = found["test.silver.checked", "COMPLETE"]
    assert done["run"]["facets"]["parent"]["run"] == {
        "runId": found["test", "START"]["run"]["runId"]
    }
    assert done["run"]["runId"] == found["test.silver.checked", "START"]["run"]["runId"]
    assert done["job"]["facets"]["documentation"]["description"] == "Checked sales"
    (source,), (target,) = done["inputs"], done["outputs"]
    assert source["name"] == str(project.lake.path("bronze.sales"))
    assert source["facets"]["version"]["datasetVersion"] == "1"
    assert target["facets"]["schema"]["fields"] == [
        {"name": "id", "type": "bigint"},
        {"name": "shop", "type": "string"},
    ]
    assert target["facets"]["symlinks"]["identifiers"][0]["name"] == "silver.checked"
    assert target["outputFacets"]["outputStatistics"]["rowCount"] == 3
    checks = target["facets"]["dataQualityAssertions"]["assertions"]
    assert [(c["name"], c["success"], c["severity"], c["actual"]) for c in checks] == [
        ("early", False, "warn", "1"),
        ("known", True, "error", "0"),
    ]
    assert [d["name"] for d in found["test.gold.shops", "COMPLETE"]["inputs"]] == [target["name"]]


def test_nothing_is_told_of_tables_that_were_left_alone(project, slh):  # noqa: F811
    slh("run", folder=project.folder)
    configured(project, "{file: lineage.jsonl, namespace: shops}")
    slh("run", folder=project.folder)
    events = events_in(project.folder / "lineage.jsonl")
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    assert {event["job"]["namespace"] for event in events} == {"shops"}


def test_a_failure_has_its_message(project, slh):  # noqa: F811
    project.write("transformations/tables.sql", BROKEN)
    configured(project, "{file: lineage.jsonl}")
    assert slh("run", folder=project.folder).code == 1
    events = events_in(project.folder / "lineage.jsonl")
    for event in events:
        check_event(event)
    found = by_job(events)
    failed = found["test.silver.broken", "FAIL"]
    assert "Cannot cast string" in failed["run"]["facets"]["errorMessage"]["message"]
    assert [d["name"] for d in failed["outputs"]] == [str(project.lake.path("silver.broken"))]
    assert ("test", "FAIL") in found
    assert not any(job == "test.gold.behind" for job, _ in found)


class _Server(HTTPServer):
    """Keeps what is posted, and answers with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.posted: list[tuple[str, dict[str, str], dict]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(status: int = 201) -> Iterator[tuple[_Server, str]]:
    server = _Server(status)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_run_at_an_endpoint(project, slh, monkeypatch):  # noqa: F811
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    with serving() as (server, url):
        configured(project, f"{{url: '{url}/'}}")
        said = slh("run", folder=project.folder)
    assert (said.code, said.err) == (0, "")
    assert {path for path, _, _ in server.posted} == {"/api/v1/lineage"}
    assert {headers["Authorization"] for _, headers, _ in server.posted} == {"Bearer secret"}
    events = [event for _, _, event in server.posted]
    for event in events:
        check_event(event)
    assert len(events) == 6
    assert [events[0]["eventType"], events[-1]["eventType"]] == ["START", "COMPLETE"]


def test_the_environment_names_the_endpoint(project, slh, monkeypatch):  # noqa: F811
    configured(project, "{file: lineage.jsonl}")
    with serving() as (server, url):
        monkeypatch.setenv("OPENLINEAGE_URL", url)
        monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "lineage")
        monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "mine")
        slh("run", folder=project.folder)
        assert {path for path, _, _ in server.posted} == {"/lineage"}
        assert {event["job"]["namespace"] for _, _, event in server.posted} == {"mine"}
        assert not (project.folder / "lineage.jsonl").exists()
        count = len(server.posted)
        monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
        slh("run", folder=project.folder)
        assert len(server.posted) == count


def test_an_endpoint_that_speaks_no_http_is_one_warning():
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = _Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}", None)
        endpoint.send({"eventType": "START"})
        caller, _ = server.accept()
        with caller:
            caller.recv(1024)
            caller.sendall(b"no HTTP\r\n\r\n")
        assert endpoint.close().endswith("the answer is no HTTP (BadStatusLine)")


@pytest.mark.parametrize("trouble", ["refuses", "nobody is there", "no such folder"])
def test_a_place_that_takes_no_events_is_one_warning(project, slh, trouble):  # noqa: F811
    with serving(status=500) as (server, url):
        if trouble == "refuses":
            configured(project, f"{{url: '{url}'}}")
        else:
            project.write("taken", "a file")
            where = (
                "file: taken/l.jsonl" if trouble == "no such folder" else "url: http://127.0.0.1:9"
            )
            configured(project, f"{{{where}}}")
        said = slh("run", folder=project.folder)
    assert said.code == 0
    assert said.err.count("\n") == 1
    assert said.err.startswith("Warning: OpenLineage events of this run are missing: ")
    assert said.err.endswith(". The run is not affected.\n")
    assert len(server.posted) == (1 if trouble == "refuses" else 0)
    assert project.versions()["gold.shops"] == 1


MISTAKES = {
    "{}": "openlineage: openlineage needs either a 'file' or a 'url'",
    "{file: a, url: 'http://b'}": "openlineage: openlineage needs either a 'file' or a 'url'",
    "{url: localhost}": "openlineage.url: String should match pattern",
    "{fil: a}": "unknown key 'openlineage.fil'. Did you mean 'file'?",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_settings(project, text):
    configured(project, text)
    with pytest.raises(ConfigError) as error:
        _ = project.lake
    assert MISTAKES[text] in str(error.value)


def test_a_mistake_in_the_environment():
    with pytest.raises(ConfigError, match="must begin with http"):
        effective_settings(None, {"OPENLINEAGE_URL": "localhost:5000"})
    assert effective_settings(None, {}) is None
