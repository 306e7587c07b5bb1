"""A full disk, a folder that cannot be written to, and what a failed commit leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.errors import RunError
from sololakehouse.features.saved import build_training_set
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake.staging import dead_folders, staging_folder
from sololakehouse.models.pending import pending_runs
from sololakehouse.models.tracking import check_store, connected
from sololakehouse.models.versions import model_versions
from sololakehouse.provenance import Change, Run
from tests.conftest import ProjectFolder
from tests.faults.shop import Shop, check_every_table, orphans
from tests.rain import EXPERIMENT
from tests.rain import make_project as make_rain_project

CHANGE = Change("TEST", "f")
FRAME = pl.DataFrame({"id": range(3000)})
PAGE = 4096


def fill(disk: Path, leave: int) -> None:
    """Fill a file system but for so many bytes."""
    about = os.statvfs(disk)
    (disk / "filler").write_bytes(b"\1" * max(0, about.f_bavail * about.f_frsize - leave))


def empty(disk: Path) -> None:
    (disk / "filler").unlink()


def writer_on(disk: Path) -> LakeWriter:
    (disk / "lakehouse.yml").write_text("name: small\n")
    return LakeWriter(Lakehouse.open(disk), Run.start(disk, "embedded"))


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_full_disk_stops_a_commit_at_any_point_and_harms_nothing(small_disk, mode, figure):
    """Leaving one page more each time, the disk is full for staging, for moving, for the log."""
    writer = writer_on(small_disk)
    writer.write_frame("silver.other", FRAME, CHANGE)
    version = writer.write_frame("silver.t", FRAME, CHANGE).version
    failed = 0
    for pages in range(12):
        fill(small_disk, pages * PAGE)
        said = ""
        try:
            version = writer.write_frame("silver.t", FRAME, CHANGE, mode=mode).version
        except RunError as error:
            said = str(error)
            failed += 1
        empty(small_disk)
        assert said == "" or "the disk is full. Free some space and run again." in said
        assert writer.lake.read("silver.t").version == version
        check_every_table(writer.lake)
        assert orphans(writer.lake) == set()
        assert list((small_disk / "warehouse" / "_staging").iterdir()) == []
    assert 2 <= failed < 12
    assert writer.write_frame("silver.t", FRAME, CHANGE).version == version + 1
    figure(f"full disk, {mode}: {failed} of 12 sizes stopped the commit; no file was left")


def test_a_full_disk_when_a_table_is_created_leaves_no_table(small_disk):
    writer = writer_on(small_disk)
    writer.write_frame("silver.other", FRAME, CHANGE)
    for pages in range(4):
        fill(small_disk, pages * PAGE)
        with pytest.raises(RunError, match="the disk is full"):
            writer.write_frame(f"silver.t{pages}", FRAME, CHANGE)
        empty(small_disk)
        created = writer.lake.newest(f"silver.t{pages}")
        assert created is None or created.rows == 0
        check_every_table(writer.lake)
        assert orphans(writer.lake) == set()
        assert writer.write_frame(f"silver.t{pages}", FRAME, CHANGE).rows == 3000


def test_an_optimize_on_a_full_disk_says_so_in_one_sentence(small_disk, slh_process):
    writer = writer_on(small_disk)
    for number in range(4):
        rows = pl.DataFrame({"id": range(number * 9000, number * 9000 + 9000)})
        writer.write_frame("silver.t", rows.sample(9000, seed=number), CHANGE, mode="append")
    before = writer.lake.read("silver.t")
    fill(small_disk, 15 * PAGE)
    said = slh_process("optimize", "silver.t", "--zorder", "id", folder=small_disk)
    empty(small_disk)
    assert said.code == 1
    assert said.err.startswith("Error: ")
    assert said.err.count("\n") == 1
    assert "the disk is full. Free some space and run again." in said.err
    assert writer.lake.read("silver.t").version == before.version
    assert orphans(writer.lake) == set()
    check_every_table(writer.lake)


@pytest.mark.parametrize("command", ["ingest", "run"])
def test_a_command_on_a_full_disk_says_so_and_is_finished_later(small_disk, slh, command):
    project = ProjectFolder(small_disk)
    project.write("lakehouse.yml", Shop.CONFIG)
    project.write("spark-pipeline.yml", "name: x\ndatabase: silver\nstorage: x\nlibraries: [{glob: "
                  "{include: transformations/**}}]\n")  # fmt: skip
    for name, text in Shop.PIPELINE.items():
        project.write(name, text)
    shop = Shop(project)
    shop.deliver()
    assert slh("ingest", folder=shop.folder).code == 0
    if command == "ingest":
        shop.deliver()
    stopped = 0
    for pages in (0, 1, 2, 4, 8):
        fill(small_disk, pages * PAGE)
        said = slh(command, folder=shop.folder)
        empty(small_disk)
        assert said.code in (0, 1)
        if said.code:
            stopped += 1
            assert said.err.startswith("Error: ")
            assert "the disk is full" in said.err
            assert "Traceback" not in said.err
        check_every_table(shop.lake)
        assert orphans(shop.lake) == set()
    assert stopped
    assert slh("ingest", folder=shop.folder).code == 0
    assert slh("run", folder=shop.folder).code == 0
    shop.check_all()


@pytest.mark.faults
def test_a_training_on_a_full_disk_says_so_and_is_finished_later(small_disk, slh_process):
    make_rain_project(small_disk)
    (small_disk / "rain.yml").write_text(EXPERIMENT)
    for leave in (0, 64 * PAGE):
        fill(small_disk, leave)
        said = slh_process("train", "rain.yml", folder=small_disk)
        empty(small_disk)
        assert (said.code, said.out) == (1, "")
        assert "disk is full" in said.err
        check_every_table(Lakehouse.open(small_disk))
    (small_disk / "mlflow.db").unlink()
    assert slh_process("train", "rain.yml", folder=small_disk).code == 0


def test_a_checkpoint_that_fails_after_the_commit_does_not_undo_it(project):
    """The commit is there, whatever the library says after it."""
    interval = {"delta.checkpointInterval": "3"}
    writer = project.writer()
    first = writer.write_frame("silver.t", FRAME, CHANGE, mode="append", properties=interval)
    (first.path / "_delta_log" / "_last_checkpoint").mkdir()
    second = writer.write_frame("silver.t", FRAME, CHANGE, mode="append")
    assert (first.version, second.version, second.rows) == (1, 2, 6000)
    assert second.to_polars().height == 6000
    assert orphans(project.lake) == set()


@pytest.mark.parametrize("command", ["ingest", "run"])
def test_a_read_only_warehouse_is_named_and_can_be_read(shop, slh, slh_process, read_only, command):
    shop.deliver()
    assert slh("ingest", folder=shop.folder).code == 0
    assert slh("run", folder=shop.folder).code == 0
    shop.deliver()
    read_only(shop.warehouse)
    said = slh_process(command, folder=shop.folder)
    assert said.code == 1
    assert f"Error: {shop.warehouse}" in said.err
    assert "the file system is read-only. Make it writable for this user" in said.err
    assert slh("tables", folder=shop.folder).code == 0
    assert slh("query", "SELECT * FROM gold.totals", folder=shop.folder).code == 0


def test_a_table_that_may_not_be_changed_leaves_the_others_alone(project, unchangeable):
    writer = project.writer()
    writer.write_frame("silver.t", FRAME, CHANGE)
    unchangeable(project.lake.path("silver.t"))
    with pytest.raises(RunError, match=r"part-.*parquet: permission is denied\."):
        writer.write_frame("silver.t", FRAME, CHANGE)
    assert project.lake.read("silver.t").to_polars().equals(FRAME)
    assert writer.write_frame("silver.u", FRAME, CHANGE).rows == 3000
    assert list((project.folder / "warehouse" / "_staging").iterdir()) == []


def test_files_are_moved_all_or_none(project, read_only):
    """A write that fails in the middle of several files takes back those that were moved."""
    writer = project.writer()
    writer.write_frame("silver.t", FRAME, CHANGE)
    with writer.staging() as staged:
        FRAME.write_parquet(staged / "part-0.parquet")
        FRAME.write_parquet(staged / "part-1.parquet")
        read_only(project.lake.path("silver.t") / "_delta_log")
        with pytest.raises(RunError, match="the file system is read-only"):
            writer.commit("silver.t", staged, CHANGE)
    assert orphans(project.lake) == set()
    assert project.lake.read("silver.t").version == 1


def test_the_staging_folder_of_a_living_process_is_left_alone(tmp_path):
    with staging_folder(tmp_path) as mine, staging_folder(tmp_path) as other:
        assert mine.is_dir()
        assert other.is_dir()
        assert dead_folders(tmp_path) == []


def test_the_staging_folder_of_a_killed_process_is_removed_by_the_next_writer(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sololakehouse.lake.staging import staging_folder\n"
        "with staging_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'part-0.parquet').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (dead,) = dead_folders(tmp_path)
    assert (dead / "part-0.parquet").exists()
    with staging_folder(tmp_path):
        assert not dead.exists()


def test_a_full_disk_while_a_run_is_packed_or_sent_registers_nothing_by_half(small_disk, figure):
    """Leaving more each time, the disk is full for packing, for files, for the store, for rows."""
    project = make_rain_project(small_disk)
    lake, writer = project.lake, project.writer()
    experiment = project.experiment()
    build_training_set(lake, writer, experiment.training_set)
    check_store(lake.project, experiment.name)
    stopped = []
    for pages in (0, 8, 40, 80, 120, 160, 200, 240):
        fill(small_disk, pages * PAGE)
        said = ""
        try:
            project.train()
        except RunError as error:
            said = str(error)
            stopped.append(pages)
        empty(small_disk)
        assert said == "" or "the disk is full. Free some space and run again." in said
        with connected(lake.project) as client:
            registered = len(client.search_model_versions("name = 'rain'"))
        assert registered == len(model_versions(project.lake)) in (0, 2)
        if registered:
            break
        check_every_table(project.lake)
    assert stopped[0] == 0
    outcome = project.train()
    assert [version.version for version in outcome.runs] == [1, 2]
    assert pending_runs(lake.project) == []
    with connected(lake.project) as client:
        ended = client.search_runs(
            [client.get_experiment_by_name("rain").experiment_id], "status = 'FINISHED'"
        )
    assert len(ended) == 2
    figure(f"full disk while logging: {len(stopped)} sizes stopped it, none registered by half")
