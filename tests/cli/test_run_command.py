"""`slh run`: what it prints for people and for scripts, and what it leaves behind."""

from __future__ import annotations

import io
import json
import re
from contextlib import contextmanager

import pytest
from rich.console import Console

from sololakehouse.cli import run_view as shown
from tests.pipelines.test_schedule import BROKEN

MENDED = BROKEN.replace("CAST(shop AS INT)", "id")


@pytest.fixture
def shop(sales):
    sales.write("transformations/tables.sql", MENDED)
    return sales


def events_of(said) -> list[dict]:
    return [json.loads(line) for line in said.out.splitlines()]


def test_json_is_one_event_per_line(slh, shop):
    said = slh("run", "--json", "--parallel", "1", folder=shop.folder)
    events = events_of(said)
    assert (said.code, said.err) == (0, "")
    assert (events[0]["event"], events[0]["at_once"]) == ("run_started", 1)
    assert {step["table"]: step["state"] for step in events[0]["steps"]}["silver.good"] == "run"
    of_step = [event for event in events if event.get("step") == "silver.broken"]
    assert [event["event"] for event in of_step] == ["step_started", "step_finished"]
    wanted = ("state", "reason", "version", "rows", "rows_written", "expectations")
    assert [of_step[1][key] for key in wanted] == ["computed", "new table", 1, 3, 3, []]
    assert of_step[1]["seconds"] > 0
    last = events[-1]
    assert (last["event"], last["state"]) == ("run_finished", "completed")
    assert {row["table"]: row["rows"] for row in last["tables"]} == {
        "silver.good": 3,
        "silver.broken": 3,
        "gold.behind": 3,
        "gold.last": 3,
        "gold.beside": 1,
    }
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_json_of_a_failed_run(slh, shop):
    shop.write("transformations/tables.sql", BROKEN)
    said = slh("run", "--json", folder=shop.folder)
    events = {(event["event"], event.get("step")): event for event in events_of(said)}
    failed = events["step_failed", "silver.broken"]
    assert failed["place"] == "transformations/tables.sql:2"
    assert "Cannot cast string" in failed["error"]
    assert events["step_skipped", "gold.last"]["causes"] == ["silver.broken"]
    assert events["run_finished", None]["state"] == "failed"
    assert said.code == 1
    assert said.err.startswith("Error: silver.broken (transformations/tables.sql:2): ")


def test_what_was_not_selected_has_no_event_of_its_own(slh, shop):
    slh("run", folder=shop.folder)
    said = slh("run", "--json", "--full-refresh", "silver.good", folder=shop.folder)
    steps = {event["step"] for event in events_of(said) if "step" in event}
    assert steps == {"silver.good", "seen"}


def test_without_a_terminal_each_step_is_a_line(slh, shop):
    said = slh("run", "--parallel", "2", folder=shop.folder)
    lines = said.out.splitlines()
    assert sorted(line.split()[0] for line in lines[:-1]) == [
        "gold.behind",
        "gold.beside",
        "gold.last",
        "silver.broken",
        "silver.good",
    ]
    assert all(line.split()[1:4:2] == ["computed", "rows"] for line in lines[:-1])
    assert lines[-1] == "5 tables: 5 computed."
    again = slh("run", folder=shop.folder).out.splitlines()
    assert again[-1] == "5 tables: 5 up to date."


