"""Scoring on a server: what its workers predict is what this process predicts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sololakehouse.config import ScoringJob
from sololakehouse.errors import EngineError, RunError
from sololakehouse.features import requests
from sololakehouse.inference import on_server
from sololakehouse.inference.batch import score
from sololakehouse.inference.frames import score_frame
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run
from tests.rain import ModelProject
from tests.spark import server

QUERY = "SELECT * FROM gold.labels WHERE id % 2 = 0"


@pytest.fixture(scope="module")
def project(trained, tmp_path_factory) -> ModelProject:
    folder = tmp_path_factory.mktemp("scored_there") / "rain"
    shutil.copytree(trained[0].folder, folder)
    return ModelProject(folder)


@pytest.fixture(
    scope="module",
    params=["Sail", pytest.param("Apache Spark", marks=pytest.mark.spark_suite)],
)
def workers(request, tmp_path_factory):
    """Give the address of a server whose workers have the libraries of this process."""
    if request.param == "Sail":
        yield request.getfixturevalue("sail_address")
        return
    reason = server.missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("spark")
    with server.started(folder, python=Path(sys.executable)) as running:
        yield running.address


def job(output: str, source: str = "gold.labels") -> ScoringJob:
    return ScoringJob(model="rain@staging", input=source, output=output)


def scored(project, asked: ScoringJob, engine: str = "embedded", *, finds_here: bool = True):
    lake = Lakehouse.open(project.folder, engine=engine)
    writer = LakeWriter(lake, Run.start(project.folder, engine))
    with pytest.MonkeyPatch.context() as patched:
        if not finds_here:
            patched.setattr(requests, "find", None)
        return score(lake, writer, asked)


def rows_of(result) -> pl.DataFrame:
    return result.snapshot.to_polars().drop("scored_at").sort("id")


@pytest.mark.parametrize("source", ["gold.labels", QUERY])
def test_a_server_gives_the_predictions_of_this_process(project, workers, source):
    port = workers.rpartition(":")[2]
    name = f"table_{port}" if source == "gold.labels" else f"query_{port}"
    here = scored(project, job(f"inference.{name}_here", source))
    there = scored(project, job(f"inference.{name}_there", source), workers, finds_here=False)
    assert_frame_equal(rows_of(there), rows_of(here))
    assert there.scored == here.scored == here.snapshot.rows
    mine, its = here.snapshot.record, there.snapshot.record
    assert its.manifest.digest == mine.manifest.digest
    assert its.inputs == mine.inputs
    assert its.engine != mine.engine
    assert there.snapshot.schema == here.snapshot.schema
    again = scored(project, job(f"inference.{name}_there", source), workers)
    assert again.up_to_date


def test_only_new_rows_are_scored_and_added(project, workers):
    labels = project.lake.read("gold.labels").to_polars()
    write = project.writer().write_frame
    write("gold.growing", labels.head(500), Change("TEST", "first"))
    asked = job("inference.growing", "gold.growing")
    scored(project, asked, workers)
    write("gold.growing", labels.tail(100), Change("TEST", "more"), mode="append")
    result = scored(project, asked, workers, finds_here=False)
    assert (result.kept, result.scored, result.snapshot.rows) == (500, 100, 600)
    both = pl.concat([labels.head(500), labels.tail(100)])
    assert result.snapshot.to_polars()["id"].sort().equals(both["id"].sort())


def test_what_a_worker_refuses_is_said_in_one_sentence(project, workers):
    odd = project.lake.read("gold.labels").to_polars().head(3)
    odd = odd.with_columns(humid=pl.lit(float("inf")))
    project.writer().write_frame("gold.odd", odd, Change("TEST", "odd"))
    with pytest.raises(RunError) as raised:
        scored(project, job("inference.odd", "gold.odd"), workers)
    assert "'humid' must be finite or NULL" in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not project.lake.exists("inference.odd")
    assert not list((project.lake.project.warehouse / "_staging").iterdir())


def test_rows_that_bring_features_are_scored_here(project, workers):
    lit = project.lake.read("gold.labels").to_polars().with_columns(light=pl.lit(0.5))
    project.writer().write_frame("gold.lit", lit, Change("TEST", "lit"))
    here = scored(project, job("inference.lit_here", "gold.lit"))
    there = scored(project, job("inference.lit_there", "gold.lit"), workers)
    assert_frame_equal(rows_of(there), rows_of(here))


def test_a_frame_of_a_server_is_scored_there(project, workers):
    lake = Lakehouse.open(project.folder, engine=workers)
    rows = project.lake.read("gold.labels").to_polars().drop("wet")
    here = score_frame(project.lake, "rain@staging", rows, "double")
    with lake.engine() as engine, pytest.MonkeyPatch.context() as patched:
        patched.setattr(requests, "find", None)
        frame = engine.read(lake.read("gold.labels")).drop("wet")
        scored_there = score_frame(lake, "rain@staging", frame, "double")
        there = pl.DataFrame(scored_there.toArrow())
    assert_frame_equal(there.sort("id"), here.sort("id"))


def test_no_rows_give_no_predictions(project, workers):
    source = "SELECT * FROM gold.labels WHERE id < 0"
    here = scored(project, job("inference.none_here", source))
    there = scored(project, job("inference.none_there", source), workers)
    assert there.snapshot.rows == 0
    assert there.snapshot.schema == here.snapshot.schema


def test_a_server_whose_python_lacks_libraries_is_refused(project, spark):
    with pytest.raises(EngineError) as raised:
        scored(project, job("inference.lacking"), spark.address)
    said = str(raised.value)
    assert "rain version 2 cannot predict on Apache Spark" in said
    assert "sololakehouse" in said
    assert "(not there)" in said
    assert "Install them where its workers run, or score with 'engine: embedded'" in said
    assert not project.lake.exists("inference.lacking")


def test_a_server_whose_libraries_are_others_is_refused(project, workers, monkeypatch):
    here = on_server.library_versions(["polars"])["polars"]
    monkeypatch.setattr(on_server, "library_versions", lambda _: {"polars": "0.1"})
    with pytest.raises(EngineError, match=rf"its Python needs polars 0\.1 \({here}\)\. Install"):
        scored(project, job("inference.others"), workers)
