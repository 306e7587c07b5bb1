from __future__ import annotations

import shutil

import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.inference.batch import score
from tests.rain import ModelProject

JOB = ScoringJob(
    model="rain@staging",
    input="SELECT * FROM gold.labels WHERE at >= TIMESTAMP '2026-03-01 00:00:00'",
    output="inference.rain",
    labels="gold.labels",
    keys=("id",),
    evaluation={"period": "week", "slices": ("place", "cloud")},
    drift={"period": "week", "least_rows": 100},
)


@pytest.fixture(scope="package")
def watched(trained, tmp_path_factory) -> ModelProject:
    """Give a copy of the trained project with predictions of its last month."""
    folder = tmp_path_factory.mktemp("watched") / "rain"
    shutil.copytree(trained[0].folder, folder)
    project = ModelProject(folder)
    score(project.lake, project.writer(), JOB)
    return project
