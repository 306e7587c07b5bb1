"""Batch inference: files, moments, kills, and what it refuses."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl
import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.errors import BusyError, NotFoundError, RunError, UsageError
from sololakehouse.inference.batch import score
from sololakehouse.lake import Transaction
from sololakehouse.lake.doctor import diagnose
from sololakehouse.lake.lock import work_lock
from sololakehouse.provenance import Change, content_manifest
from tests.rain import ModelProject

JOB = ScoringJob(model="rain@staging", input="gold.asked", output="inference.asked")
ROWS = 400


@pytest.fixture(scope="module")
def project(trained, tmp_path_factory) -> ModelProject:
    """Give a copy of the trained project with some rows to score."""
    folder = tmp_path_factory.mktemp("scoring") / "rain"
    shutil.copytree(trained[0].folder, folder)
    project = ModelProject(folder)
    rows = project.lake.read("gold.labels").to_polars().drop("wet").head(ROWS)
    project.writer().write_frame("gold.asked", rows, Change("TEST", "asked"))
    return project


@pytest.fixture(scope="module")
def scored(project):
    return run(project)


def run(project, **changes):
    return score(project.lake, project.writer(), JOB.model_copy(update=changes))


def test_rows_keep_their_order_and_the_values_that_the_model_was_given(project, scored):
    rows = scored.snapshot.to_polars()
    asked = project.lake.read("gold.asked").to_polars()
    assert rows.select(asked.columns).equals(asked)
    added = rows.columns[len(asked.columns) :]
    names = ("light", "probability", "prediction", "model_name", "model_version")
    assert added == [*names, "feature_versions", "scored_at"]
    known = project.lake.read("training.rain").to_polars().head(ROWS)
    assert rows["light"].equals(known["light"])


def test_without_features_only_predictions_are_added(project, scored):
    rows = run(project, features=False, output="inference.bare").snapshot.to_polars()
    assert "light" not in rows.columns
    assert rows["probability"].equals(scored.snapshot.to_polars()["probability"])


def test_a_feature_that_the_rows_have_is_used_in_its_type_whatever_their_number(project, scored):
    rows = project.lake.read("gold.asked").to_polars().with_columns(light=pl.lit(3, pl.Int64))
    project.writer().write_frame("gold.lit", rows, Change("TEST", "lit"))
    given = run(project, input="gold.lit", output="inference.lit").snapshot.to_polars()
    assert given["light"].to_list() == [3.0] * ROWS
    assert given["probability"].to_list() != scored.snapshot.to_polars()["probability"].to_list()
    wrong = rows.with_columns(light=pl.lit("dim"))
    project.writer().write_frame("gold.lit", wrong, Change("TEST", "dim"))
    with pytest.raises(UsageError, match="stands for a feature that is Float64, and is String"):
        run(project, input="gold.lit", output="inference.lit")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_is_scored_as_the_table_is_and_only_once(project, scored, suffix):
    rows = project.lake.read("gold.asked").to_polars()
    file = project.folder / f"asked.{suffix}"
    if suffix == "parquet":
        rows.write_parquet(file)
    else:
        written = rows.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        written.write_csv(file) if suffix == "csv" else written.write_ndjson(file)
    output = f"inference.of_{suffix}"
    first = run(project, input=file.name, output=output)
    assert first.snapshot.to_polars()["probability"].equals(
        scored.snapshot.to_polars()["probability"]
    )
    assert first.snapshot.record.details["input_identity"].startswith("sha256:")
    assert run(project, input=file.name, output=output).up_to_date
    if suffix == "csv":
        file.write_text(file.read_text().replace("hill", "shore"))
        assert run(project, input=file.name, output=output).snapshot.version == 2


def test_a_value_that_is_none_is_named_with_its_line(project):
    (project.folder / "bad.csv").write_text(
        "place,at,humid,wind,cloud\n"
        "hill,2026-01-01T00:00:00Z,0.5,0.1,none\n"
        "hill,2026-01-01T00:00:00Z,wet,0.1,none\n"
    )
    with pytest.raises(RunError, match=r"bad.csv:3: .*humid.*Nothing was scored"):
        run(project, input="bad.csv", output="inference.bad")
    assert not (project.lake.project.warehouse / "_unfinished").exists()
    assert not project.lake.exists("inference.bad")


def test_as_of_reads_input_and_features_as_they_were(project, scored):
    before = datetime.now(UTC)
    sky = project.lake.read("features.sky")
    other = sky.to_polars().with_columns(light=-pl.col("light"))
    rows = project.lake.read("gold.asked").to_polars()
    properties = {"feature.keys": "place", "feature.timestamp": "feature_ts"}
    writer = project.writer()
    changed = writer.write_frame("features.sky", other, Change("T", "dark"), properties=properties)
    grown = writer.write_frame("gold.asked", rows.head(3), Change("T", "three"))
    try:
        now = run(project, output="inference.moments")
        job = JOB.model_copy(update={"output": "inference.moments"})
        then = score(project.lake, project.writer(), job, as_of=before)
        assert (now.snapshot.rows, then.snapshot.rows) == (3, ROWS)
        columns = ["id", "light", "probability"]
        assert (
            then.snapshot.to_polars()
            .select(columns)
            .equals(scored.snapshot.to_polars().select(columns))
        )
        query = job.model_copy(update={"input": "SELECT * FROM gold.asked"})
        asked = score(project.lake, project.writer(), query, as_of=before).snapshot
        assert [str(pin) for pin in asked.record.inputs] == [
            f"gold.asked@v{grown.version - 1}",
            f"features.sky@v{changed.version - 1}",
        ]
    finally:
        writer.write_frame("features.sky", sky.to_polars(), Change("T", "light again"))
        writer.write_frame("gold.asked", rows, Change("T", "all again"))


def unfinished(project):
    """Return what the doctor says of work that was killed."""
    return [one for one in diagnose(project.lake) if one.check == "unfinished"]


KILLED = """\
import os, signal, sys
from pathlib import Path
from sololakehouse.inference.batch import score
from tests.inference.test_scoring import JOB
from tests.rain import ModelProject
project = ModelProject(Path(sys.argv[1]))
def stop(done, total):
    if done >= 250:
        os.kill(os.getpid(), signal.SIGKILL)
