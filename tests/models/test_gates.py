"""The gates before production, asked about real models on real tables."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from sololakehouse.config import Project
from sololakehouse.errors import ConfigError
from sololakehouse.lake import Lakehouse
from sololakehouse.models import batches
from sololakehouse.models.comparison import compared_gates
from sololakehouse.models.gates import (
    GateSettings,
    expectations_gate,
    gate_settings,
    rebuild_gate,
    replay_gate,
)
from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import evaluate_gates, load_model, move, promote, resolve
from sololakehouse.provenance import Change, ExpectationResult
from tests.rain import ModelProject, labels, make_project

GATES = "gates={slices: [place], max_slice_loss: 0.05, min_slice_rows: 50}"
WITHOUT_LIGHT = "training_set.feature_lookups=[]"


def result(kind: str, violations: int, action: str = "warn") -> ExpectationResult:
    return ExpectationResult(
        name=kind, condition="humid < 1", action=action, rows=10, violations=violations
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> ModelProject:
    """Give a project with a champion, version 2, and a worse challenger without 'light', 4.

    Tests must not change it.
    """
    project = make_project(tmp_path_factory.mktemp("judged"))
    held = [result("humid_is_a_share", 0), result("place_is_known", 3, "drop")]
    change = Change("TEST", "checked", expectations=held)
    project.writer().write_frame("gold.labels", labels(), change)
    project.train(GATES)
    promote(project.lake, project.writer(), "rain", 2, "production")
    weak = "model.params={n_estimators: 2, max_depth: 2}"
    project.train(GATES, WITHOUT_LIGHT, weak)
    return project


def verdicts(project: ModelProject, version: int) -> dict[str, str]:
    gates = evaluate_gates(project.lake, resolve(project.lake, f"rain@{version}"))
    return {one.gate: one.verdict for one in gates}


def test_every_gate_says_something(judged):
    assert verdicts(judged, 4) == {
        "baseline": "passed",
        "artifacts": "passed",
        "champion": "failed",
        "slices": "failed",
        "expectations": "passed",
        "rebuilt": "not available",
        "replay": "not available",
    }


def test_block_by_block_the_gates_say_the_same(judged, monkeypatch):
    challenger = resolve(judged.lake, "rain@4")
    whole = compared_gates(judged.lake, challenger, gate_settings(challenger))
    monkeypatch.setattr(batches, "_VALUES_AT_ONCE", 700)
    project = judged.lake.project
    small = project.settings.model_copy(update={"memory_limit": 100_000})
    narrow = Lakehouse(Project(folder=project.folder, settings=small))
    saved = narrow.read("training.rain", challenger.training_set_version)
    assert batches.rows_held(saved, 100_000) < 17 * 24
    assert compared_gates(narrow, challenger, gate_settings(challenger)) == whole


def test_champion_and_challenger_predict_the_same_rows(judged):
    """The gain is the difference on the test rows, with the champion's own feature looked up."""
    challenger, champion = (resolve(judged.lake, f"rain@{number}") for number in (4, 2))
    assert "light" in champion.feature_columns
    assert "light" not in challenger.feature_columns
    gates = {
        one.gate: one for one in compared_gates(judged.lake, challenger, gate_settings(challenger))
    }
    begin = datetime(2026, 3, 15, tzinfo=UTC)
    older = judged.lake.read("training.rain", 1).to_polars().filter(pl.col("at") >= begin)
    score = {
        version.version: roc_auc_score(
            older["wet"],
            load_model(judged.lake.project, version).predict_proba(
                model_input(older, version.feature_columns)
            )[:, 1],
        )
        for version in (challenger, champion)
    }
    evidence = gates["champion"].evidence
    assert evidence["gain"] == pytest.approx(score[4] - score[2])
    assert evidence["rows"] == older.height == 17 * 24
    assert evidence["low"] < evidence["gain"] < evidence["high"] < 0
    slices = {one["slice"]: one for one in gates["slices"].evidence["slices"]}
    assert set(slices) == {"place = hill", "place = shore"}
    assert sum(one["rows"] for one in slices.values()) == older.height
    on_hills = older.filter(place="hill")
    mine, theirs = (
        roc_auc_score(
            on_hills["wet"],
            load_model(judged.lake.project, version).predict_proba(
                model_input(on_hills, version.feature_columns)
            )[:, 1],
        )
        for version in (challenger, champion)
    )
    assert slices["place = hill"]["gain"] == pytest.approx(mine - theirs)
    assert "place = hill by 0." in gates["slices"].said