def test_a_failed_run_says_what_was_skipped_and_what_to_do(slh, shop):
    shop.write("transformations/tables.sql", BROKEN)
    said = slh("run", folder=shop.folder)
    states = {line.split()[0]: line.split()[1] for line in said.out.splitlines()[:-1]}
    assert states == {
        "silver.good": "computed",
        "gold.beside": "computed",
        "silver.broken": "failed",
        "gold.behind": "skipped",
        "gold.last": "skipped",
    }
    assert said.code == 1
    assert said.err.splitlines()[1:] == [
        "Skipped, because they depend on it: seen, gold.behind, gold.last.",
        "2 other tables were computed and committed. Once this is mended, 'slh run' goes on from "
        "there.",
    ]
    sql = "SELECT step, state, rows, reason FROM system.steps WHERE step LIKE '%.%' ORDER BY step"
    steps = json.loads(slh("query", sql, "--json", folder=shop.folder).out)
    assert {row["step"]: row["state"] for row in steps if row["step"] != "bronze.sales"} == {
        "silver.good": "COMPLETED",
        "gold.beside": "COMPLETED",
        "silver.broken": "FAILED",
        "gold.behind": "SKIPPED",
        "gold.last": "SKIPPED",
    }
    reasons = {row["step"]: row["reason"] for row in steps}
    assert reasons["gold.last"] == "silver.broken failed"
    assert "Cannot cast string" in reasons["silver.broken"]
    (run,) = json.loads(slh("query", "SELECT * FROM system.runs", "--json", folder=shop.folder).out)
    assert (run["status"], run["commits"]) == ("FAILED", 2)


