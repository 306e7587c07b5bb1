"""The reference project, end to end: two demos in two folders, and the second one again."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.lineage.impact import impact
from sololakehouse.lineage.trace import trace
from sololakehouse.models.registry import resolve
from sololakehouse.serving.answering import Request, answer_invocations, answer_predict
from sololakehouse.serving.limits import Access, Limits
from sololakehouse.serving.served_model import ServedModel
from sololakehouse.serving.state import ServingState
from tests.reference import Demo, fresh_copy, run_demo

TABLES = {
    "bronze": {"airlines", "airports", "flights", "planes", "weather"},
    "silver": {"airlines", "airports", "flights", "planes", "weather"},
    "gold": {"daily_delays", "flight_labels", "flight_schedule"},
    "features": {
        "aircraft_last_leg",
        "carrier_delay",
        "origin_congestion",
        "origin_weather",
        "planes",
        "route_delay",
    },
    "training": {"flight_delay"},
    "inference": {"flight_delay"},
    "monitoring": {"drift", "evaluations"},
    "system": {"leases", "model_transitions", "runs", "steps", "training_runs"},
}


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Demo:
    return run_demo(fresh_copy(tmp_path_factory.mktemp("two") / "elsewhere"))


def manifests(demo: Demo) -> dict[str, tuple[str, tuple[str, ...]]]:
    snapshots = [demo.lake.read(name) for name in demo.lake.table_names()]
    records = {s.name: s.record for s in snapshots if not s.name.startswith("system.")}
    return {name: (r.manifest.digest, r.manifest.left_out) for name, r in records.items()}


def test_it_fills_every_layer(demo):
    expected = {f"{schema}.{table}" for schema, names in TABLES.items() for table in names}
    assert set(demo.lake.table_names()) == expected
    assert demo.lake.read("bronze.flights").rows == 336_776


def test_the_model_in_production_beats_the_baseline_on_the_test_month(demo):
    by_role = {row["role"]: row for row in demo.summary["models"]}
    assert by_role["model"]["stage"] == "production"
    assert by_role["model"]["test_roc_auc"] > by_role["baseline"]["test_roc_auc"] > 0.6
    transitions = demo.lake.read("system.model_transitions").to_polars().sort("at")
    assert transitions["to_stage"].to_list() == ["staging", "production"]
    assert all(len(reason) > 20 for reason in transitions["reason"])


def test_predictions_name_the_model_and_the_feature_versions(demo):
    scored = demo.lake.read("inference.flight_delay").to_polars()
    assert scored["model_version"].n_unique() == 1
    versions = json.loads(scored["feature_versions"][0])
    assert set(versions) == {f"features.{name}" for name in TABLES["features"]}
    assert scored["probability"].is_between(0, 1).all()
    assert scored["scheduled_departure"].dt.month().unique().sort().to_list() == [1, 11, 12]
    months = [row["period"] for row in demo.summary["evaluation"]]
    assert months == ["2013-11", "2013-12", "2014-01"]  # in UTC the year ends in the evening


def test_nothing_of_the_label_month_is_known_before(demo):
    schedule = demo.lake.read("gold.flight_schedule").columns
    assert not {"is_late", "label_known_at", "arrived_at"} & set(schedule)


def test_every_table_of_the_pipeline_has_an_expectation(demo):
    for schema in ("silver", "gold", "features"):
        for table in TABLES[schema]:
            assert demo.lake.read(f"{schema}.{table}").record.expectations, f"{schema}.{table}"


def test_the_clocks_agree_with_the_instants(demo):
    record = demo.lake.read("silver.flights").record
    violations = {found.name: found.violations for found in record.expectations}
    assert violations.pop("arrival_clock_reads_as_recorded") == 1
    assert set(violations.values()) == {0}


def test_two_demos_in_two_folders_are_the_same(demo, other):
    assert manifests(demo) == manifests(other)
    assert demo.summary["models"] == other.summary["models"]
    assert demo.summary["evaluation"] == other.summary["evaluation"]


def test_only_moments_and_identifiers_are_left_out_of_the_manifests(demo):
    left_out = {name: columns for name, (_, columns) in manifests(demo).items() if columns}
    bronze = {f"bronze.{table}": ("_ingested_at",) for table in TABLES["bronze"]}
    identifiers = {"monitoring.drift": ("drift",), "monitoring.evaluations": ("evaluation",)}
    assert left_out == bronze | identifiers | {"inference.flight_delay": ("scored_at",)}


def test_again_commits_nothing_and_says_so(other):
    before = {name: other.lake.read(name).version for name in other.lake.table_names()}
    again = run_demo(other.folder)
    assert {name: again.lake.read(name).version for name in again.lake.table_names()} == before
    assert again.summary["changed"] is False
    assert again.summary["models"] == other.summary["models"]
    assert again.summary["evaluation"] == other.summary["evaluation"]
    assert again.summary["drift"] == other.summary["drift"]


def test_the_drift_names_what_really_changed(demo):
    """As SQL on the tables says it: docs/monitoring.md."""
    alarms = {
        (row["period"], row["column"]): row
        for row in demo.summary["drift"]
        if row["state"] == "alarm"
    }
    never_seen = {("2013-11", "month"), ("2013-12", "month")}
    winter = {("2013-11", "temp"), ("2013-12", "temp")}
    punctual = {("2013-11", "mean_arrival_delay_7d"), ("2013-11", "probability")}
    assert never_seen | winter | punctual <= alarms.keys()
    rows = demo.lake.read("inference.flight_delay").scan()
    december = rows.filter(pl.col("predict_at").dt.strftime("%Y-%m") == "2013-12").collect()
    assert alarms["2013-12", "temp"]["value"] == pytest.approx(december["temp"].mean())
    missing = december["pressure"].null_count() / december.height
    assert f"missing in {missing:.1%}, was 11.2%" in alarms["2013-12", "pressure"]["why"]


def test_the_model_in_production_is_traced_to_the_files_and_found_from_below(demo):
    graph = trace(demo.lake, "flight_delay@production")
    kinds = Counter(node.kind for node in graph.nodes.values())
    assert kinds == {"model": 1, "training run": 1, "table": 16, "landing file": 26}
    files = {node.path: node.sha256 for node in graph.nodes.values() if node.kind == "landing file"}
    december = demo.folder / "landing/flights/flights_2013-12.csv"
    found = files["landing/flights/flights_2013-12.csv"]
    assert found == hashlib.sha256(december.read_bytes()).hexdigest()
    above = impact(demo.lake, "bronze.flights")
    assert {"flight_delay@2", "inference.flight_delay@v1"} <= {node.id for node in above.built}
    assert above.summary.endswith("In production: flight_delay@2.")


def test_the_page_on_serving_and_the_demo_show_requests_that_are_answered(demo):
    page = (Path(__file__).parents[1] / "docs" / "serving.md").read_text("utf-8")
    (said,) = demo.summary["served"]
    shown = page + said["curl"]
    asked = re.findall(r"http://127.0.0.1:5001(/\w+) -H '[^']+' -d '([^']+)'", shown)
    served = ServedModel(demo.lake, resolve(demo.lake, "flight_delay@production"))
    state = ServingState(demo.lake, "", served, Limits(), Access("127.0.0.1", True, None))
    found = []
    for path, body in asked[1:]:
        how = {"/predict": answer_predict, "/invocations": answer_invocations}[path]
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        request = Request("1", path, served, body.encode(), "application/json", moment, 0.0)
        found.append(json.loads(how(state, request, history=True)[0]))
    assert [len(one["predictions"]) for one in found] == [1, 1, 1]
    ages = {one["table"]: one["age_seconds"] for one in found[-1]["lookups"]}
    assert len([age for age in ages.values() if age != [None]]) >= 3
    assert found[0]["features"][0]["leg_departure_delay"] == -6
    assert None not in served.example().values()
