"""Rows to score whose times have no zone, in a project that declares one."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta

import polars as pl
import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.errors import FeatureLookupError
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.inference.batch import score
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run
from tests.rain import BEGIN, ModelProject

ZONE = "Europe/Berlin"
MODEL = "rain@staging"
LEFT_OUT = "scored_at"
HOURS = [*range(40, 43), *range(2100, 2106)]


def rows(hours=HOURS, zone: str | None = None) -> pl.DataFrame:
    """Rows around the moment at which clocks are put forward; with a zone, what clocks show."""
    moments = [BEGIN + timedelta(hours=hour) for hour in hours]
    frame = pl.DataFrame(
        {"id": hours, "place": "hill", "at": moments, "humid": 0.4, "wind": 0.7, "cloud": "some"}
    ).with_columns(pl.col("at").dt.cast_time_unit("us"))
    if zone is None:
        return frame
    return frame.with_columns(pl.col("at").dt.convert_time_zone(zone).dt.replace_time_zone(None))


@pytest.fixture
def project(trained, tmp_path) -> ModelProject:
    shutil.copytree(trained[0].folder, tmp_path / "rain")
    return declare(ModelProject(tmp_path / "rain"), ZONE)


def declare(project: ModelProject, zone: str | None) -> ModelProject:
    text = "name: rain\n" + (f"time_zone: {zone}\n" if zone else "")
    (project.folder / "lakehouse.yml").write_text(text)
    return project


def write(project: ModelProject, table: str, frame: pl.DataFrame, mode: str = "overwrite") -> None:
    project.writer().write_frame(table, frame, Change("TEST", f"{table} {mode}"), mode=mode)


def scored(project: ModelProject, source: str, output: str, engine: str | None = None):
    lake = Lakehouse.open(project.folder, engine=engine)
    job = ScoringJob(model=MODEL, input=source, output=f"inference.{output}")
    return score(lake, LakeWriter(lake, Run.start(project.folder, engine or "embedded")), job)


@pytest.mark.parametrize("convert", ["clone", "lazy", "to_arrow", "to_pandas"])
def test_a_frame_is_scored_as_of_its_moments_and_stays_as_it_was(project, convert):
    client = FeatureEngineeringClient(project.lake)
    given = getattr(rows(zone=ZONE), convert)()
    answer = client.score_batch(model_uri=MODEL, df=given)
    answer = pl.DataFrame(answer.collect() if convert == "lazy" else answer)
    exact = client.score_batch(model_uri=MODEL, df=rows())
    assert answer.drop("at").equals(exact.drop("at"))
    assert answer["at"].dt.cast_time_unit("us").equals(rows(zone=ZONE)["at"])
    assert exact["light"].n_unique() > 2


def test_a_spark_frame_without_a_zone_is_scored_as_of_its_moments(project):
    from sololakehouse.engine import Engine

    client = FeatureEngineeringClient(project.lake)
    exact = client.score_batch(model_uri=MODEL, df=rows())
    with Engine.start() as engine:
        exact_rows = engine.session.createDataFrame(rows().to_arrow())
        exact_rows.createOrReplaceTempView("asked")
        text = f"from_utc_timestamp(at, '{ZONE}')"
        given = engine.session.sql(
            f"SELECT id, place, CAST({text} AS TIMESTAMP_NTZ) AS at, humid, wind, cloud FROM asked"
        )
        assert dict(given.dtypes)["at"] == "timestamp_ntz"
        answer = client.score_batch(model_uri=MODEL, df=given)
        found = pl.DataFrame(answer.toArrow())
    assert found["at"].equals(rows(zone=ZONE)["at"])
    assert found["light"].to_list() == exact["light"].to_list()
    assert found["prediction"].to_list() == exact["prediction"].to_list()


def test_a_frame_of_a_time_that_is_not_one_moment_is_refused(project):
    client = FeatureEngineeringClient(project.lake)
    given = rows(zone=ZONE).with_columns(at=pl.lit(datetime(2026, 3, 29, 2, 30)))
    with pytest.raises(FeatureLookupError, match=r"'at' of the rows to score has no time zone and"):
        client.score_batch(model_uri=MODEL, df=given)


@pytest.mark.parametrize("source", ["gold.{}", "SELECT * FROM gold.{} WHERE id > 0", "{}.parquet"])
def test_what_is_scored_is_stored_with_its_moments(project, source):
    for name, frame in (("local", rows(zone=ZONE)), ("exact", rows())):
        write(project, f"gold.{name}", frame)
        frame.write_parquet(project.folder / f"{name}.parquet")
    found = scored(project, source.format("local"), "local").snapshot.to_polars()
    exact = scored(project, source.format("exact"), "exact").snapshot.to_polars()
    assert found.drop(LEFT_OUT).sort("id").equals(exact.drop(LEFT_OUT).sort("id"))


@pytest.mark.parametrize("source", ["gold.{}", "SELECT * FROM gold.{} WHERE id > 0"])
def test_predictions_follow_the_setting_only_if_it_matters(project, source):
    write(project, "gold.local", rows(zone=ZONE))
    write(project, "gold.exact", rows())
    for name in ("local", "exact"):
        assert not scored(project, source.format(name), name).up_to_date
        assert scored(project, source.format(name), name).up_to_date
    declare(project, "America/New_York")
    assert scored(project, source.format("exact"), "exact").up_to_date
    again = scored(project, source.format("local"), "local")
    assert (again.up_to_date, again.kept) == (False, 0)
    assert again.snapshot.to_polars()["at"].min() == BEGIN + timedelta(hours=40 + 6)
    declare(project, None)
    assert scored(project, source.format("exact"), "exact").up_to_date
    with pytest.raises(FeatureLookupError, match="has no time zone"):
        scored(project, source.format("local"), "local")


def test_only_new_rows_are_scored(project):
    write(project, "gold.local", rows(zone=ZONE))
    scored(project, "gold.local", "local")
    write(project, "gold.local", rows([50, 51], ZONE), mode="append")
    again = scored(project, "gold.local", "local")
    assert (again.kept, again.scored) == (len(HOURS), 2)
    exact = FeatureEngineeringClient(project.lake).score_batch(
        model_uri=MODEL, df=rows([*HOURS, 50, 51])
    )
    found = again.snapshot.to_polars().sort("id")
    assert found["probability"].to_list() == exact.sort("id")["probability"].to_list()
    write(project, "gold.local", rows([52], ZONE), mode="append")
    declare(project, "America/New_York")
    assert scored(project, "gold.local", "local").kept == 0


def test_a_new_feature_row_that_a_scored_moment_sees_scores_all_again(project):
    write(project, "gold.local", rows([40, 41], ZONE))
    scored(project, "gold.local", "local")
    # Clocks show 42 at the latest moment that was scored, 41, which sees no row of 41:30.
    unseen = project.lake.read("features.sky").to_polars().head(1)
    for hour, kept in ((41.5, 2), (40.5, 0)):
        new = unseen.with_columns(
            place=pl.lit("hill"),
            feature_ts=pl.lit(BEGIN + timedelta(hours=hour)).cast(pl.Datetime("us", "UTC")),
        )
        write(project, "features.sky", new, mode="append")
        write(project, "gold.local", rows([60 + int(hour)], ZONE), mode="append")
        done = scored(project, "gold.local", "local")
        assert done.kept == kept


def test_what_was_left_unfinished_in_another_zone_is_not_used(project, monkeypatch):
    monkeypatch.setattr("sololakehouse.lake.memory.Memory.rows_of", lambda *_: 2)
    write(project, "gold.local", rows(zone=ZONE))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    job = ScoringJob(model=MODEL, input="gold.local", output="inference.left")
    with pytest.raises(KeyboardInterrupt):
        score(project.lake, project.writer(), job, on_rows=stop, chunk_rows=1)
    declare(project, "America/New_York")
    done = score(project.lake, project.writer(), job, chunk_rows=1)
    assert (done.resumed, done.scored) == (0, len(HOURS))
    assert done.snapshot.to_polars()["at"].min() == BEGIN + timedelta(hours=40 + 6)