@contextmanager
def terminal(monkeypatch, height: int = 40):
    """Let the commands think that they write to a terminal of so many lines."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=height, highlight=False)
    monkeypatch.setattr(shown, "console", lambda: console)
    yield screen


def test_a_terminal_shows_a_tree_by_schema(slh, shop, monkeypatch):
    shop.write("transformations/tables.sql", BROKEN)
    with terminal(monkeypatch) as screen:
        slh("run", folder=shop.folder)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    frame = re.split(r"silver {2,}", plain)[-1]
    lines = [line.split() for line in frame.splitlines() if line[:2] in ("├─", "└─")]
    assert {line[1]: line[2] for line in lines} == {
        "good": "computed",
        "broken": "failed",
        "beside": "computed",
        "behind": "skipped",
        "last": "skipped",
    }
    assert "silver.broken failed" in frame
    assert "of 5 done" not in frame


def test_a_low_terminal_shows_what_needs_attention(shop, monkeypatch):
    from sololakehouse.pipelines.events import RunStarted, StepStarted
    from sololakehouse.pipelines.run import prepare

    with terminal(monkeypatch, height=5) as screen, prepare(shop.lake) as pipeline:
        tree = shown._RunTree(transient=False)
        moment = shop.writer().run.started_at
        tree(RunStarted(moment, "r", pipeline.steps, 2))
        tree(StepStarted(moment, pipeline.steps[0]))
        shown.console().print(tree._drawn())
        text = screen.getvalue()
    assert pipeline.steps[0].name.split(".")[1] in text
    assert "0 of 5 done, 1 running" in text
    assert "last" not in text


def test_a_closed_pipe_does_not_stop_the_run(slh_process, shop):
    import subprocess
    import sys

    command = f"{sys.executable} -m sololakehouse run --json | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=shop.folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert shop.versions()["gold.last"] == 1


def test_the_number_of_steps_at_once_comes_from_the_project(slh, shop):
    config = (shop.folder / "lakehouse.yml").read_text()
    shop.write("lakehouse.yml", config + "parallel_steps: 3\n")
    said = slh("run", "--json", folder=shop.folder)
    assert events_of(said)[0]["at_once"] == 3
    said = slh("run", "--json", "--parallel", "4", folder=shop.folder)
    assert events_of(said)[0]["at_once"] == 4
    shop.write("lakehouse.yml", config + "parallel_steps: 0\n")
    assert "parallel_steps: Input should be greater than" in slh("run", folder=shop.folder).err
    assert slh("run", "--parallel", "0", folder=shop.folder).code == 2


def explained(slh, project, *arguments: str) -> dict[str, dict]:
    said = slh("run", "--explain", *arguments, "--json", folder=project.folder)
    assert said.code == 0, said.err
    return {row["table"]: row for row in json.loads(said.out)}


def test_explain_says_what_each_table_reads_and_commits_nothing(slh, shop):
    before = shop.versions()
    found = explained(slh, shop)
    assert shop.versions() == before
    good = found["silver.good"]
    assert (good["state"], good["reason"], good["version"]) == ("run", "new table", None)
    assert good["place"] == "transformations/tables.sql:1"
    assert good["reads"] == [
        {
            "table": "bronze.sales",
            "version": 1,
            "version_before": None,
            "is_stream": False,
            "is_computed": False,
        }
    ]
    assert found["gold.behind"]["reads"][0]["is_computed"]
    assert good["query_plan"] is None


CHANGES = {
    "query": (MENDED.replace("id, shop FROM", "id FROM"), ["its query"]),
    "expectation": (
        MENDED.replace("good AS", "good (CONSTRAINT ok EXPECT (id > 0)) AS"),
        ["the expectation 'ok', which is new"],
    ),
    "property": (
        MENDED.replace("good AS", "good TBLPROPERTIES ('a' = 'b') AS"),
        ["the table property 'a'"],
    ),
    "input": (
        MENDED.replace("id, shop FROM bronze.sales", "id, n AS shop FROM silver.more"),
        ["its query", "silver.more, which it did not read", "bronze.sales, which it reads no more"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_explain_says_what_changed(slh, shop, change):
    text, changes = CHANGES[change]
    more = "CREATE MATERIALIZED VIEW silver.more AS SELECT id, shop AS n FROM bronze.sales"
    shop.write("transformations/more.sql", more)
    slh("run", folder=shop.folder)
    assert explained(slh, shop)["silver.good"]["changes"] == []
    shop.write("transformations/tables.sql", text)
    found = explained(slh, shop)
    assert found["silver.good"]["state"] == "run"
    assert found["silver.good"]["changes"] == changes
    assert found["gold.beside"]["changes"] == ["silver.good, which is computed first"]


def test_explain_shows_the_plan_of_a_table_that_is_up_to_date(slh, shop):
    shop.write("transformations/tables.sql", MENDED)
    statements = [
        "CREATE TEMPORARY VIEW known AS SELECT id FROM silver.good WHERE id IS NOT NULL",
        "CREATE TEMPORARY VIEW both AS SELECT id FROM known WHERE id > 0",
        "CREATE MATERIALIZED VIEW gold.both AS SELECT id FROM both",
    ]
    shop.write("transformations/views.sql", ";\n".join(statements))
    slh("run", folder=shop.folder)
    found = explained(slh, shop, "--select", "gold.both")
    assert {name: row["state"] for name, row in found.items()} == {
        "gold.both": "up to date",
        "both": "view",
        "known": "view",
    }
    for row in found.values():
        assert "Plan" in row["query_plan"]
        assert "gives no plan" not in row["query_plan"]
    assert "warehouse/silver/good/" in found["gold.both"]["query_plan"]


def test_explain_tells_versions_streams_and_the_plan(slh, shop):
    shop.write(
        "transformations/stream.sql",
        "CREATE STREAMING TABLE silver.events AS SELECT id FROM STREAM(bronze.sales)",
    )
    slh("run", folder=shop.folder)
    shop.write("landing/2.csv", "id,shop,sold_at,amount\n4,east,2026-02-01T00:00:00Z,1\n")
    shop.ingest()
    found = explained(slh, shop)
    assert found["silver.good"]["changes"] == ["bronze.sales, from v1 to v2"]
    (stream,) = found["silver.events"]["reads"]
    assert (stream["is_stream"], stream["version_before"], stream["version"]) == (True, 1, 2)
    said = slh("run", "--explain", "--select", "silver.*", folder=shop.folder).out
    assert "silver.good: run (bronze.sales has a new version)" in said
    assert "  reads bronze.sales v2, was v1" in said
    assert "  reads the rows of bronze.sales after v1, up to v2" in said
    assert "The engine's plan of silver.good\n== Physical Plan ==" in said
    assert "gold.last" not in said
