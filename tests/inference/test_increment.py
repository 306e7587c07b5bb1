"""A grown input: only its new rows are scored, and the whole is what scoring everything gives."""

from __future__ import annotations

import shutil
from datetime import timedelta
from itertools import count

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sololakehouse.config import ScoringJob
from sololakehouse.inference.batch import score
from sololakehouse.lake.optimize import optimize
from sololakehouse.provenance import Change, content_manifest
from tests.rain import BEGIN, ModelProject

KEYS = {"feature.keys": "place", "feature.timestamp": "feature_ts"}
NAMES = count()


@pytest.fixture(scope="module")
def project(trained, tmp_path_factory) -> ModelProject:
    folder = tmp_path_factory.mktemp("grown") / "rain"
    shutil.copytree(trained[0].folder, folder)
    return ModelProject(folder)


class Asked:
    """A table of rows to score and its predictions, under names of their own."""

    def __init__(self, project: ModelProject) -> None:
        number = next(NAMES)
        self.project = project
        self.table = f"gold.asked_{number}"
        self.job = ScoringJob(
            model="rain@staging", input=self.table, output=f"inference.asked_{number}"
        )

    def append(self, hours: list[int], place: str = "hill") -> None:
        rows = pl.DataFrame(
            {
                "id": hours,
                "place": place,
                "at": [BEGIN + timedelta(hours=hour) for hour in hours],
                "humid": 0.4,
                "wind": 0.7,
                "cloud": "some",
            },
            schema_overrides={"id": pl.Int64},
        ).with_columns(pl.col("at").dt.cast_time_unit("us"))
        change = Change("TEST", f"{self.table} {hours}")
        self.project.writer().write_frame(self.table, rows, change, mode="append")

    def score(self, **changes):
        project = self.project
        return score(project.lake, project.writer(), self.job.model_copy(update=changes))

    def is_as_in_full(self) -> bool:
        """Whether the stored predictions are those of scoring all rows now, values and all."""
        now = self.project.lake.read(self.job.output).to_polars()
        in_full = self.score(output=self.job.output + "_again").snapshot.to_polars()
        left_out = ("scored_at", "feature_versions")
        return content_manifest(now, left_out) == content_manifest(in_full, left_out)


@pytest.fixture
def asked(project) -> Asked:
    asked = Asked(project)
    asked.append([1, 2, 3])
    asked.score()
    return asked


def feature_row(project: ModelProject, hours: float, place: str, light: float) -> None:
    """Add a row of `features.sky`; its hours are counted from the first label."""
    sky = pl.DataFrame(
        {"place": [place], "feature_ts": [BEGIN + timedelta(hours=hours)], "light": [light]}
    ).with_columns(pl.col("feature_ts").dt.cast_time_unit("us"))
    change = Change("TEST", f"sky {hours} {place}")
    project.writer().write_frame("features.sky", sky, change, mode="append", properties=KEYS)


def test_only_new_rows_are_scored_and_added(asked):
    asked.append([4, 5])
    result = asked.score()
    assert (result.scored, result.kept, result.snapshot.rows) == (2, 3, 5)
    assert result.snapshot.record.rows_written == 2
    assert result.snapshot.record.details["computed"] == {"kept": 3}
    assert result.snapshot.to_polars()["id"].sort().to_list() == [1, 2, 3, 4, 5]
    assert asked.score().up_to_date
    assert asked.is_as_in_full()


def test_a_feature_row_that_no_scored_row_sees_changes_nothing_of_them(asked, project):
    feature_row(project, 3.5, "hill", 100.0)
    asked.append([4])
    result = asked.score()
    assert (result.scored, result.kept) == (1, 3)
    assert asked.is_as_in_full()


def test_a_late_feature_row_makes_all_be_scored_again(asked, project):
    feature_row(project, 0.5, "hill", 100.0)
    asked.append([4])
    result = asked.score()
    assert (result.scored, result.kept) == (4, 0)
    why = "features.sky gained rows that earlier rows see"
    assert result.snapshot.record.details["computed"] == {"in full": why}
    assert asked.is_as_in_full()


def test_a_late_feature_row_of_a_key_that_nobody_asked_for_is_not_seen(asked, project):
    feature_row(project, 0.25, "shore", 100.0)
    asked.append([4])
    assert asked.score().kept == 3


def test_rows_that_were_changed_make_all_be_scored_again(asked, project):
    rows = project.lake.read(asked.table).to_polars().with_columns(humid=pl.lit(0.9))
    project.writer().write_frame(asked.table, rows, Change("TEST", "other humidity"))
    result = asked.score()
    assert (result.scored, result.kept) == (3, 0)
    assert "changed or removed rows" in result.snapshot.record.details["computed"]["in full"]


def test_another_model_or_setting_scores_all_again(asked):
    assert asked.score(model="rain@1").kept == 0
    assert asked.score().kept == 0
    assert asked.score(features=False).kept == 0
    reason = asked.project.lake.read(asked.job.output).record.details["computed"]["in full"]
    assert reason == "the stored predictions are of another model, input or setting"


def test_files_that_were_only_arranged_are_not_scored(asked, project):
    asked.append([4])
    assert optimize(project.writer(), asked.table).changed
    assert asked.score().scored in (1, 4)
    assert asked.is_as_in_full()
    asked.append([5])
    assert asked.score().kept == 4
    assert asked.is_as_in_full()


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    first=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    later=st.lists(st.integers(0, 40), max_size=3),
    late=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["hill", "shore"])), max_size=2, unique=True
    ),
)
def test_any_growth_gives_what_scoring_everything_gives(project, first, later, late):
    asked = Asked(project)
    asked.append(first)
    asked.score()
    for hours, place in late:
        moment = hours + 0.001 * (1 + next(NAMES))
        feature_row(project, moment, place, float(hours))
    if later:
        asked.append(later, "shore")
    asked.score()
    assert asked.is_as_in_full()
