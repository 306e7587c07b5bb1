from __future__ import annotations

import json
import re
import shutil

import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.errors import FeatureLookupError, NotFoundError
from sololakehouse.inference.batch import score
from sololakehouse.pipelines.query import run_query
from tests.rain import ModelProject

JOB = ScoringJob(
    model="rain@staging",
    input="SELECT * FROM gold.labels WHERE at >= TIMESTAMP '2026-03-15 00:00:00'",
    output="inference.rain",
    labels="gold.labels",
    keys=("id",),
)


@pytest.fixture(scope="module")
def project(trained, tmp_path_factory) -> ModelProject:
    """Give a copy of the trained project, which these tests may write to."""
    folder = tmp_path_factory.mktemp("scored") / "rain"
    shutil.copytree(trained[0].folder, folder)
    return ModelProject(folder)


@pytest.fixture(scope="module")
def scored(project):
    return score(project.lake, project.writer(), JOB)


def test_each_row_has_its_probability_and_names_model_and_feature_versions(scored):
    rows = scored.snapshot.to_polars()
    assert rows.height == 17 * 24
    assert rows["probability"].is_between(0, 1).all()
    assert rows["prediction"].to_list() == [int(p >= 0.5) for p in rows["probability"]]
    assert rows.select("model_name", "model_version").unique().rows() == [("rain", 2)]
    assert json.loads(rows["feature_versions"][0]) == {"features.sky": 1}
    assert rows["scored_at"].dtype.time_zone == "UTC"
    assert rows["at"].is_sorted()


def test_batch_predictions_are_those_of_the_training_set(project, scored, trained):
    from sololakehouse.models.inputs import model_input
    from sololakehouse.models.registry import load_model

    version = trained[1].runs[1]
    rows = project.lake.read("training.rain").to_polars().tail(17 * 24)
    model = load_model(project.lake.project, version)
    expected = model.predict_proba(model_input(rows, version.feature_columns))[:, 1]
    assert scored.snapshot.to_polars()["probability"].to_list() == expected.tolist()


def test_the_commit_says_what_was_read(scored):
    record = scored.snapshot.record
    assert {str(source) for source in record.inputs} == {"gold.labels@v1", "features.sky@v1"}
    assert record.details["model_version"] == 2
    assert record.manifest.left_out == ("scored_at",)


def test_scoring_again_does_nothing(project, scored):
    again = score(project.lake, project.writer(), JOB)
    assert (again.up_to_date, again.snapshot.version) == (True, scored.snapshot.version)


def test_another_input_is_scored_into_a_new_version(project):
    job = JOB.model_copy(update={"input": "gold.labels", "output": "inference.all"})
    first = score(project.lake, project.writer(), job)
    other = score(project.lake, project.writer(), job.model_copy(update={"model": "rain@1"}))
    assert (first.snapshot.version, other.snapshot.version) == (1, 2)
    assert other.model.role == "baseline"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "rain@production"}, NotFoundError, "rain has no version 'production'"),
        ({"model": "snow@staging"}, NotFoundError, "No model 'snow'"),
        ({"input": "gold.label"}, NotFoundError, "Did you mean 'gold.labels'?"),
        ({"input": "SELECT * FROM gold.label"}, NotFoundError, "Did you mean 'gold.labels'?"),
        ({"input": "SELECT id, at FROM gold.labels"}, FeatureLookupError, "no column 'place'"),
        ({"input": "SELECT at, place FROM gold.labels"}, NotFoundError, "No column 'humid'"),
    ],
)
def test_a_mistake_leaves_the_output_as_it_was(project, scored, changes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        score(project.lake, project.writer(), JOB.model_copy(update=changes))
    assert project.lake.read("inference.rain").version == scored.snapshot.version


def test_system_tables_are_asked_in_the_same_sql(project):
    query = "SELECT role, 'system.x' AS text FROM system.training_runs ORDER BY model_version"
    assert run_query(project.lake, query).to_pylist() == [
        {"role": "baseline", "text": "system.x"},
        {"role": "model", "text": "system.x"},
    ]