job = JOB.model_copy(update={"output": "inference.killed"})
score(project.lake, project.writer(), job, on_rows=stop, chunk_rows=1)
"""


def test_a_killed_one_goes_on_where_it_was_and_nobody_saw_half_of_it(
    project, scored, monkeypatch, request
):
    monkeypatch.setattr("sololakehouse.lake.memory.Memory.rows_of", lambda *_: 100)
    code = "import sololakehouse.lake.memory as m\nm.Memory.rows_of = lambda *_: 100\n" + KILLED
    done = subprocess.run(
        [sys.executable, "-c", code, str(project.folder)],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not project.lake.exists("inference.killed")
    (left,) = unfinished(project)
    assert (left.table, left.severity) == ("inference.killed", "warning")
    assert "left 300 scored rows and" in left.what
    assert str(project.lake.project.warehouse / "_unfinished" / "inference.killed") in left.what
    assert "The same 'slh score' into inference.killed goes on from there" in left.advice
    seen, meanwhile = [], []
    job = JOB.model_copy(update={"output": "inference.killed"})
    result = score(
        project.lake,
        project.writer(),
        job,
        on_rows=lambda *rows: (seen.append(rows), meanwhile.append(unfinished(project))),
        chunk_rows=1,
    )
    assert meanwhile == [[]]
    assert unfinished(project) == []
    assert (result.resumed, result.scored, seen) == (300, ROWS, [(ROWS, ROWS)])
    moments = ("feature_versions", "scored_at")
    rows, undisturbed = (one.snapshot.to_polars().drop(moments) for one in (result, scored))
    assert rows.equals(undisturbed)
    assert result.snapshot.record.manifest == content_manifest(
        result.snapshot.scan(), ["scored_at"]
    )
    assert result.snapshot.to_polars()["scored_at"].n_unique() == 2
    assert not (project.lake.project.warehouse / "_unfinished").exists()


def test_what_another_input_left_unfinished_is_not_used(project, monkeypatch):
    monkeypatch.setattr("sololakehouse.lake.memory.Memory.rows_of", lambda *_: 100)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    job = JOB.model_copy(update={"output": "inference.left"})
    with pytest.raises(KeyboardInterrupt):
        score(project.lake, project.writer(), job, on_rows=stop, chunk_rows=1)
    other = job.model_copy(update={"model": "rain@1"})
    result = score(project.lake, project.writer(), other, chunk_rows=1)
    assert (result.resumed, result.scored) == (0, ROWS)
    assert result.snapshot.to_polars()["model_version"].unique().to_list() == [1]


def test_the_commit_carries_a_transaction_so_that_it_is_made_once(project, scored):
    assert scored.snapshot.has_transaction(Transaction("score/rain", 1))
    assert not scored.snapshot.has_transaction(Transaction("score/rain", 2))
    run(project, model="rain@1", output="inference.turns")
    run(project, output="inference.turns")
    again = run(project, model="rain@1", output="inference.turns")
    assert (again.snapshot.version, again.up_to_date) == (3, False)
    assert again.snapshot.transaction_version("score/rain") == 3


def test_two_processes_do_not_score_into_one_table(project):
    warehouse = project.lake.project.warehouse
    # Within one thread the lock could be taken again.
    with work_lock(warehouse, "inference.busy", "slh score"), ThreadPoolExecutor(1) as pool:
        other = pool.submit(run, project, output="inference.busy")
        with pytest.raises(BusyError, match="Another command is at work"):
            other.result()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"output": "gold.asked", "input": "gold.labels"}, UsageError, "holds no predictions"),
        ({"output": "gold.asked"}, UsageError, "gold.asked is the input, and cannot be"),
        ({"input": "tomorrow.csv"}, NotFoundError, "There is no file 'tomorrow.csv' and no table"),
        ({"input": "a/b.parquet"}, NotFoundError, "There is no file 'a/b.parquet'. A path is"),
        ({"input": " "}, UsageError, "Name a table or a file, or write a SELECT"),
        ({"input": "inference.asked"}, UsageError, "has a column 'probability', which is the name"),
        (
            {"input": "SELECT * FROM gold.asked WHERE at < current_timestamp()"},
            UsageError,
            "The query of the input uses current_timestamp()",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(project, scored, changes, error, message):
    changes = {"output": "inference.other"} | changes
    with pytest.raises(error, match=re.escape(message)):
        run(project, **changes)
