"""Times without a zone, in a project that declares one, and what servers see of them."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sololakehouse.config import ScoringJob
from sololakehouse.errors import FeatureLookupError, TrainingError
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.features import requests
from sololakehouse.inference.batch import score
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run
from tests.features.conftest import project
from tests.features.flights import LABELS, FeatureProject, airports, weather
from tests.features.test_time_zone import LOCAL, TWICE, ZONE, declare, made
from tests.inference.test_time_zone import rows
from tests.rain import ModelProject

__all__ = ["project"]


@pytest.fixture
def zoned(project) -> FeatureProject:
    return declare(project.lake, ZONE)


@pytest.mark.parametrize("labels", ["gold.local", "SELECT * FROM gold.local", "a frame"])
def test_a_server_gets_labels_as_moments(zoned, address, labels):
    zoned.write("gold.local", LOCAL)
    training = made(
        zoned,
        LOCAL if labels == "a frame" else labels,
        feature_lookups=[weather(lookback_window="3h"), airports()],
    )
    with Lakehouse.open(zoned.lake.project.folder, engine=address).engine():
        found = pl.DataFrame(training.load_df().toArrow())
    assert_frame_equal(found, training.to_polars())
    assert found.schema["predict_at"] == pl.Datetime("us", "UTC")


def test_labels_of_a_session_are_read_in_the_zone_wherever_it_is(zoned, address):
    zoned.write("gold.local", LOCAL)
    with Lakehouse.open(zoned.lake.project.folder, engine=address).engine() as engine:
        frame = engine.read(zoned.lake.read("gold.local"))
        assert dict(frame.dtypes)["predict_at"] == "timestamp_ntz"
        found = made(zoned, frame).to_polars()
    assert found.sort("flight").equals(made(zoned, LABELS).to_polars().sort("flight"))


def test_a_time_that_is_not_one_moment_is_not_left_to_a_server(zoned, address):
    zoned.write("gold.local", LOCAL.with_columns(predict_at=pl.lit(TWICE)))
    with Lakehouse.open(zoned.lake.project.folder, engine=address).engine():
        training = made(zoned, "gold.local")
        with pytest.raises(FeatureLookupError, match=r"4 of its values .*clocks show it twice"):
            training.load_df()


def test_a_label_that_is_null_is_shown_with_its_moment(zoned, address):
    zoned.write("gold.local", LOCAL.with_columns(is_late=pl.lit(None, pl.Int32)))
    said = pytest.raises(TrainingError, match=r"predict_at=2026-01-01T08:00:00Z, is_late=NULL")
    with Lakehouse.open(zoned.lake.project.folder, engine=address).engine(), said:
        made(zoned, "gold.local").load_df()


@pytest.mark.parametrize("kind", ["table", "frame"])
def test_rows_to_score_are_read_in_the_zone_by_this_process(trained, tmp_path, sail_address, kind):
    shutil.copytree(trained[0].folder, tmp_path / "rain")
    project = ModelProject(tmp_path / "rain")
    (project.folder / "lakehouse.yml").write_text(f"name: rain\ntime_zone: {ZONE}\n")
    project.writer().write_frame("gold.local", rows(zone=ZONE), Change("TEST", "x"))
    lake = Lakehouse.open(project.folder, engine=sail_address)
    client = FeatureEngineeringClient(project.lake)
    exact = client.score_batch(model_uri="rain@staging", df=rows())
    asked = []
    find = requests.find
    with pytest.MonkeyPatch.context() as patched, lake.engine() as engine:
        patched.setattr(requests, "find", lambda *a, **b: asked.append(1) or find(*a, **b))
        if kind == "table":
            job = ScoringJob(model="rain@staging", input="gold.local", output="inference.there")
            writer = LakeWriter(lake, Run.start(project.folder, sail_address))
            found = score(lake, writer, job).snapshot.to_polars()
            assert found["at"].min() == rows()["at"].min()
        else:
            given = engine.read(lake.read("gold.local"))
            answer = FeatureEngineeringClient(lake).score_batch(model_uri="rain@staging", df=given)
            found = pl.DataFrame(answer.toArrow())
            assert found["at"].sort().equals(rows(zone=ZONE)["at"])
    assert asked == [1]
    expected = exact.sort("id")["probability"].to_list()
    assert found.sort("id")["probability"].to_list() == expected
