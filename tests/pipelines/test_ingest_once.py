"""A file is taken once; what is malformed is kept in the quarantine; a crash changes neither."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import polars as pl
import pytest

from sololakehouse.errors import IngestError
from sololakehouse.lake import LakeWriter
from sololakehouse.pipelines.ingested import ingested_files
from sololakehouse.provenance import Change, content_manifest

CONFIG = """\
name: test
sources:
  sales:
    path: landing/*.csv
    table: bronze.sales
    on_change: {on_change}
    max_quarantined: {limit}
    schema: {{id: bigint, shop: string, amount: double}}
"""
FIRST = 'id,shop,amount\n1,a,1\n2,"b\nb",ten\n3,c,3\n4,d\n5,e,5\n'
KILLED = """
import os, sys
from pathlib import Path
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.pipelines.ingest import ingest
from sololakehouse.provenance import Run
commit, at, after = LakeWriter.commit, int(sys.argv[1]), sys.argv[2] == "after"
calls = 0
def dying(self, *a, **k):
    global calls
    calls += 1
    if calls == at and not after:
        os._exit(9)
    done = commit(self, *a, **k)
    if calls == at:
        os._exit(9)
    return done
LakeWriter.commit = dying
lake = Lakehouse.open()
ingest(lake, LakeWriter(lake, Run.start(Path("."), "embedded")), "sales")
"""
WAITING = """
import sys, time
from pathlib import Path
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.pipelines import ingest as module
from sololakehouse.provenance import Run
quarantine, waited = module.quarantine, []
def together(*arguments):
    Path(sys.argv[1]).touch()
    while not waited and len(list(Path(sys.argv[1]).parent.glob("here*"))) < 2:
        time.sleep(0.01)
    waited.append(True)
    return quarantine(*arguments)
module.quarantine = together
lake = Lakehouse.open()
done = module.ingest(lake, LakeWriter(lake, Run.start(Path("."), "embedded")), "sales")
print(done.rows)
"""


@pytest.fixture
def shop(make_project):
    """A project whose first file has three rows and two malformed records."""

    def make(on_change="error", limit=0.5):
        config = CONFIG.format(on_change=on_change, limit=limit)
        return make_project(config=config, **{"landing/a.csv": FIRST})

    return make


def rows_of(project, table="bronze.sales"):
    return project.lake.read(table).to_polars()


def bad_rows(project):
    return rows_of(project, "bronze.sales_quarantine")


def details(project):
    return project.lake.read("bronze.sales").record.details


def check_manifest(project, table="bronze.sales"):
    snapshot = project.lake.read(table)
    assert snapshot.record.manifest == content_manifest(snapshot.scan(), ["_ingested_at"])


def process(project, script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=project.folder, stdout=subprocess.PIPE, text=True)


def test_malformed_records_are_kept_with_line_text_and_reason(shop):
    project = shop()
    result = project.ingest()
    assert (result.rows, result.quarantined) == (3, 2)
    assert result.quarantine == "bronze.sales_quarantine"
    found = bad_rows(project)
    assert found["_source_line"].to_list() == [3, 6]
    assert found["_raw"].to_list() == ['2,"b\nb",ten', "4,d"]
    assert found["_reason"].to_list() == [
        "column 'amount' holds 'ten', which is no double",
        "the row has 2 fields, the header has 3",
    ]
    assert found["_source_file"].unique().to_list() == ["landing/a.csv"]
    assert found["_source_sha256"].to_list() == [result.new_files[0].sha256] * 2
    assert found["_ingested_at"].dtype == pl.Datetime("us", "UTC")
    assert rows_of(project)["_source_line"].to_list() == [2, 5, 7]


def test_the_record_counts_rows_in_accepted_and_quarantined(shop):
    project = shop()
    result = project.ingest()
    (file,) = result.new_files
    assert details(project) == {
        "source": "sales",
        "batch": 1,
        "files": {
            "landing/a.csv": {
                "sha256": file.sha256,
                "bytes": len(FIRST),
                "rows": 5,
                "accepted": 3,
                "quarantined": 2,
                "action": "new",
            }
        },
    }
    assert result.snapshot.transaction_version("ingest/sales") == 1


def test_above_the_limit_the_file_fails_as_a_whole(shop):
    project = shop(limit=0.39)
    project.write("landing/b.csv", "id,shop,amount\n6,f,6\n")
    with pytest.raises(IngestError) as raised:
        project.ingest()
    assert str(raised.value).startswith(
        "landing/a.csv:3: column 'amount' holds 'ten', which is no double. landing/a.csv:6: the "
        "row has 2 fields, the header has 3. 2 of 5 rows are malformed, and max_quarantined "
        "allows 39.00%."
    )
    assert project.lake.table_names() == []


def test_a_share_at_the_limit_is_allowed(shop):
    assert shop(limit=0.4).ingest().quarantined == 2


def test_changed_content_is_appended_where_the_source_says_so(shop):
    project = shop("append")
    project.ingest()
    project.write("landing/a.csv", "id,shop,amount\n9,z,9\n")
    assert project.ingest().rows == 1
    assert details(project)["files"]["landing/a.csv"]["action"] == "append"
    assert rows_of(project)["id"].sort().to_list() == [1, 3, 5, 9]
    project.write("landing/a.csv", FIRST)
    assert project.ingest().known_files == 1
    contents = ingested_files(project.lake, project.lake.read("bronze.sales"))
    assert len(contents["landing/a.csv"]) == 2


def test_changed_content_replaces_the_rows_of_its_file_in_one_commit(shop):
    project = shop("replace")
    project.write("landing/b.csv", "id,shop,amount\n7,g,7\n")
    before = project.ingest().snapshot.version
    project.write("landing/a.csv", "id,shop,amount\n1,a,1\n9,z,9\n")
    result = project.ingest()
    assert (result.rows, result.snapshot.version) == (2, before + 1)
    assert rows_of(project)["id"].sort().to_list() == [1, 7, 9]
    assert details(project)["files"]["landing/a.csv"]["action"] == "replace"
    assert list(details(project)["files"]) == ["landing/a.csv"]
    check_manifest(project)
    project.write("landing/a.csv", FIRST)
    assert project.ingest().rows == 3
    assert rows_of(project)["id"].sort().to_list() == [1, 3, 5, 7]
    assert bad_rows(project).height == 2


def test_replacing_rewrites_files_that_hold_rows_of_other_files_too(shop):
    project = shop("replace")
    project.write("landing/b.csv", "id,shop,amount\n7,g,7\n")
    project.ingest()
    from deltalake import DeltaTable

    DeltaTable(project.lake.path("bronze.sales")).optimize.compact()
    assert len(project.lake.read("bronze.sales").file_uris()) == 1
    project.write("landing/a.csv", "id,shop,amount\n9,z,9\n")
    project.ingest()
    assert rows_of(project)["id"].sort().to_list() == [7, 9]
    check_manifest(project)


def test_a_file_without_rows_is_known_afterwards(shop):
    project = shop()
    project.write("landing/b.csv", "id,shop,amount\n")
    assert len(project.ingest().new_files) == 2
    assert project.ingest().known_files == 2
    assert details(project)["files"]["landing/b.csv"]["rows"] == 0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("commit", [1, 2])
def test_a_killed_ingestion_is_finished_by_the_next(shop, commit, moment):
    project = shop()
    died = process(project, KILLED, commit, moment)
    died.communicate()
    assert died.returncode == 9
    project.ingest()
    assert rows_of(project)["id"].sort().to_list() == [1, 3, 5]
    assert bad_rows(project)["_source_line"].sort().to_list() == [3, 6]
    assert details(project)["batch"] == 1
    assert project.ingest().known_files == 1
    check_manifest(project)
    check_manifest(project, "bronze.sales_quarantine")


def test_after_a_crash_other_files_are_quarantined_too(shop):
    project = shop()
    process(project, KILLED, 1, "after").communicate()
    project.write("landing/b.csv", "id,shop,amount\nx,b,1\n2,b,2\n")
    result = project.ingest()
    assert (result.rows, result.quarantined) == (4, 3)
    assert bad_rows(project)["_raw"].sort().to_list() == ['2,"b\nb",ten', "4,d", "x,b,1"]


def test_after_a_crash_other_settings_judge_anew(shop):
    project = shop()
    process(project, KILLED, 1, "after").communicate()
    config = CONFIG.format(on_change="error", limit=0.5)
    project.write("lakehouse.yml", config + "    options: {null_value: ten}\n")
    assert project.ingest().rows == 4
    assert bad_rows(project)["_raw"].to_list() == ["4,d"]
    check_manifest(project, "bronze.sales_quarantine")


def test_after_a_crash_nothing_may_be_malformed_any_more(shop):
    project = shop()
    project.write("landing/a.csv", "id,shop,amount\n1,a,NA\n2,b,1\n")
    process(project, KILLED, 1, "after").communicate()
    config = CONFIG.format(on_change="error", limit=0.5)
    project.write("lakehouse.yml", config + "    options: {null_value: NA}\n")
    assert project.ingest().quarantined == 0
    assert bad_rows(project).height == 0


def test_two_processes_at_once_add_the_same_files_once(shop):
    project = shop()
    both = [process(project, WAITING, project.folder / f"here{n}") for n in (1, 2)]
    said = sorted(one.communicate()[0].strip() for one in both)
    assert said == ["0", "3"]
    assert rows_of(project)["id"].sort().to_list() == [1, 3, 5]
    assert bad_rows(project).height == 2
    assert project.versions()["bronze.sales"] == 1


def test_what_another_process_did_not_take_is_taken_in_the_next_round(shop, monkeypatch):
    from sololakehouse.pipelines import ingest as module

    project, other = shop(), []
    quarantine = module.quarantine

    def overtaken(*arguments):
        if not other:
            other.append(True)
            late = project.folder / "landing/b.csv"
            late.rename(project.folder / "b")
            other.append(project.ingest())
            (project.folder / "b").rename(late)
        return quarantine(*arguments)

    project.write("landing/b.csv", "id,shop,amount\n7,g,7\n")
    monkeypatch.setattr(module, "quarantine", overtaken)
    result = project.ingest()
    assert [file.path for file in result.new_files] == ["landing/b.csv"]
    assert rows_of(project)["id"].sort().to_list() == [1, 3, 5, 7]
    assert details(project)["batch"] == 2


def test_a_file_that_changes_while_it_is_read_is_refused(shop, monkeypatch):
    from sololakehouse.pipelines import ingest as module

    project = shop()
    reader = module._Ingestion._reader

    def growing(self, file):
        project.write("landing/a.csv", FIRST + "6,f,6\n")
        return reader(self, file)

    monkeypatch.setattr(module._Ingestion, "_reader", growing)
    with pytest.raises(IngestError, match=r"landing/a\.csv was changed while it was read"):
        project.ingest()
    assert project.lake.table_names() == []


def test_records_of_earlier_releases_are_understood(shop):
    project = shop()
    frame = pl.DataFrame({"id": [1], "shop": ["a"], "amount": [1.0]})
    sha = "0" * 64
    old = Change("INGEST", "f", details={"source": "sales", "files": {"landing/a.csv": sha}})
    project.writer().write_frame("bronze.sales", frame, old, mode="append")
    with pytest.raises(IngestError, match=r"changed since it was taken.*SHA-256 000000000000"):
        project.ingest()


def test_archived_records_and_at_last_the_rows_say_which_files_are_known(shop):
    project = shop()
    done = project.ingest().snapshot
    project.write("landing/b.csv", "id,shop,amount\n7,g,7\n")
    project.ingest()
    log = done.path / "_delta_log"
    from deltalake import DeltaTable

    DeltaTable(done.path).create_checkpoint()
    archive = pl.DataFrame(
        {
            "table": ["bronze.sales"] * 2,
            "table_id": [done.table_id] * 2,
            "version": [0, 1],
            "timestamp": [datetime(2026, 1, 1, tzinfo=UTC)] * 2,
            "operation": ["CREATE TABLE", "WRITE"],
            "record": [None, done.record.model_dump_json()],
        }
    )
    for version in (0, 1):
        (log / f"{version:020}.json").unlink()
    assert project.ingest().known_files == 2
    project.writer().write_frame("system.archived_commits", archive, Change("ARCHIVE", "f"))
    table = project.lake.read("bronze.sales")
    known = ingested_files(project.lake, table)
    assert known["landing/a.csv"][0].about["quarantined"] == 2
    assert project.ingest().known_files == 2
    assert rows_of(project).height == 4


def test_the_command_says_how_many_rows_are_quarantined_and_where(shop, capsys, monkeypatch):
    from sololakehouse.cli import main

    project = shop()
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(sys, "argv", ["slh", "ingest", "--json"])
    with pytest.raises(SystemExit):
        main()
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["new rows"], row["quarantined"]) == (3, 2)
    assert row["quarantine"] == "bronze.sales_quarantine"


def test_progress_tells_rows_and_bytes(shop):
    from sololakehouse.pipelines.ingest import ingest

    project, seen = shop(), []
    ingest(project.lake, project.writer(), "sales", seen.append)
    last = seen[-1]
    assert (last.rows, last.bytes, last.total_bytes) == (5, len(FIRST), len(FIRST))


def test_lake_writer_removes_and_adds_in_one_commit(make_project):
    writer: LakeWriter = make_project().writer()
    frame = pl.DataFrame({"k": ["a", "b", None], "v": [1, 2, 3]})
    writer.write_frame("silver.t", frame, Change("T", "1"))
    with writer.staging() as folder:
        pl.DataFrame({"k": ["a"], "v": [9]}).write_parquet(folder / "a.parquet")
        removed = pl.col("k") == "a"
        done = writer.commit("silver.t", folder, Change("T", "2"), mode="append", removes=removed)
    assert done.version == 2
    assert sorted(done.to_polars().rows(), key=str) == [("a", 9), ("b", 2), (None, 3)]
    assert done.record.manifest == content_manifest(done.scan())
    assert re.search("remove", (done.path / "_delta_log" / f"{2:020}.json").read_text())


def test_files_that_a_restore_took_back_are_new_again(shop):
    from deltalake import DeltaTable

    from sololakehouse.lake.commit import commit_properties

    project = shop()
    first = project.ingest().snapshot
    project.write("landing/b.csv", "id,shop,amount\n7,g,7\n")
    project.ingest()
    change = Change("RESTORE", "f", details={"restored": {"version": 1}})
    record = project.writer().record(change, 0, first.record.manifest)
    properties = commit_properties(record)
    DeltaTable(first.path).restore(1, commit_properties=properties)
    result = project.ingest()
    assert [file.path for file in result.new_files] == ["landing/b.csv"]
    assert rows_of(project)["id"].sort().to_list() == [1, 3, 5, 7]
    assert details(project)["batch"] == 3
    check_manifest(project)
