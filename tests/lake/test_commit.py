from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.statistics import file_statistics
from sololakehouse.provenance import Change, Manifest, content_manifest

FRAME = pl.DataFrame({"id": [1, 2, None], "name": ["a", None, "c"]})
CHANGE = Change("TEST", "f1")


@pytest.fixture
def project(make_project):
    return make_project()


def test_data_begins_with_version_1(project):
    snapshot = project.writer().write_frame("silver.t", FRAME, CHANGE)
    assert (snapshot.version, snapshot.rows) == (1, 3)
    assert snapshot.to_polars().equals(FRAME)


def test_the_record_describes_the_whole_table_after_each_commit(project):
    project.writer().write_frame("silver.t", FRAME, CHANGE)
    snapshot = project.writer().write_frame("silver.t", FRAME, CHANGE, mode="append")
    assert snapshot.record.rows_written == 3
    assert snapshot.record.manifest == content_manifest(snapshot.scan())


def test_appending_to_what_another_writer_left_reads_it_first(project):
    from deltalake import write_deltalake

    path = project.lake.path("silver.t")
    path.mkdir(parents=True)
    write_deltalake(path, FRAME)
    snapshot = project.writer().write_frame("silver.t", FRAME, CHANGE, mode="append")
    assert snapshot.record.manifest == content_manifest(snapshot.scan())
    assert snapshot.rows == 6


def test_a_manifest_of_an_older_algorithm_is_not_added_to(project):
    writer = project.writer()
    old = Manifest(rows=3, row_sum=1, columns={"id": 2, "name": 3}, algorithm=1)
    with writer.staging() as folder:
        FRAME.write_parquet(folder / "part.parquet")
        writer.commit("silver.t", folder, CHANGE, manifest=old)
    appended = writer.write_frame("silver.t", FRAME, CHANGE, mode="append")
    assert appended.record.manifest == content_manifest(pl.concat([FRAME, FRAME]).lazy())


def test_rows_with_other_columns_are_not_appended(project):
    project.writer().write_frame("silver.t", FRAME, CHANGE)
    with pytest.raises(RunError, match="has the columns id, name; rows with"):
        project.writer().write_frame("silver.t", FRAME.rename({"id": "k"}), CHANGE, mode="append")
    assert project.versions() == {"silver.t": 1}


def test_overwriting_may_change_the_schema_and_old_versions_stay(project):
    project.writer().write_frame("silver.t", FRAME, CHANGE)
    project.writer().write_frame("silver.t", FRAME.rename({"id": "k"}), CHANGE)
    assert list(project.lake.read("silver.t").columns) == ["k", "name"]
    assert project.lake.read("silver.t", version=1).to_polars().equals(FRAME)
    assert project.lake.read("silver.t@v1").version == 1


def test_a_snapshot_does_not_move(project):
    first = project.writer().write_frame("silver.t", FRAME, CHANGE)
    project.writer().write_frame("silver.t", FRAME.head(1), CHANGE)
    assert first.rows == 3
    assert first.to_polars().height == 3


def test_history_is_numbered_from_the_pinned_version(project):
    project.writer().write_frame("silver.t", FRAME, CHANGE)
    project.writer().write_frame("silver.t", FRAME, Change("TEST", "f2"))
    pinned = project.lake.read("silver.t", version=1)
    assert [(e.version, e.record and e.record.fingerprint) for e in pinned.history()] == [
        (1, "f1"),
        (0, None),
    ]
    assert [entry.version for entry in project.lake.read("silver.t").history(limit=1)] == [2]


def test_readers_have_no_way_to_write(project):
    names = {name for name in dir(Lakehouse) if not name.startswith("_")}
    assert names == {
        "archived_commits",
        "committed",
        "engine",
        "exists",
        "history",
        "newest",
        "open",
        "path",
        "read",
        "table_names",
        "without_log",
    }
    wanted = {name for name in dir(Snapshot) if not name.startswith("_")}
    assert not {name for name in wanted if re.search("write|commit$|delete|update|drop", name)} - {
        "commit"
    }


def test_an_error_while_staging_changes_nothing(project):
    writer = project.writer()
    with pytest.raises(RunError, match=r"wrote no file for silver\.t"), writer.staging() as staged:
        writer.commit("silver.t", staged, CHANGE)
    assert project.lake.table_names() == []


@pytest.mark.parametrize("version", [-1, 2])
def test_an_unknown_version_says_which_there_are(project, version):
    project.writer().write_frame("silver.t", FRAME, CHANGE)
    with pytest.raises(NotFoundError, match="Its versions are 0 to 1"):
        project.lake.read("silver.t", version=version)


def test_an_unknown_table_has_candidates(project):
    project.writer().write_frame("silver.flights", FRAME, CHANGE)
    with pytest.raises(NotFoundError, match=r"Did you mean 'silver\.flights'\?"):
        project.lake.read("silver.flihgts")


@pytest.mark.parametrize("name", ["flat", "a.b.c", "a/b.c", "../x.y", ""])
def test_a_name_of_another_form_is_refused(project, name):
    with pytest.raises(UsageError, match=r"Write schema\.table"):
        project.lake.read(name)


def test_statistics_are_never_tighter_than_the_data(tmp_path):
    moment = datetime(2026, 1, 1, 0, 0, 0, 1500, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "t": [moment, moment + timedelta(seconds=1)],
            "n": [None, 7],
            "f": [1.0, float("nan")],
            "long": ["a", "b" * 100],
            "nested": [[1], [2]],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    found = file_statistics(tmp_path / "a.parquet")
    assert found["numRecords"] == 2
    assert found["minValues"]["t"] == "2026-01-01T00:00:00.001Z"
    assert found["maxValues"]["t"] == "2026-01-01T00:00:01.002Z"
    assert (found["minValues"]["n"], found["nullCount"]["n"]) == (7, 1)
    assert found["maxValues"].get("long", "c") > "b" * 100
    assert not {"f", "nested"} & found["minValues"].keys()


def test_commits_say_what_delta_readers_expect(project):
    snapshot = project.writer().write_frame("silver.t", FRAME, CHANGE)
    log = snapshot.path / "_delta_log" / f"{1:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    (add,) = [action["add"] for action in actions if "add" in action]
    assert json.loads(add["stats"])["numRecords"] == 3
    assert add["dataChange"] is True


def test_a_broken_log_is_one_sentence_with_the_table(project):
    snapshot = project.writer().write_frame("silver.t", FRAME, CHANGE)
    (snapshot.path / "_delta_log" / f"{1:020}.json").write_text('{"add": {')
    with pytest.raises(RunError, match=r"silver\.t: the log entry .*1\.json is cut short"):
        project.lake.read("silver.t")


def test_a_log_without_a_commit_is_no_table_yet(project):
    (project.lake.path("silver.t") / "_delta_log").mkdir(parents=True)
    assert not project.lake.exists("silver.t")
    assert project.writer().write_frame("silver.t", FRAME, CHANGE).rows == 3