def test_an_equal_model_is_as_good_as_the_champion(judged):
    champion = resolve(judged.lake, "rain@2")
    gates = compared_gates(judged.lake, champion, GateSettings(slices=("place",), max_loss=0))
    assert [one.verdict for one in gates] == ["passed"] * 3
    evidence = gates[1].evidence
    assert (evidence["gain"], evidence["low"], evidence["high"]) == (0, 0, 0)
    assert ": equal (95 % interval of the gain +0.0000 to +0.0000)." in gates[1].said


def test_an_allowed_loss_is_measured_at_the_worse_end(judged):
    challenger = resolve(judged.lake, "rain@4")
    worst = -compared_gates(judged.lake, challenger, GateSettings())[1].evidence["low"]
    for allowed, verdict in ((worst + 0.001, "passed"), (worst - 0.001, "failed")):
        settings = GateSettings(max_loss=allowed)
        assert compared_gates(judged.lake, challenger, settings)[1].verdict == verdict


def test_small_slices_are_told_and_not_judged(judged):
    challenger = resolve(judged.lake, "rain@4")
    settings = GateSettings(slices=("place",), min_slice_rows=1000)
    gate = compared_gates(judged.lake, challenger, settings)[2]
    assert gate.verdict == "not available"
    assert gate.said == "No slice is judged. 2 are too small to judge."


def test_a_slice_that_is_no_column_has_candidates(judged):
    challenger = resolve(judged.lake, "rain@4")
    gate = compared_gates(judged.lake, challenger, GateSettings(slices=("plac",)))[2]
    assert gate.verdict == "failed"
    assert "gates.slices: No column 'plac'. Did you mean 'place'?" in gate.said


def test_without_a_champion_slices_are_held_against_the_baseline(judged, tmp_path):
    copy = ModelProject(Path(shutil.copytree(judged.folder, tmp_path / "copy")))
    shutil.rmtree(copy.lake.path("system.model_transitions"))
    gates = {one.gate: one for one in evaluate_gates(copy.lake, resolve(copy.lake, "rain@2"))}
    assert gates["champion"].verdict == "not available"
    assert gates["champion"].said == "Nothing is in production yet."
    assert gates["slices"].verdict == "passed"
    assert "that of the baseline (version 1)" in gates["slices"].said


def test_a_model_without_a_record_cannot_be_compared_and_fails(judged):
    old = replace(resolve(judged.lake, "rain@4"), record={})
    gates = compared_gates(judged.lake, old, GateSettings())
    assert [one.verdict for one in gates] == ["not available", "failed"]
    assert gates[0].said == "Its files were not hashed at registration."
    assert "Nothing says which rows rain version 4 was tested on" in gates[1].said


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        ([], "not available", "No input of the training set has expectations."),
        (
            [result("a", 0)],
            "passed",
            "Nothing violates 1 expectation on the training set's inputs: gold.labels@v2.",
        ),
        ([result("a", 4, "drop")], "passed", "Nothing violates 1 expectation"),
        ([result("a", 4)], "failed", "gold.labels@v2: 4 of 10 rows violate 'a' and were kept."),
    ],
)
def test_rows_that_violate_an_expectation_and_were_kept_speak_against(
    judged, tmp_path, found, verdict, said
):
    copy = ModelProject(Path(shutil.copytree(judged.folder, tmp_path / "copy")))
    writer = copy.writer()
    read = writer.write_frame("gold.labels", labels(), Change("TEST", "x", expectations=found))
    change = Change("TRAINING SET", "y", inputs=[read.table_version])
    training_set = writer.write_frame("training.rain", labels(), change)
    version = replace(resolve(copy.lake, "rain@4"), training_set_version=training_set.version)
    gate = expectations_gate(copy.lake, version)
    assert gate.verdict == verdict
    assert gate.said.replace(f"@v{read.version}", "@v2").startswith(said)


