"""Labels whose keys are moments without a time zone, beside predictions."""

from __future__ import annotations

import shutil

import polars as pl
import pytest

from sololakehouse.errors import FeatureLookupError
from sololakehouse.inference.batch import score
from sololakehouse.monitoring.drift import drift
from sololakehouse.monitoring.evaluation import evaluate
from sololakehouse.monitoring.predictions import Predictions
from sololakehouse.provenance import Change
from tests.monitoring.conftest import JOB
from tests.rain import ModelProject

ZONE = "Europe/Berlin"
BY_TIME = JOB.model_copy(update={"labels": "gold.local", "keys": ("id", "at")})


@pytest.fixture
def project(watched, tmp_path) -> ModelProject:
    project = ModelProject(tmp_path / "rain")
    shutil.copytree(watched.folder, project.folder)
    rows = project.lake.read("gold.labels").to_polars()
    local = pl.col("at").dt.convert_time_zone(ZONE).dt.replace_time_zone(None)
    project.writer().write_frame("gold.local", rows.with_columns(local), Change("TEST", "local"))
    return project


def evaluated(project: ModelProject, job):
    return evaluate(project.lake, project.writer(), Predictions.of_job(project.lake, job))


def test_keys_of_labels_are_read_in_the_zone(project):
    expected = evaluated(project, JOB)
    (project.folder / "lakehouse.yml").write_text(f"name: rain\ntime_zone: {ZONE}\n")
    found = evaluated(project, BY_TIME)
    counted = [[(row["rows"], row["unknown"]) for row in one.rows] for one in (expected, found)]
    assert counted[0] == counted[1]
    assert {unknown for _, unknown in counted[0]} == {0}
    assert evaluated(project, BY_TIME).up_to_date
    by_time = Predictions.of_job(project.lake, BY_TIME)
    assert not drift(project.lake, project.writer(), by_time).up_to_date
    (project.folder / "lakehouse.yml").write_text("name: rain\ntime_zone: Asia/Kolkata\n")
    other = evaluated(project, BY_TIME)
    assert not other.up_to_date
    by_time = Predictions.of_job(project.lake, BY_TIME)
    assert not drift(project.lake, project.writer(), by_time).up_to_date


def test_without_a_zone_they_are_refused(project):
    with pytest.raises(FeatureLookupError, match=r"'at' of gold\.local has no time zone\. Say"):
        evaluated(project, BY_TIME)


def test_keys_that_show_a_wall_clock_on_both_sides_stay_as_they_are(project):
    (project.folder / "lakehouse.yml").write_text(f"name: rain\ntime_zone: {ZONE}\n")
    rows = project.lake.read("gold.labels").to_polars().tail(200)
    wall = rows.with_columns(wall=pl.col("at").dt.replace_time_zone(None))
    project.writer().write_frame("gold.wall", wall, Change("TEST", "wall"))
    job = JOB.model_copy(
        update={"input": "gold.wall", "labels": "gold.wall", "output": "inference.wall"}
    )
    score(project.lake, project.writer(), job)
    found = evaluated(project, job.model_copy(update={"keys": ("id", "wall")}))
    assert {row["unknown"] for row in found.rows} == {0}
