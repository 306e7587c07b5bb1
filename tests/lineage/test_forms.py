"""The graph as a tree, as JSON, as a diagram and as OpenLineage events."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest

from sololakehouse.lake.restore import restore
from sololakehouse.lineage.as_json import lineage_json
from sololakehouse.lineage.drawing import diagram
from sololakehouse.lineage.events import lineage_events
from sololakehouse.lineage.impact import impact
from sololakehouse.lineage.run_event import run_uuid
from sololakehouse.lineage.tree import tree
from tests.lineage.test_impact import deliver
from tests.test_openlineage import check_event


@pytest.fixture
def woven(lake):
    """Give a lake where gold.t is made of two tables that are made of one with two files."""
    bronze = lake.ingest("bronze.t", "landing/t/1.csv", "landing/t/2.csv")
    one = lake.commit("silver.one", bronze)
    two = lake.commit("silver.two", bronze, deterministic=False)
    lake.commit("gold.t", one, two)
    return lake


def test_a_tree_expands_each_node_where_it_comes_first(woven):
    lines = tree(woven.trace("gold.t"))
    assert [line.cells()["node"] for line in lines] == [
        "gold.t@v1",
        "├─ silver.one@v1",
        "│  └─ bronze.t@v1",
        "│     ├─ landing/t/1.csv",
        "│     └─ landing/t/2.csv",
        "└─ silver.two@v1",
        "   └─ bronze.t@v1 (above)",
    ]


def test_a_tree_goes_up_from_what_is_asked(woven):
    lines = tree(impact(woven.lake, "bronze.t").lineage)
    assert [line.text for line in lines] == [
        "bronze.t@v1",
        "├─ silver.one@v1",
        "│  └─ gold.t@v1",
        "└─ silver.two@v1",
        "   └─ gold.t@v1",
    ]
    assert [line.again for line in lines] == [False, False, False, False, True]


def test_a_line_says_all_that_matters_of_its_node(woven):
    top, *_, two, again = tree(woven.trace("gold.t"))
    record = woven.lake.read("gold.t").record
    at = woven.lake.read("gold.t").commit.timestamp
    assert top.cells() == {
        "node": "gold.t@v1",
        "kind": "materialized view",
        "rows": "1",
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "code revision": "",
        "fingerprint": record.fingerprint,
        "notes": "",
    }
    assert two.cells()["notes"] == "not deterministic"
    assert again.cells() == dict.fromkeys(top.cells(), "") | {"node": "   └─ bronze.t@v1 (above)"}
    assert top.cells(12)["fingerprint"] == record.fingerprint[:12]
    file = next(line for line in tree(woven.trace("gold.t")) if line.node.kind == "landing file")
    assert file.cells()["fingerprint"] == f"sha256:{'a' * 64}"
    assert file.cells(12)["fingerprint"] == f"sha256:{'a' * 12}"


def test_json_has_each_node_once_with_what_it_was_made_from(woven):
    found = json.loads(json.dumps(lineage_json(woven.trace("gold.t")), default=str))
    assert (found["asked"], found["direction"]) == ("gold.t", "made from")
    assert found["roots"] == ["gold.t@v1"]
    nodes = {node["id"]: node for node in found["nodes"]}
    assert len(nodes) == len(found["nodes"]) == 6
    top = nodes["gold.t@v1"]
    assert top["made from"] == [
        {"id": "silver.one@v1", "as": "input"},
        {"id": "silver.two@v1", "as": "input"},
    ]
    assert (top["table"], top["version"], top["rows"]) == ("gold.t", 1, 1)
    assert top["record"]["fingerprint"] == top["fingerprint"]
    assert nodes[f"landing/t/1.csv#{'a' * 64}"]["sha256"] == "a" * 64
    assert found["not deterministic"] == ["silver.two@v1"]


def test_files_of_the_same_table_are_one_box(woven):
    drawn = diagram(woven.trace("gold.t"))
    boxes = {box.lines[0]: box for box in drawn.boxes}
    assert set(boxes) == {
        "landing/t/ (2 files)",
        "bronze.t@v1",
        "silver.one@v1",
        "silver.two@v1",
        "gold.t@v1",
    }
    files = boxes["landing/t/ (2 files)"]
    assert files.lines[1:] == (f"1.csv {'a' * 12}", f"2.csv {'a' * 12}")
    arrows = {(arrow.start, arrow.end) for arrow in drawn.arrows}
    assert (files.id, "bronze.t@v1") in arrows
    assert len(arrows) == len(drawn.arrows) == 5
    assert [box.id for box in drawn.boxes if box.marked] == ["gold.t@v1"]
    assert {box.kind for box in drawn.boxes} == {"landing file", "bronze", "silver", "gold"}


def test_many_files_are_counted_and_one_file_is_named(lake):
    lake.ingest("bronze.many", *(f"landing/{number:03}.csv" for number in range(40)))
    lake.ingest("bronze.one", "landing/one/1.csv")
    many = diagram(lake.trace("bronze.many")).boxes[-1]
    assert (many.lines[0], many.lines[-1]) == ("landing/ (40 files)", "and 28 more")
    assert diagram(lake.trace("bronze.one")).boxes[-1].lines == (f"landing/one/1.csv {'a' * 12}",)


def test_what_is_no_plain_input_is_dashed_and_named(lake):
    lake.commit("gold.t", lake.commit("other.t"))
    lake.commit("gold.t", rows=[2])
    restore(lake.writer(), "gold.t", 1)
    drawn = diagram(lake.trace("gold.t"))
    labels = {(arrow.label, arrow.dashed) for arrow in drawn.arrows}
    assert labels == {("restored", True), ("", False)}
    assert {box.kind for box in drawn.boxes} == {"gold", "table"}


def test_events_tell_each_commit_in_the_order_of_time(woven, monkeypatch):
    monkeypatch.delenv("OPENLINEAGE_NAMESPACE", raising=False)
    events = lineage_events(woven.lake, woven.trace("gold.t"))
    for event in events:
        check_event(event)
    assert [event["job"]["name"] for event in events] == [
        "ingest.bronze.t",
        "materialized_view.silver.one",
        "materialized_view.silver.two",
        "materialized_view.gold.t",
    ]
    assert {event["eventType"] for event in events} == {"COMPLETE"}
    assert {event["job"]["namespace"] for event in events} == {"shop"}
    first, *_, last = events
    assert [one["name"] for one in first["inputs"]] == [
        str(woven.folder / f"landing/t/{number}.csv") for number in (1, 2)
    ]
    version = first["inputs"][0]["facets"]["version"]
    assert version["datasetVersion"] == f"sha256:{'a' * 64}"
    (output,) = last["outputs"]
    assert output["name"] == str(woven.lake.path("gold.t"))
    assert output["facets"]["schema"]["fields"] == [
        {"name": "id", "type": "bigint"},
        {"name": "name", "type": "string"},
    ]
    assert output["facets"]["version"]["datasetVersion"] == "1"
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 1
    assert len(last["inputs"]) == 2
    record = woven.lake.read("gold.t").record
    assert uuid.UUID(last["run"]["runId"]) == run_uuid(record.run_id, "gold.t")


def test_events_of_another_namespace(woven, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "mine")
    events = lineage_events(woven.lake, woven.trace("bronze.t"))
    assert {event["job"]["namespace"] for event in events} == {"mine"}


def test_a_sink_s_event_has_its_folder_and_a_console_none_of_its_own(lake):
    bronze = lake.commit("bronze.t")
    deliver(lake, "out", bronze, "/data/out")
    deliver(lake, "screen", bronze, None)
    events = lineage_events(lake.lake, impact(lake.lake, "bronze.t").lineage)
    outputs = {event["job"]["name"]: event["outputs"][0]["name"] for event in events}
    assert outputs["sink.out"] == "/data/out"
    assert outputs["sink.screen"] == "sink screen"


def test_moments_are_written_to_the_second(lake):
    lake.commit("gold.t")
    node = lake.trace("gold.t").nodes["gold.t@v1"]
    assert node.at.tzinfo == UTC
    line = diagram(lake.trace("gold.t")).boxes[0].lines[2]
    assert datetime.fromisoformat(line) == node.at.replace(microsecond=0)