def test_the_newest_rebuild_counts_and_a_missing_one_only_where_it_is_required(judged, tmp_path):
    copy = ModelProject(Path(shutil.copytree(judged.folder, tmp_path / "copy")))
    version = resolve(copy.lake, "rain@2")
    assert rebuild_gate(copy.lake, version, required=False).verdict == "not available"
    assert rebuild_gate(copy.lake, version, required=True).verdict == "failed"
    for day, verdict, expected in (
        (1, "diverged", "failed"),
        (2, "metric-identical", "passed"),
        (3, "bit-identical", "passed"),
    ):
        row = {
            "model_name": ["rain", "rain"],
            "model_version": [2, 1],
            "verdict": [verdict, "diverged"],
            "at": [datetime(2026, 5, day, tzinfo=UTC), datetime(2026, 5, 9, tzinfo=UTC)],
        }
        frame = pl.DataFrame(row).with_columns(pl.col("at").dt.cast_time_unit("us"))
        copy.writer().write_frame("system.rebuilds", frame, Change("T", verdict), mode="append")
        gate = rebuild_gate(copy.lake, version, required=True)
        assert gate.verdict == expected
        assert gate.evidence["verdict"] == verdict


@dataclass(frozen=True)
class Replayed:
    """A certificate by its verdict."""

    verdict: str
    leaking: tuple[str, ...] = ()
    uncovered: str | None = None
    replayed_at: datetime = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("certificate", "verdict", "said"),
    [
        (None, "not available", "The training set has no replay certificate."),
        (Replayed("clean"), "passed", "Replayed on 2026-05-01: clean."),
        (
            Replayed("leaks", ("gold.x.late",)),
            "failed",
            "Replayed on 2026-05-01: leaks (gold.x.late).",
        ),
        (Replayed("not deterministic"), "failed", "Replayed on 2026-05-01: not deterministic."),
        (
            Replayed("not covered", uncovered="bronze.x says no moment."),
            "not available",
            "Replayed on 2026-05-01: not covered. bronze.x says no moment.",
        ),
    ],
)
def test_a_replay_that_is_not_clean_speaks_against(certificate, verdict, said):
    gate = replay_gate(certificate)
    assert (gate.verdict, gate.said) == (verdict, said)


def test_a_champion_whose_files_are_gone_is_no_free_pass(judged, tmp_path):
    copy = ModelProject(Path(shutil.copytree(judged.folder, tmp_path / "copy")))
    champion = resolve(copy.lake, "rain@2")
    runs = copy.lake.read("system.training_runs").to_polars()
    spoiled = runs.with_columns(
        pl.col("record").str.replace(champion.record["artifacts"]["model.skops"], "0" * 64)
    )
    copy.writer().write_frame("system.training_runs", spoiled, Change("TEST", "spoiled"))
    gate = compared_gates(copy.lake, resolve(copy.lake, "rain@4"), GateSettings())[1]
    assert gate.verdict == "failed"
    assert "It cannot be compared with rain version 2. rain version 2 is refused" in gate.said


def test_a_rolled_back_version_is_compared_with_the_one_that_is_there(judged, tmp_path):
    copy = ModelProject(Path(shutil.copytree(judged.folder, tmp_path / "copy")))
    weak = resolve(copy.lake, "rain@4")
    move(copy.lake, copy.writer(), weak, "production", "Tried.", {}, forced=True)
    gates = {one.gate: one for one in evaluate_gates(copy.lake, resolve(copy.lake, "rain@2"))}
    assert gates["champion"].verdict == "passed"
    assert gates["champion"].evidence["champion"] == 4
    assert "better by 0." in gates["champion"].said


def test_unknown_gates_are_refused_with_candidates(judged):
    with pytest.raises(ConfigError, match=r"unknown key 'gates.slice'. Did you mean 'slices'\?"):
        judged.experiment("gates={slice: [place]}")
    assert np.isclose(judged.experiment().gates.max_slice_loss, 0.02)
