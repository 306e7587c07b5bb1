"""The guide on scheduling: what cron, GitHub Actions and Dagster are told is true."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sololakehouse.cli import slh
from tests.docs.pages import DOCS, ROOT, read_page
from tests.docs.projects import copy_project

PAGE = read_page(DOCS / "guides" / "scheduling.md")
DAGSTER = ROOT / ".venv-dagster" / "bin" / "python"
MATERIALIZE = """
import json
import dagster as dg
import definitions as ours

done = dg.materialize([ours.landing, ours.pipeline, ours.predictions, ours.no_drift])
(check,) = done.get_asset_check_evaluations()
graph = ours.defs.resolve_asset_graph()
print(json.dumps({
    "success": done.success,
    "assets": sorted(key.to_user_string() for key in graph.get_all_asset_keys()),
    "materialized": sorted(
        event.materialization.asset_key.to_user_string()
        for event in done.get_asset_materialization_events()
    ),
    "route_delay": sorted(
        key.to_user_string()
        for key in graph.get(dg.AssetKey(["features", "route_delay"])).parent_keys
    ),
    "passed": check.passed,
    "alarms": check.metadata["alarms"].value,
}))
"""


def contents(language: str) -> list[str]:
    return [block.content for block in PAGE.blocks if block.language == language]


def cron_lines() -> list[str]:
    lines = [line for text in contents("text") for line in text.splitlines()]
    return [line.split("  ", 1)[1] for line in lines if line.startswith("15 6 * * *")]


@pytest.mark.parametrize(
    ("line", "code", "printed"),
    [
        (0, 0, ""),
        (0, 1, "the log"),
        (0, 3, "the log"),
        (1, 0, ""),
        (1, 1, "the log"),
        (1, 2, "the log"),
        (1, 3, "drift: see drift.html"),
    ],
)
def test_cron_sends_a_mail_for_a_failure_and_for_drift_alone(tmp_path, line, code, printed):
    (tmp_path / "nightly.sh").write_text(f"echo the log; exit {code}\n")
    command = cron_lines()[line].replace("/srv/flights", str(tmp_path))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (printed, "")
    assert "%" not in command  # cron would take it for the end of the line


def test_the_workflows_are_whole_and_call_commands_that_exist():
    flows = [yaml.safe_load(text) for text in contents("yaml")]
    assert [flow["name"] for flow in flows] == ["check", "nightly"]
    # YAML takes the key `on` for true.
    assert flows[1][True]["schedule"] == [{"cron": "17 4 * * *"}]
    steps = [step for flow in flows for job in flow["jobs"].values() for step in job["steps"]]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    called = re.findall(r"\bslh (\w+)", "\n".join(step.get("run", "") for step in steps))
    assert {"ingest", "run", "replay", "score", "drift"} == set(called) <= set(slh.commands)


@pytest.mark.parametrize(("code", "ended"), [(0, 0), (1, 1), (3, 0)])
def test_an_alarm_is_a_warning_of_the_workflow_and_a_failure_fails_it(tmp_path, code, ended):
    flow = yaml.safe_load(contents("yaml")[1])
    script = next(step["run"] for step in flow["jobs"]["nightly"]["steps"] if "name" in step)
    program = tmp_path / "slh"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ended, done.stderr
    assert ("::warning::drift" in done.stdout) == (code == 3)


@pytest.mark.docs_suite
@pytest.mark.skipif(not DAGSTER.exists(), reason="Dagster is not here: 'make dagster' installs it")
def test_dagster_has_an_asset_for_each_table_and_drift_as_a_check(demo, tmp_path):
    project = copy_project(demo.folder, tmp_path / "flights")
    (block,) = (block for block in PAGE.blocks if block.argument == "definitions.py")
    (tmp_path / "definitions.py").write_text(block.content)
    (tmp_path / "materialize.py").write_text(MATERIALIZE)
    program = Path(os.environ["VIRTUAL_ENV"] if "VIRTUAL_ENV" in os.environ else ROOT / ".venv")
    found = {"PATH": f"{program / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [DAGSTER, "materialize.py"],
        cwd=tmp_path,
        env=os.environ | found | {"SLH_PROJECT": str(project), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert (said["success"], said["passed"], said["alarms"]) == (True, False, 25)
    assert len(said["assets"]) == 20
    assert said["materialized"] == said["assets"]
    assert said["route_delay"] == ["silver/flights"]  # seen through a temporary view
