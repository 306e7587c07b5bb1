"""The gate and the references, on rows of `system.training_runs`: no MLflow is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.models.registry import RUNS, load_model, promote, resolve
from sololakehouse.provenance import Change
from tests.rain import ModelProject

GONE = "mlflow.db is gone"


def record(project: ModelProject, *rows: dict[str, Any]) -> None:
    """Append trained models; each row is a version, numbered from 1."""
    whole = [
        {
            "run_id": "r",
            "experiment": "e",
            "role": "model",
            "fingerprint": "f",
            "mlflow_run_id": "m",
            "model_uri": "models:/x",
            "model_name": "rain",
            "model_version": number,
            "training_set": "training.rain",
            "training_set_version": 1,
            "primary_metric": "roc_auc",
            "metrics": json.dumps({f"test_{row.get('primary_metric', 'roc_auc')}": row["score"]}),
            "recipe": "{}",
            "feature_columns": "[]",
            "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        | {name: value for name, value in row.items() if name != "score"}
        for number, row in enumerate(rows, start=1)
    ]
    project.writer().write_frame(RUNS, pl.DataFrame(whole), Change("TEST", "x"), mode="append")


def ask_for_production(project: ModelProject, version: int) -> str:
    """Return what stops it; a version that passes the gate meets the missing MLflow store."""
    with pytest.raises(RunError) as stopped:
        promote(project.lake, project.writer(), "rain", version, "production")
    return str(stopped.value)


@pytest.mark.parametrize(
    ("metric", "baseline", "model", "passes"),
    [
        ("roc_auc", 0.7, 0.8, True),
        ("roc_auc", 0.8, 0.7, False),
        ("roc_auc", 0.7, 0.7, False),
        ("log_loss", 0.7, 0.6, True),
        ("log_loss", 0.6, 0.7, False),
    ],
)
def test_the_gate_asks_for_strictly_better_in_the_direction_of_the_metric(
    project, metric, baseline, model, passes
):
    common = {"primary_metric": metric}
    record(project, common | {"role": "baseline", "score": baseline}, common | {"score": model})
    said = ask_for_production(project, 2)
    if passes:
        assert GONE in said
    else:
        assert said == (
            f"rain version 2 stays out of production: test_{metric} {model:.4f} against "
            f"{baseline:.4f} of the baseline (version 1) is not better."
        )
    assert "system.model_transitions" not in project.lake.table_names()


def test_the_baseline_is_the_one_of_the_same_experiment_even_within_one_run(project):
    record(
        project,
        {"role": "baseline", "fingerprint": "hard", "score": 0.9},
        {"fingerprint": "hard", "score": 0.8},
        {"role": "baseline", "fingerprint": "easy", "score": 0.5},
        {"fingerprint": "easy", "score": 0.6},
    )
    assert "against 0.9000 of the baseline (version 1) is not better" in ask_for_production(
        project, 2
    )
    assert GONE in ask_for_production(project, 4)


def test_an_unknown_stage_has_candidates(project):
    record(project, {"score": 1.0})
    with pytest.raises(NotFoundError, match=r"No stage 'prod'\. Stages: production, staging\."):
        promote(project.lake, project.writer(), "rain", 1, "prod")


def test_nothing_in_staging_names_the_versions(project):
    record(project, {"score": 1.0}, {"score": 1.0})
    with pytest.raises(NotFoundError, match=r"No version of rain is in staging.*: 1, 2\."):
        promote(project.lake, project.writer(), "rain", None, "production")


def test_no_model_at_all(project):
    with pytest.raises(NotFoundError, match=r"No model 'rain'\. There is no model yet"):
        resolve(project.lake, "rain@production")


def test_references_are_resolved_without_mlflow(project):
    record(project, {"score": 1.0})
    code = (
        "import sys; from sololakehouse.lake import Lakehouse; "
        "from sololakehouse.models.registry import resolve; "
        f"lake = Lakehouse.open({str(project.folder)!r}); "
        "print(resolve(lake, 'rain@1'), 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "rain version 1 False"


@pytest.fixture
def copied(trained, tmp_path) -> ModelProject:
    """Give a copy of the trained project; its store still points to the original's artifacts."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0].folder, folder)
    return ModelProject(folder)


def test_production_is_not_left_empty(copied):
    promote(copied.lake, copied.writer(), "rain", None, "production")
    with pytest.raises(UsageError, match="rain version 2 is in production, and would leave it"):
        promote(copied.lake, copied.writer(), "rain", 2, "staging")


def test_a_transition_says_from_where_why_and_with_what_evidence(copied):
    promote(copied.lake, copied.writer(), "rain", None, "production")
    snapshot = copied.lake.read("system.model_transitions")
    row = snapshot.to_polars().filter(pl.col("to_stage") == "production").row(0, named=True)
    evidence = json.loads(row["evidence"])
    assert (row["model_version"], row["from_stage"]) == (2, "staging")
    assert f"{evidence['model']:.4f} against {evidence['baseline']:.4f}" in row["reason"]
    assert snapshot.record.manifest.left_out == ("at", "run_id")


def test_a_model_that_mlflow_lost_is_said_and_no_empty_store_is_made(copied):
    version = resolve(copied.lake, "rain@2")
    store = copied.folder / "mlflow.db"
    store.unlink()
    with pytest.raises(RunError, match=r"The MLflow store .*mlflow\.db is gone"):
        load_model(copied.lake.project, version)
    assert not store.exists()


def test_a_version_that_the_store_does_not_have_is_said(copied):
    version = replace(resolve(copied.lake, "rain@2"), version=99)
    with pytest.raises(RunError, match=r"rain version 99 cannot be loaded from MLflow: .*--force"):
        load_model(copied.lake.project, version)


@pytest.mark.parametrize("damage", ["foreign type", "no archive"])
def test_only_known_types_are_loaded_whatever_the_artifact_says(trained, tmp_path, damage):
    from skops.io import dump

    project, outcome = trained
    (file,) = [
        found
        for found in project.folder.glob("mlartifacts/**/model.skops")
        if zipfile.ZipFile(found).read("schema.json").count(b"XGBClassifier")
    ]
    about, original = file.parent / "MLmodel", file.read_bytes()
    listed = about.read_text()
    try:
        if damage == "foreign type":
            dump(pl.Series, file)
            about.write_text(listed.replace("- numpy.dtype", "- numpy.dtype\n    - polars.Series"))
        else:
            file.write_bytes(b"no archive")
        with pytest.raises(RunError, match="rain version 2 cannot be loaded from MLflow: "):
            load_model(project.lake.project, outcome.runs[1])
    finally:
        file.write_bytes(original)
        about.write_text(listed)
